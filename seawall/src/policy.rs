//! What a client does so that its calls survive.

mod circuit_breaker;
mod load_balance;
mod rate_limit;
mod retry;

use std::time::Duration;

use seawall_core::ConfigError;
use serde::{Deserialize, Serialize};

pub use circuit_breaker::CircuitBreaker;
pub use load_balance::{LoadBalance, OutlierDetection};
pub use rate_limit::RateLimit;
pub use retry::{Backoff, Retries, RetryOn};

/// Everything that a resilient client does, as one value.
///
/// The words are those of Istio's `DestinationRule` and `VirtualService` where these have one.
/// Durations are texts such as `"250ms"`; a field that is not known is refused.
///
/// | field | default | why |
/// |---|---|---|
/// | `timeout` | none | only the caller knows how long an answer is worth waiting for; a stream may last for hours |
/// | `retries` | 2, of what never reached a server | nothing is done twice that the server may have done once |
/// | `idempotent` | nothing for gRPC; `GET`, `HEAD`, `OPTIONS`, `TRACE`, `PUT`, `DELETE` for HTTP | RFC 9110, section 9.2.2 |
/// | `rate_limit` | none | a limit is a promise to somebody, and nobody has made one |
/// | `circuit_breaker` | one per endpoint, with the breaker's own defaults | calls go elsewhere while a server fails |
/// | `outlier_detection` | none | the breakers do as much, and return sooner |
/// | `load_balance` | power of two choices on calls in flight, 5 s for the first endpoint | the least known load balances well without any tuning |
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use seawall::policy::{Policy, Retries, RetryOn};
///
/// let by_hand = Policy::new().timeout(Duration::from_secs(2)).retries(
///     Retries::new().attempts(3).per_try_timeout(Duration::from_millis(250)),
/// );
/// let from_text = Policy::from_yaml("{ timeout: 2s, retries: { attempts: 3, per_try_timeout: 250ms } }")?;
/// assert_eq!(from_text, by_hand);
///
/// let error = Policy::from_yaml("retries: { atempts: 3 }").unwrap_err();
/// assert!(error.to_string().contains("atempts"), "{error}");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    #[serde(with = "seawall_core::duration::option", skip_serializing_if = "Option::is_none")]
    pub(crate) timeout: Option<Duration>,
    pub(crate) retries: Retries,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) idempotent: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rate_limit: Option<RateLimit>,
    pub(crate) circuit_breaker: CircuitBreaker,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) outlier_detection: Option<OutlierDetection>,
    pub(crate) load_balance: LoadBalance,
}

impl Policy {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads a policy from YAML, of which JSON is a part.
    ///
    /// # Errors
    ///
    /// When the text is no YAML, or has a field that is not known or of the wrong kind; the message
    /// names the field and the line.
    pub fn from_yaml(text: &str) -> Result<Self, PolicyError> {
        yaml_serde::from_str(text).map_err(PolicyError)
    }

    /// How long a call may take in all, until its response begins: waits, attempts and retries
    /// together.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// What is tried again, and how often.
    #[must_use]
    pub fn retries(mut self, retries: Retries) -> Self {
        self.retries = retries;
        self
    }

    /// Calls that may be done twice, in addition to the HTTP methods that always may: gRPC methods as
    /// `/package.Service/Method`, or `/package.Service/*` for all of a service.
    #[must_use]
    pub fn idempotent<T: Into<String>>(mut self, methods: impl IntoIterator<Item = T>) -> Self {
        self.idempotent = methods.into_iter().map(Into::into).collect();
        self
    }

    /// How many calls may be made.
    #[must_use]
    pub fn rate_limit(mut self, limit: RateLimit) -> Self {
        self.rate_limit = Some(limit);
        self
    }

    /// When an endpoint is left alone.
    #[must_use]
    pub fn circuit_breaker(mut self, breaker: CircuitBreaker) -> Self {
        self.circuit_breaker = breaker;
        self
    }

    /// When an endpoint that keeps failing is taken out of the set.
    #[must_use]
    pub fn outlier_detection(mut self, detection: OutlierDetection) -> Self {
        self.outlier_detection = Some(detection);
        self
    }

    /// How endpoints are picked.
    #[must_use]
    pub fn load_balance(mut self, load_balance: LoadBalance) -> Self {
        self.load_balance = load_balance;
        self
    }

    /// Refuses what no client can do.
    ///
    /// # Errors
    ///
    /// The first field whose value is out of its range, with its path.
    pub fn check(&self) -> Result<(), ConfigError> {
        if self.timeout.is_some_and(|timeout| timeout.is_zero()) {
            return Err(ConfigError::new("timeout", "0s", "above 0s"));
        }
        self.retries.check(self.timeout).map_err(|error| error.within("retries"))?;
        for method in &self.idempotent {
            let parts = method.strip_prefix('/').and_then(|rest| rest.split_once('/'));
            if parts.is_none_or(|(service, method)| service.is_empty() || method.is_empty()) {
                let want = "`/package.Service/Method` or `/package.Service/*`";
                return Err(ConfigError::new("idempotent", method, want));
            }
        }
        if let Some(limit) = &self.rate_limit {
            limit.check().map_err(|error| error.within("rate_limit"))?;
        }
        if let Some(detection) = &self.outlier_detection {
            detection.check().map_err(|error| error.within("outlier_detection"))?;
        }
        Ok(())
    }

    /// How old an attempt is that a time-out of ours gave up. The time-outs are outside the breaker
    /// and the balancer, and drop the calls that they give up on; a call that is dropped earlier was
    /// given up by its caller, who has reasons of its own.
    pub(crate) fn abandoned_after(&self) -> Option<Duration> {
        self.retries.per_try_timeout.or(self.timeout).map(|limit| limit.mul_f64(0.9))
    }

    /// Whether the policy lists the gRPC method at `path` as idempotent.
    pub(crate) fn lists(&self, path: &str) -> bool {
        self.idempotent.iter().any(|method| match method.strip_suffix('*') {
            Some(service) => path.starts_with(service),
            None => path == method,
        })
    }
}

/// A text that is no [`Policy`].
#[derive(Debug)]
pub struct PolicyError(yaml_serde::Error);

impl std::fmt::Display for PolicyError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "policy: {}", self.0)
    }
}

impl std::error::Error for PolicyError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_policy_reads_as_it_is_written() {
        let text = "
timeout: 2s
retries:
  attempts: 3
  per_try_timeout: 250ms
  retry_on: [connect-failure, 5xx, reset, unavailable]
  backoff: { base: 10ms, max: 100ms }
idempotent: [/orders.v1.Orders/Get, /stock.v1.Stock/*]
rate_limit: { limit: 100, burst: 200, wait: 50ms }
circuit_breaker: { failure_threshold: 5, success_threshold: 3, timeout: 1m, max_requests: 2 }
outlier_detection: { consecutive_errors: 3, base_ejection_time: 30s, max_ejection_percent: 50 }
load_balance: { wait_for_endpoints: 1s }
";
        let policy = Policy::from_yaml(text).unwrap();
        policy.check().unwrap();
        assert_eq!(policy.timeout, Some(Duration::from_secs(2)));
        assert_eq!(policy.circuit_breaker.open_wait, Duration::from_secs(60));
        assert!(policy.lists("/orders.v1.Orders/Get"));
        assert!(!policy.lists("/orders.v1.Orders/Create"));
        assert!(policy.lists("/stock.v1.Stock/Count"));

        let again = yaml_serde::to_string(&policy).unwrap();
        assert_eq!(Policy::from_yaml(&again).unwrap(), policy, "{again}");
    }

    #[test]
    fn what_cannot_be_is_refused_with_its_path() {
        for (text, field) in [
            ("timeout: 0s", "timeout"),
            ("retries: { per_try_timeout: 0s }", "retries.per_try_timeout"),
            ("{ timeout: 1s, retries: { per_try_timeout: 2s } }", "retries.per_try_timeout"),
            ("retries: { attempts: 1000 }", "retries.attempts"),
            ("retries: { backoff: { base: 2s, max: 1s } }", "retries.backoff.max"),
            ("idempotent: [Get]", "idempotent"),
            ("rate_limit: { limit: 1, period: 0s }", "rate_limit.period"),
            (
                "outlier_detection: { consecutive_errors: 0 }",
                "outlier_detection.consecutive_errors",
            ),
        ] {
            let error = Policy::from_yaml(text).unwrap().check().expect_err(text);
            assert_eq!(error.field(), field, "{error}");
        }
    }

    #[test]
    fn text_that_is_no_policy_is_refused() {
        for text in
            ["timeout: 2", "timeout: soon", "rate_limit: { limit: 0 }", "retries: []", "x: 1"]
        {
            Policy::from_yaml(text).expect_err(text);
        }
    }
}
