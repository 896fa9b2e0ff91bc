//! How a limiter is built.

use std::sync::Arc;

use seawall_core::{Clock, ConfigError};

use super::{RateLimiter, Shared};
use crate::{
    Config, Observer, Quota, TokenBucket,
    algorithm::{Algorithm, FromQuotas, Share},
    watch::Watch,
};

impl RateLimiter<TokenBucket> {
    /// A full token bucket, on the fast clock.
    ///
    /// # Errors
    ///
    /// When `quota` cannot be kept: see [`TokenBucket::new`].
    pub fn new(quota: Quota) -> Result<Self, ConfigError> {
        Ok(Self::of(TokenBucket::new(quota)?))
    }
}

impl<A: FromQuotas> RateLimiter<A> {
    /// A limiter at rest with these settings, on the fast clock. Its type is the algorithm.
    ///
    /// # Errors
    ///
    /// When there are more quotas than the algorithm keeps, or when one of them cannot be kept.
    pub fn from_config(config: &Config) -> Result<Self, ConfigError> {
        let limiter = Self::of(A::from_quotas(config.quotas())?);
        limiter.shared.watch.adopt(config);
        Ok(limiter)
    }
}

impl<A: Algorithm> RateLimiter<A> {
    /// A limiter at rest that decides as `algorithm` does, on the fast clock.
    pub fn of(algorithm: A) -> Self {
        Self::from_parts(algorithm, Clock::fast(), Watch::default())
    }

    fn from_parts(algorithm: A, clock: Clock, watch: Watch) -> Self {
        Self { shared: Arc::new(Shared { state: A::Shared::new(algorithm), clock, watch }) }
    }

    fn rebuilt(self, change: impl FnOnce(Watch) -> Watch) -> Self {
        let Shared { state, clock, watch } = &*self.shared;
        Self::from_parts(state.algorithm(), clock.clone(), change(watch.renewed()))
    }

    /// Tells the time by `clock`.
    ///
    /// Part of building a limiter: what comes back is at rest and shares nothing with clones that
    /// were made before.
    #[must_use]
    pub fn with_clock(self, clock: Clock) -> Self {
        let Shared { state, watch, .. } = &*self.shared;
        Self::from_parts(state.algorithm(), clock, watch.renewed())
    }

    /// Names the limiter in its refusals, headers, snapshots and events.
    ///
    /// Part of building a limiter: what comes back is at rest and shares nothing with clones that
    /// were made before.
    #[must_use]
    pub fn named(self, name: impl Into<Arc<str>>) -> Self {
        self.rebuilt(|watch| watch.named(name.into()))
    }

    /// Tells `observer` of every decision.
    ///
    /// Part of building a limiter: what comes back is at rest and shares nothing with clones that
    /// were made before.
    #[must_use]
    pub fn observed_by(self, observer: Arc<dyn Observer>) -> Self {
        self.rebuilt(|watch| watch.observed_by(observer))
    }

    /// Counts every decision, for [`Snapshot::totals`](crate::Snapshot::totals).
    ///
    /// Part of building a limiter: what comes back is at rest and shares nothing with clones that
    /// were made before.
    ///
    /// # Cost
    ///
    /// One shared write for each call, two for one that waits.
    #[must_use]
    pub fn count_decisions(self) -> Self {
        self.rebuilt(Watch::counting)
    }
}
