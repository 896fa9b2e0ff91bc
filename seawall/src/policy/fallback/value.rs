//! A fixed response.

use std::collections::BTreeMap;

use base64::{Engine, prelude::BASE64_STANDARD};
use http::{HeaderName, HeaderValue, StatusCode};
use seawall_core::ConfigError;
use serde::{Deserialize, Serialize};

use crate::{fallback::Answer, policy::Transport};

/// A fixed response: a `message` for gRPC; a `status`, `headers` and a `body` for HTTP.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Value {
    /// The encoded message of a gRPC response, in base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) message: Option<String>,
    /// The status of an HTTP response; 200 unless set.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(range(min = 200, max = 999)))]
    pub(crate) status: Option<u16>,
    /// Headers, or metadata.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) headers: BTreeMap<String, String>,
    /// The body of an HTTP response.
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

    pub(in crate::policy) fn check_for(&self, transport: Transport) -> Result<(), ConfigError> {
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
