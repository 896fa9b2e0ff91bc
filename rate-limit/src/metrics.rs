//! A limiter's decisions as metrics.

use std::time::Duration;

use crate::{
    Allowed, Observer, Quota, Rejected,
    concurrency::{self, Refusal},
};

/// Reports to the recorder of the `metrics` crate.
///
/// | metric | kind | labels |
/// |---|---|---|
/// | `seawall.rate_limit.allowed` | counter: calls that passed at once | `name` |
/// | `seawall.rate_limit.rejections` | counter: calls that were refused | `name`, `shadow`, `reason`: `not_yet` or `never` |
/// | `seawall.rate_limit.wait.duration` | histogram, in seconds: calls that waited | `name` |
/// | `seawall.rate_limit.quota.limit` | gauge: the limit, once it is changed | `name` |
///
/// For a [limit on concurrency](crate::concurrency):
///
/// | metric | kind | labels |
/// |---|---|---|
/// | `seawall.concurrency_limit.limit` | gauge: the limit, once it has moved | `name` |
/// | `seawall.concurrency_limit.rejections` | counter: calls that were refused | `name`, `reason`: `full`, `queue_full` or `waited_too_long` |
///
/// A limiter without a name has an empty one. Keys are no label.
///
/// # Cost
///
/// For each call, two allocations for the label and what the recorder takes.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
/// use seawall_rate_limit::{MetricsObserver, Quota, RateLimiter};
///
/// let limiter = RateLimiter::new(Quota::per_second(100))?
///     .named("orders")
///     .observed_by(Arc::new(MetricsObserver::default()));
/// # let _ = limiter;
/// # Ok::<(), seawall_rate_limit::ConfigError>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct MetricsObserver {}

impl Observer for MetricsObserver {
    fn allowed(&self, name: Option<&str>, _: u32, _: &Allowed) {
        let name = name.unwrap_or_default().to_owned();
        ::metrics::counter!("seawall.rate_limit.allowed", "name" => name).increment(1);
    }

    fn waits(&self, name: Option<&str>, _: u32, wait: Duration) {
        let name = name.unwrap_or_default().to_owned();
        ::metrics::histogram!("seawall.rate_limit.wait.duration", "name" => name).record(wait);
    }

    fn rejected(&self, name: Option<&str>, _: u32, rejected: &Rejected, shadow: bool) {
        ::metrics::counter!(
            "seawall.rate_limit.rejections",
            "name" => name.unwrap_or_default().to_owned(),
            "shadow" => if shadow { "true" } else { "false" },
            "reason" => if rejected.is_never() { "never" } else { "not_yet" },
        )
        .increment(1);
    }

    fn reconfigured(&self, name: Option<&str>, quota: Quota) {
        let name = name.unwrap_or_default().to_owned();
        ::metrics::gauge!("seawall.rate_limit.quota.limit", "name" => name).set(quota.limit());
    }
}

impl concurrency::Observer for MetricsObserver {
    fn limit_changed(&self, name: Option<&str>, _: u32, to: u32) {
        let name = name.unwrap_or_default().to_owned();
        ::metrics::gauge!("seawall.concurrency_limit.limit", "name" => name).set(to);
    }

    fn rejected(&self, name: Option<&str>, refusal: Refusal) {
        ::metrics::counter!(
            "seawall.concurrency_limit.rejections",
            "name" => name.unwrap_or_default().to_owned(),
            "reason" => refusal.as_str(),
        )
        .increment(1);
    }
}
