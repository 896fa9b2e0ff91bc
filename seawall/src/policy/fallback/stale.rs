//! The last good response.

use std::time::Duration;

use http::HeaderName;
use seawall_core::{ConfigError, duration};
use serde::{Deserialize, Serialize};

/// The last good response to the same request, as `stale-if-error` of RFC 5861.
///
/// Kept are whole responses to HTTP GET and HEAD with a status of 200 to 299, unless they say
/// `no-store` or `must-revalidate`, or vary by a header that is not looked at; and to gRPC calls
/// that are listed as idempotent, or have no side effects by their descriptor, and ended with OK. Two requests are the same when their method, URL
/// (gRPC: path and messages) and these headers are: `authorization`, `cookie`, `accept`,
/// `accept-encoding`, `accept-language`, and those that `vary` names. **Name every header that tells
/// callers apart** there, a tenant for instance, or one gets what another one asked for.
///
/// A deletion that succeeded once is not to be answered from memory: give this to routes that read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Stale {
    /// How old a response may be; 5m unless set, which outlast a deployment.
    #[cfg_attr(feature = "schema", schemars(with = "crate::policy::schema::Time"))]
    #[serde(with = "duration")]
    pub(crate) max_age: Duration,
    /// How much memory the responses may take; 16 MiB unless set.
    #[cfg_attr(feature = "schema", schemars(range(min = 4096)))]
    pub(crate) max_bytes: usize,
    /// Headers, or metadata, that tell requests apart besides the usual ones.
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

    pub(super) fn check(&self) -> Result<(), ConfigError> {
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
