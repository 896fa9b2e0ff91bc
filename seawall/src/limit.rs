//! The rate limit of a client.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use seawall_core::{Clock, ConfigError, Rejection};
#[cfg(feature = "redis")]
use seawall_rate_limit::redis::RedisLimiter;
use seawall_rate_limit::{Quota, RateLimiter, Rejected};

use crate::{
    policy::{Policy, Priority, Shared},
    snapshot::LimiterSnapshot,
};

/// A limiter that counts what it decides.
pub(crate) struct Limit {
    limiter: Limiter,
    quota: Quota,
    reserve: u32,
    patience: Duration,
    counts: Arc<Counts>,
}

/// Who decides.
#[derive(Clone)]
enum Limiter {
    Own(RateLimiter),
    #[cfg(feature = "redis")]
    Shared(RedisLimiter, Shared),
}

#[derive(Default)]
struct Counts {
    allowed: AtomicU64,
    rejected: AtomicU64,
    degraded: AtomicU64,
}

impl Limit {
    /// The limit of a policy, if it has one: the `running` one goes on with what it counted.
    pub(crate) fn of(
        policy: &Policy,
        name: &str,
        clock: &Clock,
        running: Option<&Self>,
    ) -> Result<Option<Arc<Self>>, ConfigError> {
        let Some(policy) = &policy.rate_limit else { return Ok(None) };
        let quota = Quota::new(policy.limit.get(), policy.period).burst(policy.burst_of());
        let running = running.filter(|running| running.limiter.is_of(policy.shared.as_ref()));
        let made = Limiter::new(name, clock, quota, policy.shared.as_ref());
        let made = made.map_err(|error| error.within("rate_limit"))?;
        let (limiter, counts) = match running {
            Some(running) => (running.limiter.clone(), running.counts.clone()),
            None => (made, Arc::default()),
        };
        let (reserve, patience) = (policy.reserve_of(), policy.wait);
        Ok(Some(Arc::new(Self { limiter, quota, reserve, patience, counts })))
    }

    /// Gives a limiter that goes on the quota of this limit, which was accepted when it was made.
    pub(crate) fn keep_quota(&self) {
        match &self.limiter {
            Limiter::Own(limiter) => {
                let _ = limiter.set_quota(self.quota);
                limiter.set_reserve(self.reserve);
            }
            #[cfg(feature = "redis")]
            Limiter::Shared(limiter, _) => {
                let _ = limiter.set_plan(self.quota);
            }
        }
    }

    /// Lets one call pass, after a wait that the policy allows. Calls that may be shed do not wait.
    pub(crate) async fn pass(&self, priority: Priority) -> Result<(), Rejection> {
        let sheddable = matches!(priority, Priority::SheddablePlus | Priority::Sheddable);
        let answer = match &self.limiter {
            Limiter::Own(limiter) if sheddable => limiter.check_sheddable(1),
            Limiter::Own(limiter) if self.patience.is_zero() => limiter.check(),
            Limiter::Own(limiter) => limiter.until_ready(1).within(self.patience).await,
            #[cfg(feature = "redis")]
            Limiter::Shared(limiter, _) if sheddable => {
                limiter.check_sheddable(1, self.reserve).await
            }
            #[cfg(feature = "redis")]
            Limiter::Shared(limiter, _) => wait(limiter, self.patience).await,
        };
        // Relaxed: counters for people; nothing else is read on the strength of them.
        match answer {
            Ok(allowed) => {
                self.counts.allowed.fetch_add(1, Relaxed);
                self.counts.degraded.fetch_add(u64::from(allowed.is_degraded()), Relaxed);
                Ok(())
            }
            Err(rejected) => {
                self.counts.rejected.fetch_add(1, Relaxed);
                self.counts.degraded.fetch_add(u64::from(rejected.is_degraded()), Relaxed);
                Err(self.limiter.rejection(rejected))
            }
        }
    }

    pub(crate) fn snapshot(&self) -> LimiterSnapshot {
        LimiterSnapshot {
            allowed: self.counts.allowed.load(Relaxed),
            rejected: self.counts.rejected.load(Relaxed),
            degraded: self.counts.degraded.load(Relaxed),
        }
    }
}

impl Limiter {
    fn new(
        name: &str,
        clock: &Clock,
        quota: Quota,
        shared: Option<&Shared>,
    ) -> Result<Self, ConfigError> {
        match shared {
            None => Ok(Self::Own(RateLimiter::new(quota)?.named(name).with_clock(clock.clone()))),
            #[cfg(feature = "redis")]
            Some(shared) => Ok(Self::Shared(shared.limiter(name, quota)?, shared.clone())),
            #[cfg(not(feature = "redis"))]
            Some(_) => Err(ConfigError::new("shared", "present", "absent without `redis`")),
        }
    }

    /// Whether it is shared as a policy says.
    fn is_of(&self, shared: Option<&Shared>) -> bool {
        match self {
            Self::Own(_) => shared.is_none(),
            #[cfg(feature = "redis")]
            Self::Shared(_, own) => shared == Some(own),
        }
    }

    fn rejection(&self, rejected: Rejected) -> Rejection {
        match self {
            Self::Own(limiter) => limiter.rejection(rejected),
            #[cfg(feature = "redis")]
            Self::Shared(limiter, _) => limiter.rejection(rejected),
        }
    }
}

/// Asks again when there might be room, for as long as `patience` lasts.
#[cfg(feature = "redis")]
async fn wait(
    limiter: &RedisLimiter,
    patience: Duration,
) -> Result<seawall_rate_limit::Allowed, Rejected> {
    use tokio::time::{Instant, sleep};

    let begun = Instant::now();
    loop {
        let rejected = match limiter.check().await {
            Ok(allowed) => return Ok(allowed),
            Err(rejected) => rejected,
        };
        let left = patience.saturating_sub(begun.elapsed());
        match rejected.retry_after() {
            Some(pause) if pause <= left && !left.is_zero() => sleep(pause).await,
            _ => return Err(rejected),
        }
    }
}
