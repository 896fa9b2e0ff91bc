//! What is tried again, and how often.

use std::time::Duration;

use seawall_core::{ConfigError, duration};
use serde::{Deserialize, Serialize};

use super::RetryBudget;

/// More retries than this are a load on the servers and no help to the caller.
const MOST_ATTEMPTS: u32 = 100;

/// What is tried again on another endpoint, and how often.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Retries {
    /// Retries of a call: 3 means up to four tries. 2 unless set, as in Istio.
    #[cfg_attr(feature = "schema", schemars(range(max = 100)))]
    pub(crate) attempts: u32,
    /// How long one attempt may take until its response begins. None unless set.
    #[cfg_attr(feature = "schema", schemars(with = "Option<super::schema::Time>"))]
    #[serde(with = "duration::option", skip_serializing_if = "Option::is_none")]
    pub(crate) per_try_timeout: Option<Duration>,
    /// What is tried again. What never reached a server unless set.
    pub(crate) retry_on: Vec<RetryOn>,
    /// HTTP statuses for `retriable-status-codes`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "schema", schemars(inner(range(min = 400, max = 599))))]
    pub(crate) retriable_status_codes: Vec<u16>,
    /// The waits between attempts.
    pub(crate) backoff: Backoff,
    /// How many retries the client may make in all.
    pub(crate) budget: RetryBudget,
}

impl Default for Retries {
    fn default() -> Self {
        Self {
            attempts: 2,
            per_try_timeout: None,
            retry_on: vec![RetryOn::ConnectFailure, RetryOn::RefusedStream],
            retriable_status_codes: Vec::new(),
            backoff: Backoff::default(),
            budget: RetryBudget::default(),
        }
    }
}

impl Retries {
    /// Two retries of what never reached a server, as Istio's default number.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many retries a call may have: 3 means up to four tries, 0 none. At most 100.
    #[must_use]
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.attempts = attempts;
        self
    }

    /// How long one attempt may take until its response begins; for an idempotent call, until the
    /// first frame of its body. None unless set.
    #[must_use]
    pub fn per_try_timeout(mut self, timeout: Duration) -> Self {
        self.per_try_timeout = Some(timeout);
        self
    }

    /// What is tried again. Only [`RetryOn::ConnectFailure`] and [`RetryOn::RefusedStream`] apply to
    /// calls that are not idempotent.
    #[must_use]
    pub fn retry_on(mut self, conditions: impl IntoIterator<Item = RetryOn>) -> Self {
        self.retry_on = conditions.into_iter().collect();
        self
    }

    /// Tries again, too, what is answered with one of these HTTP statuses, 400 to 599: adds
    /// [`RetryOn::RetriableStatusCodes`].
    #[must_use]
    pub fn retriable_status_codes(mut self, codes: impl IntoIterator<Item = u16>) -> Self {
        self.retriable_status_codes = codes.into_iter().collect();
        if !self.retry_on.contains(&RetryOn::RetriableStatusCodes) {
            self.retry_on.push(RetryOn::RetriableStatusCodes);
        }
        self
    }

    /// How many retries the client may make in all; 20 percent of its calls and ten a second besides
    /// unless set. A refusal by an endpoint's own breaker or limit costs nothing of it.
    #[must_use]
    pub fn budget(mut self, budget: RetryBudget) -> Self {
        self.budget = budget;
        self
    }

    /// The waits between attempts, where the server does not ask for another one
    /// (`grpc-retry-pushback-ms`, `RetryInfo`, `Retry-After`).
    #[must_use]
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }

    pub(super) fn check(&self, timeout: Option<Duration>) -> Result<(), ConfigError> {
        if self.attempts > MOST_ATTEMPTS {
            return Err(ConfigError::new("attempts", self.attempts, "0 to 100"));
        }
        if let Some(per_try) = self.per_try_timeout {
            let shown = humantime::format_duration(per_try);
            if per_try.is_zero() {
                return Err(ConfigError::new("per_try_timeout", shown, "above 0s"));
            }
            if let Some(timeout) = timeout.filter(|timeout| per_try > *timeout) {
                let most =
                    format!("at most the timeout of {}", humantime::format_duration(timeout));
                return Err(ConfigError::new("per_try_timeout", shown, most));
            }
        }
        let field = "retriable_status_codes";
        let codes = &self.retriable_status_codes;
        if let Some(code) = codes.iter().find(|code| !(400..600).contains(*code)) {
            return Err(ConfigError::new(field, code, "400 to 599"));
        }
        match (codes.is_empty(), self.retry_on.contains(&RetryOn::RetriableStatusCodes)) {
            (true, true) => {
                let want = "a list of them: `retriable-status-codes` is in `retry_on`";
                return Err(ConfigError::new(field, "absent", want));
            }
            (false, false) => {
                let want = "absent: `retriable-status-codes` is not in `retry_on`";
                return Err(ConfigError::new(field, "present", want));
            }
            _ => {}
        }
        self.budget.check().map_err(|error| error.within("budget"))?;
        let Backoff { base, max } = self.backoff;
        if max < base {
            let least = format!("at least the base of {}", humantime::format_duration(base));
            let shown = humantime::format_duration(max);
            return Err(ConfigError::new("backoff.max", shown, least));
        }
        Ok(())
    }
}

/// The waits between attempts: exponential, with full jitter.
///
/// # Algorithm
///
/// "Full Jitter" of Marc Brooker, *Exponential Backoff and Jitter*, 2015: before retry `n` (from 0),
/// anything between zero and the smaller of `max` and `base` × 2ⁿ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Backoff {
    /// The longest wait before the first retry; 25ms unless set, as in Envoy.
    #[cfg_attr(feature = "schema", schemars(with = "super::schema::Time"))]
    #[serde(with = "duration")]
    pub(crate) base: Duration,
    /// The longest wait at all; 250ms unless set, as in Envoy.
    #[cfg_attr(feature = "schema", schemars(with = "super::schema::Time"))]
    #[serde(with = "duration")]
    pub(crate) max: Duration,
}

/// Envoy's: 25 ms, and ten times that.
impl Default for Backoff {
    fn default() -> Self {
        Self { base: Duration::from_millis(25), max: Duration::from_millis(250) }
    }
}

impl Backoff {
    /// Waits of up to `base` at first and never more than `max`.
    pub fn new(base: Duration, max: Duration) -> Self {
        Self { base, max }
    }

    /// The wait before retry `n`, counted from 0, for a `chance` from 0 to 1.
    pub(crate) fn wait(&self, n: u32, chance: f64) -> Duration {
        let most = self.base.saturating_mul(2_u32.saturating_pow(n)).min(self.max);
        most.mul_f64(chance)
    }
}

/// A way for an attempt to fail that another attempt may mend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum RetryOn {
    /// HTTP 500 to 599, a reset, or an attempt that ran out of its time.
    #[serde(rename = "5xx")]
    ServerError,
    /// HTTP 502, 503 or 504, or an attempt that ran out of its time.
    GatewayError,
    /// No connection could be made, or a breaker refused: nothing was sent.
    ConnectFailure,
    /// The server refused the stream before it looked at it (HTTP/2 REFUSED_STREAM).
    RefusedStream,
    /// The connection broke before the response began.
    Reset,
    /// An HTTP status that is listed.
    RetriableStatusCodes,
    /// gRPC CANCELLED.
    Cancelled,
    /// gRPC DEADLINE_EXCEEDED, or an attempt that ran out of its time.
    DeadlineExceeded,
    /// gRPC INTERNAL.
    Internal,
    /// gRPC RESOURCE_EXHAUSTED.
    ResourceExhausted,
    /// gRPC UNAVAILABLE.
    Unavailable,
}

impl RetryOn {
    /// The word that stands for it in a file.
    pub fn word(self) -> &'static str {
        match self {
            Self::ServerError => "5xx",
            Self::GatewayError => "gateway-error",
            Self::ConnectFailure => "connect-failure",
            Self::RefusedStream => "refused-stream",
            Self::Reset => "reset",
            Self::RetriableStatusCodes => "retriable-status-codes",
            Self::Cancelled => "cancelled",
            Self::DeadlineExceeded => "deadline-exceeded",
            Self::Internal => "internal",
            Self::ResourceExhausted => "resource-exhausted",
            Self::Unavailable => "unavailable",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_of_files() {
        for word in [
            "5xx",
            "gateway-error",
            "connect-failure",
            "refused-stream",
            "reset",
            "retriable-status-codes",
            "cancelled",
            "deadline-exceeded",
            "internal",
            "resource-exhausted",
            "unavailable",
        ] {
            let read: RetryOn = serde_json::from_value(word.into()).unwrap();
            assert_eq!(read.word(), word);
        }
    }

    #[test]
    fn waits_double_up_to_the_maximum() {
        let backoff = Backoff::new(Duration::from_millis(10), Duration::from_millis(60));
        let longest: Vec<_> = (0..5).map(|n| backoff.wait(n, 1.0).as_millis()).collect();
        assert_eq!(longest, [10, 20, 40, 60, 60]);
        assert_eq!(backoff.wait(u32::MAX, 1.0), Duration::from_millis(60));
        assert_eq!(backoff.wait(3, 0.0), Duration::ZERO);
    }
}
