//! The rate limit of a client.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use seawall_core::{ConfigError, Rejection};
use seawall_rate_limit::{Quota, RateLimiter};

use crate::{policy::Policy, snapshot::LimiterSnapshot};

/// A limiter that counts what it decides.
pub(crate) struct Limit {
    limiter: RateLimiter,
    quota: Quota,
    patience: Duration,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    allowed: AtomicU64,
    rejected: AtomicU64,
}

impl Limit {
    /// The limit of a policy, if it has one: the `running` one goes on with what it counted.
    pub(crate) fn of(
        policy: &Policy,
        name: &str,
        running: Option<&Self>,
    ) -> Result<Option<Arc<Self>>, ConfigError> {
        let Some(policy) = &policy.rate_limit else { return Ok(None) };
        let burst = policy.burst.unwrap_or(policy.limit);
        let quota = Quota::new(policy.limit.get(), policy.period).burst(burst.get());
        let limiter = RateLimiter::new(quota).map_err(|error| error.within("rate_limit"))?;
        let (limiter, counts) = match running {
            Some(running) => (running.limiter.clone(), running.counts.clone()),
            None => (limiter.named(name), Arc::default()),
        };
        Ok(Some(Arc::new(Self { limiter, quota, patience: policy.wait, counts })))
    }

    /// Gives a limiter that goes on the quota of this limit.
    pub(crate) fn keep_quota(&self) {
        // It was accepted when the limit was made.
        let _ = self.limiter.set_quota(self.quota);
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
                self.counts.allowed.fetch_add(1, Relaxed);
                Ok(())
            }
            Err(rejected) => {
                self.counts.rejected.fetch_add(1, Relaxed);
                Err(self.limiter.rejection(rejected))
            }
        }
    }

    pub(crate) fn snapshot(&self) -> LimiterSnapshot {
        LimiterSnapshot {
            allowed: self.counts.allowed.load(Relaxed),
            rejected: self.counts.rejected.load(Relaxed),
        }
    }
}
