//! The fixed window.

use seawall_core::{ConfigError, Instant};

use super::{Algorithm, Queue, sealed::Sealed, window::Window};
use crate::{Allowed, Quota, Rejected, sync::Mutex};

/// Lets the limit through in each window, as quotas that renew at the full hour do.
///
/// Windows follow each other without a gap and begin at multiples of the period on the limiter's
/// clock, whenever calls come. Around the turn of a window twice the limit may pass within a short
/// time; where that hurts, take a [`SlidingCounter`](super::SlidingCounter) or a
/// [`TokenBucket`](super::TokenBucket).
///
/// A clock that runs backward leaves the window as it is.
///
/// # Cost
///
/// A lock for a few instructions; no allocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FixedWindow {
    window: Window,
}

/// What a [`FixedWindow`] remembers.
#[derive(Clone, Copy, Debug, Default)]
pub struct FixedWindowState {
    /// The latest window in which a call passed.
    index: u64,
    used: u32,
}

impl FixedWindow {
    /// A window of the length and limit of `quota`, which has no burst.
    ///
    /// # Errors
    ///
    /// When `limit` or `period` is zero, when there is more than one cell for each nanosecond, when
    /// the period is above 73 years, or when a burst is set.
    pub fn new(quota: Quota) -> Result<Self, ConfigError> {
        Ok(Self { window: Window::new(quota)? })
    }

    fn at(&self, state: FixedWindowState, now: Instant) -> FixedWindowState {
        let index = now.as_nanos() / self.window.nanos;
        if index > state.index { FixedWindowState { index, used: 0 } } else { state }
    }

    fn decide(
        &self,
        before: FixedWindowState,
        now: Instant,
        cost: u32,
        spare: u32,
    ) -> Result<Allowed, Rejected> {
        let before = self.at(before, now);
        let end = Instant::from_nanos((before.index + 1).saturating_mul(self.window.nanos));
        let standing = |used| self.window.standing(used, if used > 0 { end } else { now }, now);
        let asked = self.window.asked(cost, spare);
        if asked == 0 || before.used.saturating_add(asked) <= self.window.limit {
            Ok(Allowed::new(standing(before.used.saturating_add(cost))))
        } else if asked > self.window.limit {
            Err(Rejected::never(standing(before.used)))
        } else {
            let wait = end.as_nanos().saturating_sub(now.as_nanos());
            Err(Rejected::after(wait, standing(before.used)))
        }
    }
}

impl Sealed for FixedWindow {}

impl Algorithm for FixedWindow {
    type State = FixedWindowState;
    type Shared = Mutex<Queue<Self>>;

    fn rest(&self) -> FixedWindowState {
        FixedWindowState::default()
    }

    fn look(
        &self,
        state: &FixedWindowState,
        now: Instant,
        cost: u32,
        spare: u32,
    ) -> Result<Allowed, Rejected> {
        self.decide(*state, now, cost, spare)
    }

    fn charge(&self, state: &mut FixedWindowState, now: Instant, cost: u32) {
        let before = self.at(*state, now);
        *state = FixedWindowState { used: before.used.saturating_add(cost), ..before };
    }

    /// What passed in the window of now counts in the new window of now.
    fn adopt(&self, before: &Self, state: &mut FixedWindowState, now: Instant) {
        if self.window.nanos != before.window.nanos {
            let used = before.at(*state, now).used;
            *state = FixedWindowState { index: now.as_nanos() / self.window.nanos, used };
        }
    }

    fn quota(&self) -> Quota {
        self.window.quota()
    }
}
