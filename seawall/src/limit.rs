//! The rate limit of a client.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use seawall_core::{ConfigError, Rejection};
use seawall_rate_limit::{Quota, RateLimiter};

use crate::{policy::RateLimit, snapshot::LimiterSnapshot};

/// A limiter that counts what it decides.
pub(crate) struct Limit {
    limiter: RateLimiter,
    patience: Duration,
    allowed: AtomicU64,
    rejected: AtomicU64,
}

impl Limit {
    pub(crate) fn new(policy: &RateLimit, service: &str) -> Result<Self, ConfigError> {
        let burst = policy.burst.unwrap_or(policy.limit);
        let quota = Quota::new(policy.limit.get(), policy.period).burst(burst.get());
        Ok(Self {
            limiter: RateLimiter::new(quota)?.named(service),
            patience: policy.wait,
            allowed: AtomicU64::new(0),
            rejected: AtomicU64::new(0),
        })
    }

    /// Lets one call pass, after a wait that the policy allows.
    pub(crate) async fn pass(&self) -> Result<(), Rejection> {
        let answer = if self.patience.is_zero() {
            self.limiter.check()
        } else {
            self.limiter.until_ready(1).within(self.patience).await
        };
        // Relaxed: counters for people; nothing else is read on the strength of them.
        match answer {
            Ok(_) => {
                self.allowed.fetch_add(1, Relaxed);
                Ok(())
            }
            Err(rejected) => {
                self.rejected.fetch_add(1, Relaxed);
                Err(self.limiter.rejection(rejected))
            }
        }
    }

    pub(crate) fn snapshot(&self) -> LimiterSnapshot {
        LimiterSnapshot {
            allowed: self.allowed.load(Relaxed),
            rejected: self.rejected.load(Relaxed),
        }
    }
}
