//! What a builder has checked.

use std::{fmt, time::Duration};

use super::{Query, token::Token};
use crate::backoff::Backoff;

/// What becomes of the last good set when Consul answers with an empty one right after it lost its
/// index, could not be reached or answered garbage: after a restart, say, it knows nothing until
/// its services have registered again.
///
/// An empty answer at any other time means what it says, and is applied at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EmptyAnswers {
    /// The answer is applied.
    Apply,
    /// The last good set stays in use for this long, marked stale, unless a better answer comes.
    HoldFor(Duration),
    /// The last good set stays in use, marked stale, until an answer is not empty.
    HoldForever,
}

#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) token: Token,
    pub(super) auth: Option<Auth>,
    pub(super) return_after: Duration,
    pub(super) query: Query,
    pub(super) namespace: Option<String>,
    pub(super) partition: Option<String>,
    pub(super) wait: Duration,
    pub(super) slack: Duration,
    pub(super) request_timeout: Duration,
    pub(super) backoff: Backoff,
    pub(super) empty_answers: EmptyAnswers,
    pub(super) answer_max: usize,
    pub(super) in_flight: usize,
}

/// User and password.
#[derive(Clone)]
pub(super) struct Auth {
    pub(super) user: String,
    pub(super) password: String,
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Auth(..)")
    }
}
