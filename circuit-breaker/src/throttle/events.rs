//! What a throttle tells those who watch it.

use seawall_core::Instant;

use super::{Priority, Rejected};

/// Watches a throttle: [`ThrottleBuilder::observer`](super::ThrottleBuilder::observer).
///
/// Every method does nothing unless implemented. They run on the thread whose call caused the event,
/// outside any lock, so they may use the throttle; they should be quick and must not panic. Two
/// threads may tell of two changes in either order: their generations say which was first.
pub trait Observer: Send + Sync {
    /// The throttle began or ceased to refuse calls of a priority.
    fn shedding(&self, name: Option<&str>, change: &Shedding) {
        let _ = (name, change);
    }

    /// The throttle refused a call.
    fn rejected(&self, name: Option<&str>, rejected: &Rejected) {
        let _ = (name, rejected);
    }
}

/// A throttle began or ceased to refuse calls of a priority.
///
/// It has ceased when a call comes after a sixteenth of the window or more without a refusal, so that
/// a throttle at the edge does not tell of each call.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Shedding {
    /// The priority of the calls.
    pub priority: Priority,
    /// Whether it refuses from now on.
    pub on: bool,
    /// The number of this change: greater than every one of this priority before it.
    pub generation: u64,
    /// When it happened, by the throttle's clock.
    pub at: Instant,
    /// Calls in the window, with those that it refused itself.
    pub requests: u64,
    /// Calls in the window that the callee accepted.
    pub accepts: u64,
}
