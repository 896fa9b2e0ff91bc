//! The refusal of a throttle.

use std::{error::Error as StdError, fmt};

use seawall_core::{Reason, Rejection};

use super::Priority;

/// A call that a throttle refused.
///
/// For the errors of a service it becomes a [`Rejection`], which also names the throttle: see
/// [`Throttle::rejection`](super::Throttle::rejection). Nobody knows when the same call would pass.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rejected {
    priority: Priority,
    probability: f64,
}

impl Rejected {
    pub(super) const fn new(priority: Priority, probability: f64) -> Self {
        Self { priority, probability }
    }

    /// The priority of the call.
    pub const fn priority(&self) -> Priority {
        self.priority
    }

    /// The probability with which it was refused, from 0 to 1.
    pub const fn probability(&self) -> f64 {
        self.probability
    }
}

impl From<Rejected> for Rejection {
    fn from(_: Rejected) -> Self {
        Self::new(Reason::Overloaded)
    }
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = self.probability * 100.0;
        write!(f, "throttled, as {percent:.0} % of {} calls are", self.priority)
    }
}

impl StdError for Rejected {}
