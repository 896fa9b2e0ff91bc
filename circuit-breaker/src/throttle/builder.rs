//! Setting up a throttle.

use std::{fmt, sync::Arc};

use seawall_core::Clock;

use super::{Config, Observer, Throttle, shared::Shared};

/// Sets up a [`Throttle`].
#[must_use = "call `build`"]
pub struct ThrottleBuilder {
    config: Config,
    name: Option<Arc<str>>,
    clock: Option<Clock>,
    observer: Option<Arc<dyn Observer>>,
    seed: Option<u64>,
}

impl ThrottleBuilder {
    pub(super) fn new(config: Config) -> Self {
        Self { config, name: None, clock: None, observer: None, seed: None }
    }

    /// The name that refusals and events carry.
    pub fn named(mut self, name: impl Into<Arc<str>>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Who tells the time; the fast clock unless set.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = Some(clock);
        self
    }

    /// Who hears of refusals.
    pub fn observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observer = Some(observer);
        self
    }

    /// Makes chance repeatable.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// The throttle.
    pub fn build(self) -> Throttle {
        let clock = self.clock.unwrap_or_default();
        let seed = self.seed.unwrap_or_else(|| fastrand::u64(..));
        let shared = Shared::new(self.config, clock, self.name, self.observer, seed);
        Throttle { shared: Arc::new(shared) }
    }
}

impl fmt::Debug for ThrottleBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ThrottleBuilder")
            .field("config", &self.config)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
