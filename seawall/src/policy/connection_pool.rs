//! How many connections and calls an endpoint may have.

use std::num::NonZeroU32;

use seawall_core::ConfigError;
use serde::{Deserialize, Serialize};

use super::{Policy, Transport};

/// Calls on one HTTP/2 connection: what RFC 9113, section 6.5.2, asks servers to allow at least, and
/// what many allow at most.
const STREAMS: u32 = 100;
/// Envoy's.
const PENDING: u32 = 1024;
/// What the limiter counts to.
const MOST: u32 = 1_000_000;

/// How many connections and calls each endpoint may have, so that a slow one takes no more than its
/// part of the client: a bulkhead.
///
/// A call above the limit waits in turn, as many as `max_pending_requests` do, and is then refused
/// with [`Reason::Overloaded`](seawall_core::Reason::Overloaded); it is picked another endpoint then,
/// if there is one. A call counts until its body ends.
///
/// | field | gRPC | HTTP | default |
/// |---|---|---|---|
/// | `max_connections` | channels of an endpoint; another one is opened when all have 100 calls under way | calls under way at an endpoint, each of which has an HTTP/1 connection | 1 channel; any number of calls |
/// | `max_requests` | calls under way at an endpoint | the same | 100 for each of `max_connections`, else any number |
/// | `max_pending_requests` | calls that wait for an endpoint | the same | 1024, as Envoy has it |
/// | `max_requests_per_connection` | a channel is replaced after so many calls, and closed when the last of them has ended | refused: reqwest does not tell on which connection a call goes | any number |
///
/// A connection that is being drained is not one of `max_connections`.
///
/// # Cost
///
/// A short lock of the endpoint's for each call; a further channel is made under it, without connecting.
/// A call that waits does as [`ConcurrencyLimit::acquire`] says, for as long as its own time-outs let it.
///
/// [`ConcurrencyLimit::acquire`]: seawall_rate_limit::concurrency::ConcurrencyLimit::acquire
///
/// ```
/// let policy = seawall::policy::Policy::from_yaml("
/// connection_pool: { max_connections: 100, max_pending_requests: 100, max_requests_per_connection: 10 }
/// ")?;
/// # policy.check()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct ConnectionPool {
    /// Channels of an endpoint for gRPC, calls under way at it for HTTP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) max_connections: Option<NonZeroU32>,
    /// Calls under way at an endpoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) max_requests: Option<NonZeroU32>,
    /// Calls that wait for an endpoint; 1024 unless set, as in Envoy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) max_pending_requests: Option<u32>,
    /// After so many calls a channel is replaced; gRPC only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) max_requests_per_connection: Option<NonZeroU32>,
}

impl ConnectionPool {
    /// No limits.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many connections an endpoint may have.
    #[must_use]
    pub fn max_connections(mut self, connections: NonZeroU32) -> Self {
        self.max_connections = Some(connections);
        self
    }

    /// How many calls may be under way at an endpoint.
    #[must_use]
    pub fn max_requests(mut self, requests: NonZeroU32) -> Self {
        self.max_requests = Some(requests);
        self
    }

    /// How many calls may wait for an endpoint; 0 refuses at once.
    #[must_use]
    pub fn max_pending_requests(mut self, requests: u32) -> Self {
        self.max_pending_requests = Some(requests);
        self
    }

    /// After how many calls a channel is replaced; gRPC only.
    #[must_use]
    pub fn max_requests_per_connection(mut self, requests: NonZeroU32) -> Self {
        self.max_requests_per_connection = Some(requests);
        self
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let numbers = [
            ("max_connections", self.max_connections.map(NonZeroU32::get)),
            ("max_requests", self.max_requests.map(NonZeroU32::get)),
            ("max_pending_requests", self.max_pending_requests),
        ];
        for (field, number) in numbers {
            if let Some(number) = number.filter(|number| *number > MOST) {
                return Err(ConfigError::new(field, number, format!("at most {MOST}")));
            }
        }
        Ok(())
    }

    pub(super) fn check_for(&self, transport: Transport) -> Result<(), ConfigError> {
        match (transport, self.max_requests_per_connection) {
            (Transport::Http, Some(requests)) => {
                let want = "absent: reqwest does not tell on which of its connections a call goes, \
                            so that none can be closed after so many";
                Err(ConfigError::new("max_requests_per_connection", requests, want))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn pending(&self) -> u32 {
        self.max_pending_requests.unwrap_or(PENDING)
    }

    pub(crate) fn bounds(&self, transport: Transport) -> Bounds {
        let connections = self.max_connections.map(NonZeroU32::get);
        let by_connections = match transport {
            Transport::Grpc => connections.map(|n| n.saturating_mul(STREAMS).min(MOST)),
            Transport::Http => connections,
        };
        let calls = match (by_connections, self.max_requests.map(NonZeroU32::get)) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        Bounds {
            channels: match transport {
                Transport::Grpc => connections.unwrap_or(1),
                Transport::Http => 1,
            },
            streams: STREAMS,
            calls,
            pending: self.pending(),
            calls_per_channel: self.max_requests_per_connection,
        }
    }
}

impl Policy {
    /// What each endpoint is held to.
    pub(crate) fn bounds(&self, transport: Transport) -> Bounds {
        self.connection_pool.unwrap_or_default().bounds(transport)
    }
}

/// What one endpoint is held to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// Channels at once.
    pub(crate) channels: u32,
    /// Calls under way on a channel, before another one is opened.
    pub(crate) streams: u32,
    /// Calls under way at once.
    pub(crate) calls: Option<u32>,
    /// Calls that wait.
    pub(crate) pending: u32,
    /// Calls that a channel makes.
    pub(crate) calls_per_channel: Option<NonZeroU32>,
}
