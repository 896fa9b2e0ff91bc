//! What a limiter does besides deciding: it counts, tells, and lets through what it refuses.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use seawall_core::Rejection;

use crate::{Allowed, Config, Observer, Quota, Rejected, Totals, totals::Counters};

/// The settings of a limiter that are not its quota.
#[derive(Default)]
pub(crate) struct Watch {
    name: Option<Arc<str>>,
    observer: Option<Arc<dyn Observer>>,
    counters: Option<Box<Counters>>,
    /// Whether anybody wants to know. Relaxed, as the two below: each is a setting of its own.
    watched: AtomicBool,
    shadow: AtomicBool,
    reserve: AtomicU32,
}

impl Watch {
    /// The same settings, with counts from zero.
    pub(crate) fn renewed(&self) -> Self {
        Self {
            name: self.name.clone(),
            observer: self.observer.clone(),
            counters: self.counters.as_ref().map(|_| Box::default()),
            watched: AtomicBool::new(self.watched.load(Relaxed)),
            shadow: AtomicBool::new(self.shadow.load(Relaxed)),
            reserve: AtomicU32::new(self.reserve.load(Relaxed)),
        }
    }

    pub(crate) fn named(self, name: Arc<str>) -> Self {
        Self { name: Some(name), ..self }
    }

    pub(crate) fn observed_by(self, observer: Arc<dyn Observer>) -> Self {
        Self { observer: Some(observer), watched: true.into(), ..self }
    }

    pub(crate) fn counting(self) -> Self {
        Self { counters: Some(Box::default()), watched: true.into(), ..self }
    }

    /// Takes over what of `config` is not a quota.
    pub(crate) fn adopt(&self, config: &Config) {
        self.set_reserve(config.reserve_cells());
        self.set_shadow(config.is_shadow());
    }

    pub(crate) fn set_reserve(&self, cells: u32) {
        self.reserve.store(cells, Relaxed);
    }

    pub(crate) fn set_shadow(&self, shadow: bool) {
        self.shadow.store(shadow, Relaxed);
        let told = self.observer.is_some() || self.counters.is_some();
        self.watched.store(shadow || told, Relaxed);
    }

    pub(crate) fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    pub(crate) fn shared_name(&self) -> Option<Arc<str>> {
        self.name.clone()
    }

    pub(crate) fn reserve(&self) -> u32 {
        self.reserve.load(Relaxed)
    }

    pub(crate) fn is_shadow(&self) -> bool {
        self.shadow.load(Relaxed)
    }

    pub(crate) fn totals(&self) -> Option<Totals> {
        self.counters.as_ref().map(|counters| counters.read())
    }

    pub(crate) fn rejection(&self, rejected: Rejected) -> Rejection {
        let rejection = Rejection::from(rejected);
        match &self.name {
            Some(name) => rejection.by(name.clone()),
            None => rejection,
        }
    }

    /// Whether anybody is to be told of a decision before the caller is.
    #[inline]
    pub(crate) fn is_watching(&self) -> bool {
        self.watched.load(Relaxed)
    }

    /// What the caller is told, once those who watch know the decision.
    #[inline(never)]
    pub(crate) fn tell(
        &self,
        cost: u32,
        answer: Result<Allowed, Rejected>,
    ) -> Result<Allowed, Rejected> {
        if cost == 0 || !self.is_watching() {
            return answer;
        }
        match answer {
            Ok(allowed) => {
                if let Some(counters) = &self.counters {
                    counters.allowed();
                }
                if let Some(observer) = &self.observer {
                    observer.allowed(self.name(), cost, &allowed);
                }
                Ok(allowed)
            }
            Err(rejected) => {
                let shadow = self.is_shadow();
                if let Some(counters) = &self.counters {
                    counters.rejected(shadow);
                }
                if let Some(observer) = &self.observer {
                    observer.rejected(self.name(), cost, &rejected, shadow);
                }
                if shadow { Ok(Allowed::despite(rejected)) } else { Err(rejected) }
            }
        }
    }

    pub(crate) fn waits(&self, cost: u32, wait: Duration) {
        if let Some(counters) = &self.counters {
            counters.waited();
        }
        if let Some(observer) = &self.observer {
            observer.waits(self.name(), cost, wait);
        }
    }

    pub(crate) fn reconfigured(&self, quota: Quota) {
        if let Some(observer) = &self.observer {
            observer.reconfigured(self.name(), quota);
        }
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch")
            .field("name", &self.name)
            .field("shadow", &self.is_shadow())
            .field("reserve", &self.reserve())
            .field("totals", &self.totals())
            .finish_non_exhaustive()
    }
}
