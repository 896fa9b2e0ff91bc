//! What a throttle looks like at one moment.

use super::Priority;

/// What a throttle has seen, and what it does.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Snapshot {
    /// From the most critical to the least.
    pub classes: [Class; 4],
}

impl Snapshot {
    /// The calls of one priority.
    pub const fn class(&self, priority: Priority) -> &Class {
        &self.classes[priority as usize]
    }
}

/// The calls of one priority.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Class {
    /// Their priority.
    pub priority: Priority,
    /// How many ended in the window, with those that the throttle refused itself.
    pub requests: u64,
    /// How many of them the callee accepted.
    pub accepts: u64,
    /// How many times what is accepted may be sent.
    pub k: f64,
    /// The probability with which the next call is refused, from 0 to 1.
    pub rejection_probability: f64,
    /// Whether calls are being refused: see [`Shedding`](super::Shedding).
    pub shedding: bool,
}
