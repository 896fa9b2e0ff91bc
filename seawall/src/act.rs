//! What can be done to an endpoint by hand.

use std::{error::Error, fmt, time::Duration};

#[cfg(feature = "admin")]
use crate::Snapshot;

/// Something done to an endpoint of a client by hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Action {
    /// Its breaker refuses every call.
    OpenBreaker,
    /// Its breaker admits every call.
    CloseBreaker,
    /// Outcomes decide over its breaker again, from closed.
    FreeBreaker,
    /// It gets no calls for so long, unless too few others are well.
    Eject(Duration),
    /// Its ejection ends.
    Uneject,
    /// It gets no new calls, whatever the registry says of it; those in flight finish.
    Drain,
    /// It gets calls again as the registry says.
    Undrain,
}

/// Why an action did nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Refused {
    /// The client has no such endpoint.
    Unknown,
    /// The endpoint has no breaker: it has not been called yet, or breakers are for methods.
    NoBreaker,
    /// It is so already.
    NoChange,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => "no such endpoint",
            Self::NoBreaker => "the endpoint has no breaker yet",
            Self::NoChange => "it is so already",
        })
    }
}

impl Error for Refused {}

/// A client, whatever its transport.
pub(crate) trait Act: Send + Sync {
    #[cfg(feature = "admin")]
    fn snapshot(&self) -> Snapshot;
    fn act(&self, service: &str, endpoint: &str, action: Action) -> Result<(), Refused>;
}
