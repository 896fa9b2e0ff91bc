//! The right to make one call.

use std::{fmt, time::Duration};

use seawall_core::{Guard, Instant, Outcome};

use super::{
    ConcurrencyLimit,
    sample::{Ended, Sample},
};

/// The right to have one call in flight. It comes back when this is finished or dropped.
///
/// A limit that adapts learns from it how long the call took to be [answered](Guard::answered), or
/// to finish where nobody told of an answer. A call that failed has no latency, and one whose outcome
/// is [`Ignored`](Outcome::Ignored) says nothing at all. Dropped, it was given up by its caller.
///
/// # Cost
///
/// Counts a reference to the limit up and down. A limit that adapts reads its clock at both ends and
/// takes a lock for some instructions at the second.
#[must_use = "dropping a permit ends its call"]
pub struct Permit {
    limit: ConcurrencyLimit,
    /// Kept for limits that adapt.
    started: Option<Instant>,
    latency: Option<Duration>,
    outcome: Option<Outcome>,
}

impl Permit {
    #[inline]
    pub(super) fn new(limit: ConcurrencyLimit) -> Self {
        let started = limit.measures().then(|| limit.clock().now());
        Self { limit, started, latency: None, outcome: None }
    }

    /// The call begins only now: its caller had to wait for something else.
    pub(super) fn restart(&mut self) {
        self.started = self.started.map(|_| self.limit.clock().now());
    }

    /// The limit that it counts for.
    pub fn limit(&self) -> &ConcurrencyLimit {
        &self.limit
    }

    /// The call succeeded.
    #[inline]
    pub fn success(self) {
        self.finish(Outcome::Success);
    }

    /// The call failed.
    #[inline]
    pub fn failure(self) {
        self.finish(Outcome::Failure);
    }

    /// The call says nothing about the callee.
    #[inline]
    pub fn ignore(self) {
        self.finish(Outcome::Ignored);
    }

    fn sample(&self, started: Instant) -> Option<Sample> {
        let ended = match self.outcome {
            Some(Outcome::Ignored) => return None,
            Some(Outcome::Failure) => Ended::Failed,
            None if self.latency.is_none() => Ended::Abandoned,
            // An answer that its caller did not read to the end was an answer.
            _ => Ended::Answered,
        };
        let so_far = || self.limit.clock().now().saturating_since(started);
        let latency = self.latency.unwrap_or_else(so_far);
        let in_flight = self.limit.gate().standing().in_flight();
        Some(Sample { started, ended, latency, in_flight })
    }
}

impl Guard for Permit {
    fn answered(&mut self) {
        if let Some(started) = self.started {
            self.latency = Some(self.limit.clock().now().saturating_since(started));
        }
    }

    fn finish(mut self, outcome: Outcome) {
        self.outcome = Some(outcome);
        // Dropped here, which tells the limit.
    }
}

impl Drop for Permit {
    #[inline]
    fn drop(&mut self) {
        if let Some(sample) = self.started.and_then(|started| self.sample(started)) {
            self.limit.sample(&sample);
        }
        self.limit.gate().leave();
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").field("limit", &self.limit).finish_non_exhaustive()
    }
}
