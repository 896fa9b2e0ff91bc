//! A limiter's decisions as events of `tracing`.

use std::time::Duration;

use ::tracing::{debug, info, trace};

use crate::{
    Allowed, Observer, Quota, Rejected,
    concurrency::{self, Refusal},
};

/// Logs changes of the quota (at `INFO`), refusals and waits (at `DEBUG`) and calls that pass (at
/// `TRACE`), all with the target `seawall::rate_limit`.
///
/// Of a [limit on concurrency](crate::concurrency) it logs moves and refusals (at `DEBUG`), with the
/// target `seawall::concurrency_limit`.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
/// use seawall_rate_limit::{Quota, RateLimiter, TracingObserver};
///
/// let limiter = RateLimiter::new(Quota::per_second(100))?
///     .named("orders")
///     .observed_by(Arc::new(TracingObserver::default()));
/// # let _ = limiter;
/// # Ok::<(), seawall_rate_limit::ConfigError>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct TracingObserver {}

impl Observer for TracingObserver {
    fn allowed(&self, name: Option<&str>, cost: u32, allowed: &Allowed) {
        let remaining = allowed.remaining();
        trace!(target: "seawall::rate_limit", name, cost, remaining, "call allowed");
    }

    fn waits(&self, name: Option<&str>, cost: u32, wait: Duration) {
        debug!(target: "seawall::rate_limit", name, cost, ?wait, "call waits");
    }

    fn rejected(&self, name: Option<&str>, cost: u32, rejected: &Rejected, shadow: bool) {
        let (limit, retry_after) = (rejected.limit(), rejected.retry_after());
        debug!(
            target: "seawall::rate_limit",
            name, cost, limit, ?retry_after, shadow, "call refused"
        );
    }

    fn reconfigured(&self, name: Option<&str>, quota: Quota) {
        info!(target: "seawall::rate_limit", name, %quota, "rate limit changed its quota");
    }
}

impl concurrency::Observer for TracingObserver {
    fn limit_changed(&self, name: Option<&str>, from: u32, to: u32) {
        debug!(target: "seawall::concurrency_limit", name, from, to, "concurrency limit moved");
    }

    fn rejected(&self, name: Option<&str>, refusal: Refusal) {
        let reason = refusal.as_str();
        debug!(target: "seawall::concurrency_limit", name, reason, "call refused");
    }
}
