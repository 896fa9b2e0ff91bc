//! What a caller gets when its call has failed for good.

use std::{collections::BTreeMap, time::Duration};

use base64::{Engine, prelude::BASE64_STANDARD};
use http::{HeaderName, HeaderValue, StatusCode};
use seawall_core::{ConfigError, duration};
use serde::{Deserialize, Serialize};

use super::Transport;
use crate::fallback::Answer;

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
#[serde(default, deny_unknown_fields)]
pub struct Fallback {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) service: Option<FallbackService>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) stale: Option<Stale>,
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
#[serde(deny_unknown_fields)]
pub struct FallbackService {
    pub(crate) name: String,
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

/// The last good response to the same request, as `stale-if-error` of RFC 5861.
///
/// Kept are whole responses to HTTP GET and HEAD with a status of 200 to 299, unless they say
/// `no-store` or `must-revalidate`, or vary by a header that is not looked at; and to gRPC calls that
/// are idempotent by the policy and ended with OK. Two requests are the same when their method, URL
/// (gRPC: path and messages) and these headers are: `authorization`, `cookie`, `accept`,
/// `accept-encoding`, `accept-language`, and those that `vary` names. **Name every header that tells
/// callers apart** there, a tenant for instance, or one gets what another one asked for.
///
/// A deletion that succeeded once is not to be answered from memory: give this to routes that read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Stale {
    #[serde(with = "duration")]
    pub(crate) max_age: Duration,
    pub(crate) max_bytes: usize,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) vary: Vec<String>,
}

/// Five minutes outlast a deployment, and an outage that lasts longer is one that callers should know
/// of. 16 MiB are small beside a process and hold thousands of usual responses.
impl Default for Stale {
    fn default() -> Self {
        Self { max_age: Duration::from_secs(300), max_bytes: 16 * 1024 * 1024, vary: Vec::new() }
    }
}

impl Stale {
    /// Up to 5 minutes old, 16 MiB in all.
    pub fn new() -> Self {
        Self::default()
    }

    /// How old a response may be; 5 minutes unless set.
    #[must_use]
    pub fn max_age(mut self, age: Duration) -> Self {
        self.max_age = age;
        self
    }

    /// How much memory the responses may take with what identifies them, those that are being
    /// received included; 16 MiB unless set, 4 KiB at least. The oldest give way. A response of more
    /// than an eighth of it is not kept.
    #[must_use]
    pub fn max_bytes(mut self, bytes: usize) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// Headers, or metadata, that tell requests apart besides the usual ones.
    #[must_use]
    pub fn vary<T: Into<String>>(mut self, headers: impl IntoIterator<Item = T>) -> Self {
        self.vary = headers.into_iter().map(Into::into).collect();
        self
    }

    fn check(&self) -> Result<(), ConfigError> {
        if self.max_age.is_zero() {
            return Err(ConfigError::new("max_age", "0s", "above 0s"));
        }
        if self.max_bytes < 4096 {
            return Err(ConfigError::new("max_bytes", self.max_bytes, "4096 or more"));
        }
        match self.vary.iter().find(|name| name.parse::<HeaderName>().is_err()) {
            Some(name) => Err(ConfigError::new("vary", name, "names of HTTP headers")),
            None => Ok(()),
        }
    }
}

/// A fixed response: a `message` for gRPC; a `status`, `headers` and a `body` for HTTP.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Value {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) status: Option<u16>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) headers: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) body: Option<String>,
}

impl Value {
    /// The message of a gRPC response, as protobuf encodes it. In a file it is written in base64, and
    /// an empty text is a message with the defaults of all its fields.
    pub fn message(encoded: impl AsRef<[u8]>) -> Self {
        Self { message: Some(BASE64_STANDARD.encode(encoded)), ..Self::default() }
    }

    /// The body of an HTTP response, with status 200 unless set.
    pub fn body(body: impl Into<String>) -> Self {
        Self { body: Some(body.into()), ..Self::default() }
    }

    /// The status of an HTTP response; 200 unless set.
    #[must_use]
    pub fn status(mut self, status: u16) -> Self {
        self.status = Some(status);
        self
    }

    /// A header, or metadata.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.insert(name.into(), value.into());
        self
    }

    pub(super) fn check_for(&self, transport: Transport) -> Result<(), ConfigError> {
        match (transport, &self.message) {
            (Transport::Grpc, None) => {
                Err(ConfigError::new("message", "absent", "the message of a gRPC response"))
            }
            (Transport::Http, Some(_)) => {
                let want = "absent: an HTTP response has a `body`";
                Err(ConfigError::new("message", "present", want))
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn answer(&self) -> Result<Answer, ConfigError> {
        let mut answer = match (&self.message, &self.body) {
            (Some(_), Some(_)) => {
                let want = "absent beside `message`, which is for gRPC";
                return Err(ConfigError::new("body", "present", want));
            }
            (Some(message), None) => Answer::new(
                BASE64_STANDARD
                    .decode(message)
                    .map_err(|_| ConfigError::new("message", message, "base64"))?,
            ),
            (None, body) => Answer::new(body.clone().unwrap_or_default()),
        };
        if let Some(status) = self.status {
            if self.message.is_some() {
                let want = "absent beside `message`, which is for gRPC";
                return Err(ConfigError::new("status", status, want));
            }
            let valid = StatusCode::from_u16(status).ok().filter(|status| status.as_u16() >= 200);
            answer = answer.status(
                valid.ok_or_else(|| ConfigError::new("status", status, "from 200 to 999"))?,
            );
        }
        for (name, value) in &self.headers {
            let wrong = |want| ConfigError::new(format!("headers.{name}"), value, want);
            let header: HeaderName =
                name.parse().map_err(|_| wrong("under the name of an HTTP header"))?;
            let value: HeaderValue =
                value.parse().map_err(|_| wrong("the value of an HTTP header"))?;
            answer = answer.header(header, value);
        }
        Ok(answer)
    }
}
