//! The refusal of a breaker.

use std::{error::Error as StdError, fmt, time::Duration};

use seawall_core::{Reason, Rejection, Retry};

use crate::State;

/// A call that a breaker refused.
///
/// Small and `Copy`, so that a refusal costs nothing. For the errors of a service it becomes a
/// [`Rejection`], which also names the breaker: see
/// [`CircuitBreaker::rejection`](crate::CircuitBreaker::rejection).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rejected {
    state: State,
    retry_after: Option<Duration>,
    probe_in_flight: bool,
}

impl Rejected {
    pub(crate) const fn new(state: State, retry_after: Option<Duration>) -> Self {
        Self { state, retry_after, probe_in_flight: matches!(state, State::HalfOpen) }
    }

    /// The state in which the breaker refused.
    ///
    /// [`State::Closed`] while a breaker that has closed lets calls back in step by step.
    pub const fn state(&self) -> State {
        self.state
    }

    /// How long until the next probe may start; `None` when nobody knows, because probes are out
    /// or the breaker was opened by hand.
    pub const fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// Whether a probe is out whose result may close the breaker at any moment.
    pub const fn probe_in_flight(&self) -> bool {
        self.probe_in_flight
    }
}

impl From<Rejected> for Rejection {
    fn from(rejected: Rejected) -> Self {
        let retry = rejected.retry_after.map_or(Retry::Unknown, Retry::After);
        Self::new(Reason::CircuitOpen).retry(retry)
    }
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.state {
            State::Closed => "circuit breaker has just closed and lets calls back in step by step",
            State::Open => "circuit breaker is open",
            State::HalfOpen => "circuit breaker is half-open and its probes are out",
        })?;
        match self.retry_after {
            Some(wait) => write!(f, ", retry after {wait:?}"),
            None => Ok(()),
        }
    }
}

impl StdError for Rejected {}
