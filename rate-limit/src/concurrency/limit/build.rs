//! Making a limit.

use std::sync::Arc;

use seawall_core::{Clock, ConfigError};

use super::{ConcurrencyLimit, Rule, Shared};
use crate::{
    concurrency::{
        config::{Config, Limit},
        estimator::Estimator,
        events::Observer,
        gate::Gate,
    },
    sync::{AtomicBool, AtomicU64, Mutex},
};

impl ConcurrencyLimit {
    /// Limits to so many calls, or as [`Aimd`](crate::concurrency::Aimd) or [`Gradient`](crate::concurrency::Gradient) say.
    /// Nobody waits: for that, see [`Config::builder`].
    ///
    /// # Errors
    ///
    /// Names the field that is outside of what its setter says.
    pub fn new(limit: impl Into<Limit>) -> Result<Self, ConfigError> {
        Ok(Self::of(Config::builder(limit).build()?))
    }

    /// Limits as `config` says, on the fast clock.
    pub fn of(config: Config) -> Self {
        Self::from_parts(config, Clock::fast(), None, None)
    }

    fn from_parts(
        config: Config,
        clock: Clock,
        name: Option<Arc<str>>,
        observer: Option<Arc<dyn Observer>>,
    ) -> Self {
        let Config { limit, queue } = config;
        let estimator = Estimator::new(limit);
        let shared = Shared {
            gate: Gate::new(estimator.limit(), queue),
            allowed: AtomicU64::new(0),
            rejected: AtomicU64::new(0),
            measures: AtomicBool::new(limit.measures()),
            queues: AtomicBool::new(queue.calls > 0),
            rule: Mutex::new(Rule { limit, estimator }),
            clock,
            name,
            observer,
        };
        Self { shared: Arc::new(shared) }
    }

    /// Measures by `clock`. Only limits that adapt read it.
    ///
    /// Part of building a limit: what comes back is unused and shares nothing with clones that were
    /// made before.
    #[must_use]
    pub fn with_clock(self, clock: Clock) -> Self {
        Self::from_parts(self.config(), clock, self.shared.name.clone(), self.observer())
    }

    /// Names the limit in its refusals, snapshots and events.
    ///
    /// Part of building a limit: what comes back is unused and shares nothing with clones that were
    /// made before.
    #[must_use]
    pub fn named(self, name: impl Into<Arc<str>>) -> Self {
        let clock = self.shared.clock.clone();
        Self::from_parts(self.config(), clock, Some(name.into()), self.observer())
    }

    /// Tells `observer` what happens.
    ///
    /// Part of building a limit: what comes back is unused and shares nothing with clones that were
    /// made before.
    #[must_use]
    pub fn observed_by(self, observer: Arc<dyn Observer>) -> Self {
        let clock = self.shared.clock.clone();
        Self::from_parts(self.config(), clock, self.shared.name.clone(), Some(observer))
    }

    fn observer(&self) -> Option<Arc<dyn Observer>> {
        self.shared.observer.clone()
    }
}
