//! Setting up a breaker.

use std::{fmt, sync::Arc};

use fastrand::Rng;
use seawall_core::Clock;

use super::{CircuitBreaker, shared::Shared};
use crate::{Config, Observer, machine::Machine, totals::Counters};

/// Sets up a [`CircuitBreaker`].
#[must_use = "call `build`"]
pub struct CircuitBreakerBuilder {
    pub(super) config: Config,
    pub(super) name: Option<Arc<str>>,
    pub(super) clock: Option<Clock>,
    pub(super) observer: Option<Arc<dyn Observer>>,
    pub(super) seed: Option<u64>,
    pub(super) count_outcomes: bool,
}

impl CircuitBreakerBuilder {
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

    /// Who hears of changes and refusals.
    pub fn observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observer = Some(observer);
        self
    }

    /// Makes the jitter of the open wait repeatable.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Counts every outcome and refusal, for [`Snapshot::totals`](crate::Snapshot::totals).
    ///
    /// # Cost
    ///
    /// One shared write for each call.
    pub fn count_outcomes(mut self) -> Self {
        self.count_outcomes = true;
        self
    }

    /// The breaker.
    pub fn build(self) -> CircuitBreaker {
        let clock = self.clock.unwrap_or_default();
        let rng = self.seed.map_or_else(Rng::new, Rng::with_seed);
        let machine = Machine::new(self.config, clock.now(), rng);
        let (name, observer) = (self.name, self.observer);
        let counters = self.count_outcomes.then(|| Box::new(Counters::new()));
        CircuitBreaker { shared: Arc::new(Shared { machine, clock, name, observer, counters }) }
    }
}

impl fmt::Debug for CircuitBreakerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CircuitBreakerBuilder")
            .field("config", &self.config)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
