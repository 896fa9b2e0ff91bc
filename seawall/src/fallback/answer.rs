//! What a fallback gives, and what is said of it.

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use seawall_core::Rejection;

use crate::Error;

/// A response that a fallback makes up.
///
/// For gRPC the body is one message as protobuf encodes it, `reply.encode_to_vec()`, and the status
/// of the call is OK.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    /// A response with this body and, for HTTP, status 200.
    pub fn new(body: impl Into<Bytes>) -> Self {
        Self { body: body.into(), ..Self::default() }
    }

    /// The status of an HTTP response. gRPC has it in its trailers, where it is OK.
    #[must_use]
    pub fn status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    /// A header, or metadata.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }
}

/// In the extensions of a response that does not come from where the call was to go: it is worth less
/// than a real one, and the caller may want to say so.
///
/// ```no_run
/// # async fn show(users: seawall::http::HttpClient) -> Result<(), Box<dyn std::error::Error>> {
/// let response = users.client().get("http://users/7").send().await?;
/// if let Some(degraded) = response.extensions().get::<seawall::Degraded>() {
///     println!("shown from {:?}, because: {}", degraded.from, degraded.because);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Degraded {
    /// Where the response comes from.
    pub from: DegradedFrom,
    /// What became of the call itself.
    pub because: Because,
}

/// Where a response comes from that a fallback gave.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DegradedFrom {
    /// From another service.
    Service(Arc<str>),
    /// From an earlier call.
    Stale {
        /// How long ago that was.
        age: Duration,
    },
    /// From the function that the client was built with.
    Function,
    /// From the policy.
    Value,
}

/// Why a call has failed for good.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Because {
    /// A layer of ours refused it.
    Rejected(Rejection),
    /// It had not begun to be answered within this time.
    TimedOut(Duration),
    /// The transport failed, which says this.
    Transport(String),
    /// Its server answered with this failure: an HTTP status, or a gRPC code.
    Answered(u16),
    /// Its body was used up before it could be sent.
    NotReplayable,
}

impl Because {
    pub(super) fn of<E: fmt::Display>(error: &Error<E>) -> Self {
        match error {
            Error::Rejected(rejection) => Self::Rejected(rejection.clone()),
            Error::TimedOut(limit) => Self::TimedOut(*limit),
            Error::Transport(error) => Self::Transport(error.to_string()),
            Error::NotReplayable => Self::NotReplayable,
        }
    }
}

impl fmt::Display for Because {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rejected(rejection) => rejection.fmt(f),
            Self::TimedOut(limit) => write!(f, "no response within {limit:?}"),
            Self::Transport(error) => f.write_str(error),
            Self::Answered(code) => write!(f, "answered with {code}"),
            Self::NotReplayable => f.write_str("request body was used up before it was sent"),
        }
    }
}

/// A call that has failed for good, for the function that has an answer nevertheless.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Failed {
    /// The HTTP method; POST for gRPC.
    pub method: Method,
    /// The path: of gRPC `/package.Service/Method`, of HTTP without the query.
    pub path: String,
    /// Why.
    pub because: Because,
}
