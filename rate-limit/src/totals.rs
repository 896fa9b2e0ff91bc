//! Exact numbers of decisions, for those who want them.

use std::sync::atomic::Ordering::Relaxed;

use crate::sync::{Apart, AtomicU64};

/// How many calls a limiter decided on since it was built, where that is counted:
/// [`RateLimiter::count_decisions`](crate::RateLimiter::count_decisions).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Totals {
    /// Calls that passed, at once or after a wait.
    pub allowed: u64,
    /// Those of them that had to wait.
    pub waited: u64,
    /// Calls that were refused.
    pub rejected: u64,
    /// Calls that passed because the limiter is in shadow mode, and would have been refused.
    pub shadow_rejected: u64,
}

/// Each on its own cache line, so that a call that passes does not wait for one that is refused.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    allowed: Apart<AtomicU64>,
    waited: Apart<AtomicU64>,
    rejected: Apart<AtomicU64>,
    shadow_rejected: Apart<AtomicU64>,
}

impl Counters {
    pub(crate) fn allowed(&self) {
        // Relaxed, here and below: nothing else is read on the strength of it.
        self.allowed.fetch_add(1, Relaxed);
    }

    pub(crate) fn waited(&self) {
        self.allowed();
        self.waited.fetch_add(1, Relaxed);
    }

    pub(crate) fn rejected(&self, shadow: bool) {
        let counter = if shadow { &self.shadow_rejected } else { &self.rejected };
        counter.fetch_add(1, Relaxed);
    }

    pub(crate) fn read(&self) -> Totals {
        Totals {
            allowed: self.allowed.load(Relaxed),
            waited: self.waited.load(Relaxed),
            rejected: self.rejected.load(Relaxed),
            shadow_rejected: self.shadow_rejected.load(Relaxed),
        }
    }
}
