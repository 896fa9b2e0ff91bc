//! A refusal by a layer of ours, recognisable at any depth.

use std::{error::Error as StdError, fmt, sync::Arc, time::Duration};

/// Why a layer of ours refused a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// A circuit breaker is open, or half-open with all of its probes out.
    CircuitOpen,
    /// A rate limit is reached.
    LimitReached,
    /// A bulkhead or a throttle has no room.
    Overloaded,
    /// A balancer has no endpoint to call.
    NoEndpoint,
    /// What is left of the deadline does not suffice.
    DeadlineExceeded,
    /// The client is shut down, or about to be.
    ShutDown,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CircuitOpen => "circuit breaker is open",
            Self::LimitReached => "rate limit is reached",
            Self::Overloaded => "overloaded",
            Self::NoEndpoint => "no endpoint to call",
            Self::DeadlineExceeded => "deadline is exceeded",
            Self::ShutDown => "client is shut down",
        })
    }
}

/// Whether the same call may succeed later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Retry {
    /// Not before this has passed.
    After(Duration),
    /// It may, but nobody knows when.
    Unknown,
    /// It never will, such as a cost above the capacity of a limiter.
    Never,
}

/// A call that a layer of ours refused before it was sent.
///
/// The layers of this family put it in the `source()` chain of their errors, where
/// [`Rejection::find`] sees it through any wrapping. A layer outside does not count it as the
/// callee's failure.
///
/// # Cost
///
/// Clones without an allocation.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use seawall_core::{Reason, Rejection, Retry};
///
/// let refused = Rejection::new(Reason::CircuitOpen)
///     .by("orders")
///     .retry(Retry::After(Duration::from_secs(3)));
/// assert_eq!(refused.to_string(), "circuit breaker is open (orders), retry after 3s");
/// assert_eq!(refused.retry_after(), Some(Duration::from_secs(3)));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    reason: Reason,
    retry: Retry,
    by: Option<Arc<str>>,
}

impl Rejection {
    /// A refusal for `reason` by a layer without a name, to be retried nobody knows when.
    pub fn new(reason: Reason) -> Self {
        Self { reason, retry: Retry::Unknown, by: None }
    }

    /// Names the breaker, limiter or balancer that refused.
    #[must_use]
    pub fn by(mut self, name: impl Into<Arc<str>>) -> Self {
        self.by = Some(name.into());
        self
    }

    /// Says whether the same call may succeed later.
    #[must_use]
    pub fn retry(mut self, retry: Retry) -> Self {
        self.retry = retry;
        self
    }

    /// Why the call was refused.
    pub fn reason(&self) -> Reason {
        self.reason
    }

    /// The name of the breaker, limiter or balancer that refused, if it has one.
    pub fn refused_by(&self) -> Option<&str> {
        self.by.as_deref()
    }

    /// How long to wait before the same call may succeed, where that is known.
    pub fn retry_after(&self) -> Option<Duration> {
        match self.retry {
            Retry::After(wait) => Some(wait),
            Retry::Unknown | Retry::Never => None,
        }
    }

    /// Whether the same call can never succeed, so that a retry is pointless.
    pub fn is_never(&self) -> bool {
        self.retry == Retry::Never
    }

    /// The rejection in `error` or in what caused it, if there is one.
    ///
    /// For a `reqwest_middleware::Error` use `seawall_core::reqwest::rejection`, which also looks
    /// where its `source()` does not.
    pub fn find<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a Self> {
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(rejection) = error.downcast_ref() {
                return Some(rejection);
            }
            next = error.source();
        }
        None
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.reason.fmt(f)?;
        if let Some(by) = &self.by {
            write!(f, " ({by})")?;
        }
        match self.retry {
            Retry::After(wait) => write!(f, ", retry after {wait:?}"),
            Retry::Unknown => Ok(()),
            Retry::Never => f.write_str(", and will be for this call"),
        }
    }
}

impl StdError for Rejection {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_is_not_a_wait() {
        let never = Rejection::new(Reason::LimitReached).retry(Retry::Never);
        assert!(never.is_never());
        assert_eq!(never.retry_after(), None);
        assert!(!Rejection::new(Reason::LimitReached).is_never());
    }

    #[test]
    fn an_error_without_a_rejection_has_none() {
        assert_eq!(Rejection::find(&std::fmt::Error), None);
    }
}
