//! The sliding-window log.

use std::collections::VecDeque;

use seawall_core::{ConfigError, Instant};

use super::{Algorithm, Queue, sealed::Sealed, window::Window};
use crate::{Allowed, Quota, Rejected, sync::Mutex};

/// The most calls that a log remembers: 16 MiB of them.
const LIMIT_MAX: u32 = 1 << 20;

/// Lets the limit through in any period, exactly.
///
/// It remembers when each cell passed: a cell that passed at t counts until t + period, exclusive.
///
/// A clock that runs backward stands still until it has caught up.
///
/// # Cost
///
/// 16 bytes for each cell of the limit, all of them allocated when the limiter is built, and none
/// after; so the limit is at most 1,048,576. A lock, held for as many steps as calls have expired
/// since the last one: one on average. A refusal of a cost above one looks for the call whose end
/// makes room, at most as many steps as it costs. While calls wait there are two logs: the first one
/// to wait copies it, and so does the next one after a wait was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlidingLog {
    window: Window,
}

/// What a [`SlidingLog`] remembers.
#[derive(Clone, Debug)]
pub struct SlidingLogState {
    /// Oldest first; no two at the same time.
    passed: VecDeque<Passed>,
    /// The cells of all of them.
    used: u32,
}

#[derive(Clone, Copy, Debug)]
struct Passed {
    at_nanos: u64,
    cells: u32,
}

impl SlidingLog {
    /// A window of the length and limit of `quota`, which has no burst.
    ///
    /// # Errors
    ///
    /// When `limit` is not 1 to 1,048,576, when there is more than one cell for each nanosecond, when
    /// `period` is zero or above 73 years, or when a burst is set.
    pub fn new(quota: Quota) -> Result<Self, ConfigError> {
        let window = Window::new(quota)?;
        if window.limit > LIMIT_MAX {
            let allowed = format!("1 to {LIMIT_MAX}: a log remembers every call");
            return Err(ConfigError::new("limit", window.limit, allowed));
        }
        Ok(Self { window })
    }

    fn end(&self, passed: Passed) -> u64 {
        passed.at_nanos.saturating_add(self.window.nanos)
    }

    /// How many of the oldest entries no longer count, and their cells.
    fn expired(&self, state: &SlidingLogState, now: Instant) -> (usize, u32) {
        match state.passed.back() {
            Some(&last) if self.end(last) <= now.as_nanos() => (state.passed.len(), state.used),
            _ => {
                let expired = state.passed.iter().map_while(|&passed| {
                    (self.end(passed) <= now.as_nanos()).then_some(passed.cells)
                });
                expired.fold((0, 0), |(count, sum), cells| (count + 1, sum + cells))
            }
        }
    }

    /// Whether the cost passes, given that the first `expired` entries do not count.
    fn decide(
        &self,
        state: &SlidingLogState,
        (expired, cells): (usize, u32),
        now: Instant,
        cost: u32,
        spare: u32,
    ) -> Result<Allowed, Rejected> {
        let used = state.used - cells;
        let newest = if cost > 0 { Some(self.enters(state, now, cost)) } else { None };
        let reset = |newest: Option<Passed>| {
            let last = newest.or(state.passed.back().copied());
            Instant::from_nanos(last.map_or(0, |last| self.end(last)))
        };
        let asked = self.window.asked(cost, spare);
        if asked > self.window.limit {
            return Err(Rejected::never(self.window.standing(used, reset(None), now)));
        }
        let Some(mut lacking) =
            used.checked_sub(self.window.limit - asked).filter(|&cells| asked > 0 && cells > 0)
        else {
            let used = used.saturating_add(cost);
            return Ok(Allowed::new(self.window.standing(used, reset(newest), now)));
        };
        let makes_room = state.passed.iter().skip(expired).find(|passed| {
            lacking = lacking.saturating_sub(passed.cells);
            lacking == 0
        });
        let ready = makes_room.map_or(0, |&passed| self.end(passed));
        let wait = ready.saturating_sub(now.as_nanos());
        Err(Rejected::after(wait, self.window.standing(used, reset(None), now)))
    }

    fn forget(&self, state: &mut SlidingLogState, now: Instant) {
        let (expired, cells) = self.expired(state, now);
        state.passed.drain(..expired);
        state.used -= cells;
    }

    fn enter(&self, state: &mut SlidingLogState, now: Instant, cost: u32) {
        if cost == 0 {
            return;
        }
        // Above the limit only where the limit was lowered while calls waited; the sum still fits.
        let cost = cost.min(u32::MAX - state.used);
        let passed = self.enters(state, now, cost);
        match state.passed.back_mut() {
            Some(last) if last.at_nanos == passed.at_nanos => last.cells += cost,
            _ => state.passed.push_back(passed),
        }
        state.used += cost;
    }

    /// The entry of a call at `now`; never before an entry that is there.
    fn enters(&self, state: &SlidingLogState, now: Instant, cells: u32) -> Passed {
        let last = state.passed.back().map_or(0, |last| last.at_nanos);
        Passed { at_nanos: now.as_nanos().max(last), cells }
    }
}

impl Sealed for SlidingLog {}

impl Algorithm for SlidingLog {
    type State = SlidingLogState;
    type Shared = Mutex<Queue<Self>>;

    fn rest(&self) -> SlidingLogState {
        SlidingLogState { passed: VecDeque::with_capacity(self.window.limit as usize), used: 0 }
    }

    fn look(
        &self,
        state: &SlidingLogState,
        now: Instant,
        cost: u32,
        spare: u32,
    ) -> Result<Allowed, Rejected> {
        self.decide(state, self.expired(state, now), now, cost, spare)
    }

    fn take(
        &self,
        state: &mut SlidingLogState,
        now: Instant,
        cost: u32,
        spare: u32,
    ) -> Result<Allowed, Rejected> {
        self.forget(state, now);
        let allowed = self.decide(state, (0, 0), now, cost, spare)?;
        self.enter(state, now, cost);
        Ok(allowed)
    }

    fn charge(&self, state: &mut SlidingLogState, now: Instant, cost: u32) {
        self.forget(state, now);
        self.enter(state, now, cost);
    }

    /// What passed within the new period counts, as far as the old one remembers it.
    fn adopt(&self, before: &Self, state: &mut SlidingLogState, now: Instant) {
        before.forget(state, now);
        self.forget(state, now);
        let room = (self.window.limit as usize).saturating_sub(state.passed.len());
        state.passed.reserve(room);
    }

    fn quota(&self) -> Quota {
        self.window.quota()
    }
}
