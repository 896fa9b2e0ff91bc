//! What is asked of Redis, and what comes of it.

use std::{error::Error as StdError, fmt, sync::Arc};

use redis::RedisError;

use crate::{Allowed, Rejected};

/// One question about a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ask {
    pub(crate) kind: Kind,
    pub(crate) cost: u32,
    /// How many cells have to be left after it; for a refund, when its cells were taken, in Redis's
    /// microseconds, or 0 for just now.
    pub(crate) spare: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// All or none.
    Take,
    /// What taking them would be answered.
    Peek,
    /// As many as there are.
    AtMost,
    /// Gives cells back.
    Refund,
}

impl Ask {
    pub(crate) fn take(cost: u32) -> Self {
        Self { kind: Kind::Take, cost, spare: 0 }
    }

    pub(crate) fn sheddable(cost: u32, reserve: u32) -> Self {
        Self { kind: Kind::Take, cost, spare: reserve.into() }
    }

    pub(crate) fn peek(cost: u32) -> Self {
        Self { kind: Kind::Peek, cost, spare: 0 }
    }

    pub(crate) fn at_most(cost: u32) -> Self {
        Self { kind: Kind::AtMost, cost, spare: 0 }
    }

    pub(crate) fn refund(cost: u32, taken_micros: u64) -> Self {
        Self { kind: Kind::Refund, cost, spare: taken_micros }
    }
}

impl Kind {
    /// How the script calls it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Take => "t",
            Self::Peek => "p",
            Self::AtMost => "m",
            Self::Refund => "r",
        }
    }
}

/// What Redis answers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answer {
    pub(crate) result: Result<Allowed, Rejected>,
    /// How many cells it took.
    pub(crate) cells: u32,
    /// Redis's own time of day, in microseconds; 0 where it was not asked.
    #[expect(dead_code, reason = "a lease says when it was taken")]
    pub(crate) now_micros: u64,
}

/// Why there is no answer.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Failure {
    /// None came in time. Redis may have decided all the same.
    TimedOut,
    /// The connection broke or could not be made. Redis may have decided all the same.
    Disconnected(Arc<RedisError>),
    /// Redis answered with an error, and has decided nothing.
    Refused(Arc<RedisError>),
    /// It was not asked, because it left several questions unanswered a moment ago.
    Silent,
}

impl Failure {
    /// Whether Redis may have taken the cells although it did not say so. Such a question is not
    /// asked again.
    pub fn may_have_taken(&self) -> bool {
        !matches!(self, Self::Refused(_) | Self::Silent)
    }
}

impl From<RedisError> for Failure {
    fn from(error: RedisError) -> Self {
        if error.code().is_some() {
            Self::Refused(Arc::new(error))
        } else if error.is_timeout() {
            Self::TimedOut
        } else {
            Self::Disconnected(Arc::new(error))
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TimedOut => "redis did not answer in time",
            Self::Disconnected(_) => "the connection to redis is broken",
            Self::Refused(_) => "redis refused the script",
            Self::Silent => "redis did not answer a moment ago",
        })
    }
}

impl StdError for Failure {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::TimedOut | Self::Silent => None,
            Self::Disconnected(error) | Self::Refused(error) => Some(&**error),
        }
    }
}
