//! How a limiter decides: pure arithmetic on integers, with the time as an argument.
//!
//! | algorithm | lets through | remembers | waits in turn |
//! |---|---|---|---|
//! | [`TokenBucket`] | the rate on average, a burst after a rest | one word | yes |
//! | [`SlidingLog`] | the limit in any period, exactly | every call of a period | no |
//! | [`SlidingCounter`] | about the limit in any period | two counts | no |
//! | [`FixedWindow`] | the limit in each window of the clock | one count | no |
//! | [`Several`] | what each of several limits lets through | as they do | no |
//!
//! [`RateLimiter::new`](crate::RateLimiter::new) makes a token bucket, which suits most;
//! [`RateLimiter::of`](crate::RateLimiter::of) takes any of them.
//!
//! A leaky bucket as a queue, which lets calls out evenly spaced, is a token bucket with a burst of 1
//! in a layer that [waits](crate::RateLimitLayer::queue_up_to).

mod fixed_window;
mod scale;
mod several;
mod share;
mod sliding_counter;
mod sliding_log;
mod token_bucket;
mod window;

use seawall_core::Instant;

use crate::{Allowed, Quota, Rejected};

pub use fixed_window::{FixedWindow, FixedWindowState};
pub use several::Several;
pub use share::Share;
pub use sliding_counter::{SlidingCounter, SlidingCounterState};
pub use sliding_log::{SlidingLog, SlidingLogState};
pub use token_bucket::TokenBucket;

/// Decides whether cells may pass, given what passed before.
///
/// Sealed: the shells around it rely on rules that a type cannot state, such as that a refusal
/// leaves the state as it was.
pub trait Algorithm: sealed::Sealed + Clone + Send + Sync + 'static {
    /// What it remembers.
    type State: Send + 'static;
    /// How handles share that.
    type Shared: Share<Self::State> + Send + Sync + 'static;

    /// The state of a limiter that was never used.
    fn rest(&self) -> Self::State;

    /// What [`take`](Self::take) would answer.
    ///
    /// # Errors
    ///
    /// As there.
    fn look(&self, state: &Self::State, now: Instant, cost: u32) -> Result<Allowed, Rejected>;

    /// Lets `cost` cells pass at `now`; none always pass.
    ///
    /// # Errors
    ///
    /// When that is more than may pass; the state is then as it was.
    fn take(&self, state: &mut Self::State, now: Instant, cost: u32) -> Result<Allowed, Rejected>;

    /// The same on a state that handles share.
    ///
    /// # Errors
    ///
    /// As there.
    fn take_shared(
        &self,
        shared: &Self::Shared,
        now: Instant,
        cost: u32,
    ) -> Result<Allowed, Rejected> {
        shared.update(|state| self.take(state, now, cost))
    }

    /// Takes `cost` cells at `now` or, in turn, within `patience_nanos`.
    ///
    /// An algorithm that keeps no queue takes them now or not at all.
    ///
    /// # Errors
    ///
    /// When the wait would be longer; the state is then as it was.
    fn book(
        &self,
        state: &mut Self::State,
        now: Instant,
        cost: u32,
        patience_nanos: u64,
    ) -> Result<Booked, Rejected> {
        let _ = patience_nanos;
        self.take(state, now, cost).map(|_| Booked { ready: now, waits: false, end: 0, size: 0 })
    }

    /// Undoes `booked` unless its cells have passed, as far as later bookings have not built on it.
    fn unbook(&self, state: &mut Self::State, now: Instant, booked: &Booked) {
        let _ = (state, now, booked);
    }

    /// The quota that it keeps.
    fn quota(&self) -> Quota;
}

/// Cells that were taken, and when they pass.
#[derive(Clone, Copy, Debug)]
pub struct Booked {
    ready: Instant,
    /// Whether that was still to come when they were taken.
    waits: bool,
    /// The state that this booking left, and by how much it moved it.
    end: u64,
    size: u64,
}

impl Booked {
    /// When the cells pass.
    pub fn ready(&self) -> Instant {
        self.ready
    }

    /// Whether that was still to come when they were taken.
    pub fn waits(&self) -> bool {
        self.waits
    }
}

mod sealed {
    #[expect(unnameable_types, reason = "nobody else implements it")]
    pub trait Sealed {}
}
