//! The sliding-window counter.

use seawall_core::{ConfigError, Instant};

use super::{Algorithm, Queue, sealed::Sealed, window::Window};
use crate::{Allowed, Quota, Rejected, sync::Mutex};

/// Lets about the limit through in any period, and remembers two numbers.
///
/// # Algorithm
///
/// Two fixed windows stand for the sliding one, as in "How we built rate limiting capable of scaling
/// to millions of domains" (J. Desgats, Cloudflare, 2017): a call of cost n passes when
/// `previous * (period - elapsed) / period + current + n` is at most the limit, where `elapsed` is
/// the age of the current window. Compared exactly, in integers.
///
/// It takes the calls of the previous window as evenly spread. Where they were not, more than the
/// limit may pass within a period, though never twice as much; where that hurts, take a
/// [`SlidingLog`](super::SlidingLog).
///
/// A clock that runs backward stands still until it has caught up.
///
/// # Cost
///
/// A lock for a few instructions, two divisions; no allocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlidingCounter {
    window: Window,
}

/// What a [`SlidingCounter`] remembers.
#[derive(Clone, Copy, Debug, Default)]
pub struct SlidingCounterState {
    /// The latest window in which a call passed.
    index: u64,
    previous: u32,
    current: u32,
}

impl SlidingCounter {
    /// A window of the length and limit of `quota`, which has no burst.
    ///
    /// # Errors
    ///
    /// When `limit` or `period` is zero, when there is more than one cell for each nanosecond, when
    /// the period is above 73 years, or when a burst is set.
    pub fn new(quota: Quota) -> Result<Self, ConfigError> {
        Ok(Self { window: Window::new(quota)? })
    }

    fn at(&self, state: SlidingCounterState, now: Instant) -> SlidingCounterState {
        let index = now.as_nanos() / self.window.nanos;
        match index.checked_sub(state.index) {
            None | Some(0) => state,
            Some(1) => SlidingCounterState { index, previous: state.current, current: 0 },
            Some(_) => SlidingCounterState { index, previous: 0, current: 0 },
        }
    }

    /// How many cells of a window that ended count `elapsed` nanoseconds later, rounded up: as good
    /// as the fraction, because what it is compared to is whole.
    fn weighted(&self, cells: u32, elapsed: u64) -> u32 {
        let left = self.window.nanos.saturating_sub(elapsed);
        let weighted = match left.checked_mul(cells.into()) {
            Some(product) => product.div_ceil(self.window.nanos),
            // Below `cells`, which fits.
            None => {
                (u128::from(left) * u128::from(cells)).div_ceil(self.window.nanos.into()) as u64
            }
        };
        u32::try_from(weighted).unwrap_or(u32::MAX)
    }

    /// How many cells of the window before that of `state` count.
    fn weighted_at(&self, state: SlidingCounterState, now: Instant) -> u32 {
        let start = state.index.saturating_mul(self.window.nanos);
        self.weighted(state.previous, now.as_nanos().saturating_sub(start))
    }

    /// How many nanoseconds after the end of a window at most `room` of its `cells` count; `room`
    /// is less than `cells`.
    fn until(&self, cells: u32, room: u32) -> u64 {
        let nanos = u128::from(self.window.nanos);
        let left = nanos * u128::from(room) / u128::from(cells.max(1));
        u64::try_from(nanos.saturating_sub(left)).unwrap_or(u64::MAX)
    }

    fn decide(
        &self,
        before: SlidingCounterState,
        now: Instant,
        cost: u32,
        spare: u32,
    ) -> Result<Allowed, Rejected> {
        let before = self.at(before, now);
        let start = before.index.saturating_mul(self.window.nanos);
        let weighted = self.weighted_at(before, now);
        let standing = |current: u32| {
            let windows = if current > 0 { 2 } else { u64::from(before.previous > 0) };
            let reset = match windows {
                0 => now,
                windows => Instant::from_nanos(
                    start.saturating_add(self.window.nanos.saturating_mul(windows)),
                ),
            };
            self.window.standing(weighted.saturating_add(current), reset, now)
        };
        let asked = self.window.asked(cost, spare);
        let Some(room) = self.window.limit.checked_sub(asked) else {
            return Err(Rejected::never(standing(before.current)));
        };
        if asked == 0 || weighted.saturating_add(before.current) <= room {
            return Ok(Allowed::new(standing(before.current.saturating_add(cost))));
        }
        let ready = match room.checked_sub(before.current) {
            // Enough of the previous window leaves before this one ends.
            Some(room) => start.saturating_add(self.until(before.previous, room)),
            // This window is the previous one by then.
            None => start
                .saturating_add(self.window.nanos)
                .saturating_add(self.until(before.current, room)),
        };
        Err(Rejected::after(ready.saturating_sub(now.as_nanos()), standing(before.current)))
    }
}

impl Sealed for SlidingCounter {}

impl Algorithm for SlidingCounter {
    type State = SlidingCounterState;
    type Shared = Mutex<Queue<Self>>;

    fn rest(&self) -> SlidingCounterState {
        SlidingCounterState::default()
    }

    fn look(
        &self,
        state: &SlidingCounterState,
        now: Instant,
        cost: u32,
        spare: u32,
    ) -> Result<Allowed, Rejected> {
        self.decide(*state, now, cost, spare)
    }

    fn charge(&self, state: &mut SlidingCounterState, now: Instant, cost: u32) {
        let before = self.at(*state, now);
        *state = SlidingCounterState { current: before.current.saturating_add(cost), ..before };
    }

    /// What counts now counts as passed in the new window of now.
    fn adopt(&self, before: &Self, state: &mut SlidingCounterState, now: Instant) {
        if self.window.nanos != before.window.nanos {
            let old = before.at(*state, now);
            let current = before.weighted_at(old, now).saturating_add(old.current);
            let index = now.as_nanos() / self.window.nanos;
            *state = SlidingCounterState { index, previous: 0, current };
        }
    }

    fn quota(&self) -> Quota {
        self.window.quota()
    }
}
