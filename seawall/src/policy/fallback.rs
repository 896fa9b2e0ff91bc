//! What a caller gets when its call has failed for good.

mod stale;
mod value;

use std::time::Duration;

use seawall_core::{ConfigError, duration};
use serde::{Deserialize, Serialize};

pub use self::{stale::Stale, value::Value};

/// What a caller gets when its call has failed for good: refused by the limit, out of time, or failed
/// with all its retries.
///
/// Another service is asked first, then the last good response is looked for, then the function that
/// the builder was given is asked, and the value comes last. The first that answers counts, and the
/// response has a [`Degraded`](crate::Degraded) in its extensions. Where none answers, the caller sees
/// the failure as without a fallback.
///
/// A response counts as failed that has an HTTP status from 500 or 429, or a gRPC code of
/// UNAVAILABLE, DEADLINE_EXCEEDED, INTERNAL, UNKNOWN, DATA_LOSS or RESOURCE_EXHAUSTED. A status in the
/// trailers is seen where the first frame is waited for: in calls that are idempotent.
///
/// ```
/// use std::time::Duration;
/// use seawall::policy::{Fallback, FallbackService, Policy, Stale, Value};
///
/// let written = Policy::from_yaml("
/// fallback:
///   service: { name: users-replica, timeout: 500ms }
///   stale: { max_age: 10m }
///   value: { body: '[]', headers: { content-type: application/json } }
/// ")?;
/// let replica = FallbackService::new("users-replica").timeout(Duration::from_millis(500));
/// let fallback = Fallback::new()
///     .service(replica)
///     .stale(Stale::new().max_age(Duration::from_secs(600)))
///     .value(Value::body("[]").header("content-type", "application/json"));
/// assert_eq!(written, Policy::new().fallback(fallback));
/// # Ok::<(), seawall::policy::PolicyError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Fallback {
    /// Another service, which is asked first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) service: Option<FallbackService>,
    /// The last good response to the same request, which comes second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) stale: Option<Stale>,
    /// A fixed response, which comes last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) value: Option<Value>,
}

impl Fallback {
    /// Nothing yet: one of the three has to be given.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks another service, which the client's resolver finds.
    #[must_use]
    pub fn service(mut self, service: FallbackService) -> Self {
        self.service = Some(service);
        self
    }

    /// Gives the last good response to the same request.
    #[must_use]
    pub fn stale(mut self, stale: Stale) -> Self {
        self.stale = Some(stale);
        self
    }

    /// Gives a fixed response.
    #[must_use]
    pub fn value(mut self, value: Value) -> Self {
        self.value = Some(value);
        self
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if *self == Self::default() {
            let want = "one of `service`, `stale` and `value` at least";
            return Err(ConfigError::new("fallback", "empty", want));
        }
        if let Some(service) = &self.service {
            service.check().map_err(|error| error.within("service"))?;
        }
        if let Some(stale) = &self.stale {
            stale.check().map_err(|error| error.within("stale"))?;
        }
        match &self.value {
            Some(value) => value.answer().map(drop).map_err(|error| error.within("value")),
            None => Ok(()),
        }
    }
}

/// Another service that a failed call goes to.
///
/// Its attempts are retried, timed and broken as those of the call, by breakers and a balancer of its
/// own. The rate limit does not count it again. It is not hedged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct FallbackService {
    /// The service that the resolver finds.
    pub(crate) name: String,
    /// How long it may take in all; 1s unless set, because the caller has waited already.
    #[cfg_attr(feature = "schema", schemars(with = "super::schema::Time"))]
    #[serde(default = "one_second", with = "duration")]
    pub(crate) timeout: Duration,
}

fn one_second() -> Duration {
    Duration::from_secs(1)
}

impl FallbackService {
    /// The service of this name, for at most a second.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), timeout: one_second() }
    }

    /// How long it may take in all, to the end of its response; 1 s unless set, because the caller
    /// has waited already. It begins when the call has failed, and the deadline of the call does not
    /// bound it.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    fn check(&self) -> Result<(), ConfigError> {
        if self.name.is_empty() {
            return Err(ConfigError::new("name", "empty", "the name of a service"));
        }
        if self.timeout.is_zero() {
            return Err(ConfigError::new("timeout", "0s", "above 0s"));
        }
        Ok(())
    }
}
