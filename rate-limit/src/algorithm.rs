//! How a limiter decides: pure arithmetic on integers, with the time as an argument.
//!
//! | algorithm | lets through | remembers |
//! |---|---|---|
//! | [`TokenBucket`] | the rate on average, a burst after a rest | one word |
//! | [`SlidingLog`] | the limit in any period, exactly | every call of a period |
//! | [`SlidingCounter`] | about the limit in any period | two counts |
//! | [`FixedWindow`] | the limit in each window of the clock | one count |
//! | [`Several`] | what each of several limits lets through | as they do |
//!
//! [`RateLimiter::new`](crate::RateLimiter::new) makes a token bucket, which suits most;
//! [`RateLimiter::of`](crate::RateLimiter::of) takes any of them.
//!
//! A leaky bucket as a queue, which lets calls out evenly spaced, is a token bucket with a burst of 1
//! whose callers wait: a [`Pacer`](crate::Pacer).

mod fixed_window;
mod queue;
mod scale;
mod several;
mod share;
mod shared_bucket;
mod sliding_counter;
mod sliding_log;
mod token_bucket;
mod window;

use std::fmt;

use seawall_core::{ConfigError, Instant};

use crate::{Allowed, Quota, Rejected};

use self::shared_bucket::End;
pub use fixed_window::{FixedWindow, FixedWindowState};
pub use queue::Queue;
pub use several::Several;
pub use share::Share;
pub use shared_bucket::SharedBucket;
pub use sliding_counter::{SlidingCounter, SlidingCounterState};
pub use sliding_log::{SlidingLog, SlidingLogState};
pub use token_bucket::TokenBucket;

/// Decides whether cells may pass, given what passed before.
///
/// Sealed: the shells around it rely on rules that a type cannot state, such as that a refusal
/// leaves the state as it was, tells the first instant at which the same call passes, and that from
/// then on it passes at any instant until something else does.
pub trait Algorithm: sealed::Sealed + Clone + fmt::Debug + Send + Sync + 'static {
    /// What it remembers.
    type State: Clone + fmt::Debug + Send + 'static;
    /// How handles share that.
    type Shared: Share<Self>;

    /// The state of a limiter that was never used.
    fn rest(&self) -> Self::State;

    /// What [`take`](Self::take) would answer.
    ///
    /// # Errors
    ///
    /// As there.
    fn look(
        &self,
        state: &Self::State,
        now: Instant,
        cost: u32,
        spare: u32,
    ) -> Result<Allowed, Rejected>;

    /// Lets `cost` cells pass at `now` when `spare` more would be left; none always pass.
    ///
    /// # Errors
    ///
    /// When that is more than may pass; the state is then as it was.
    fn take(
        &self,
        state: &mut Self::State,
        now: Instant,
        cost: u32,
        spare: u32,
    ) -> Result<Allowed, Rejected> {
        let allowed = self.look(state, now, cost, spare)?;
        self.charge(state, now, cost);
        Ok(allowed)
    }

    /// Lets `cost` cells pass at `now`, whatever passed before.
    fn charge(&self, state: &mut Self::State, now: Instant, cost: u32);

    /// Makes `state` one of this algorithm, after one of the same kind with another quota: a bucket
    /// keeps what is left of it, a window what has passed.
    fn adopt(&self, before: &Self, state: &mut Self::State, now: Instant);

    /// The quota that it keeps; the first of several.
    fn quota(&self) -> Quota;

    /// All quotas that it keeps, in the order of their places.
    fn quotas(&self) -> Vec<Quota> {
        vec![self.quota()]
    }
}

/// Algorithms that a list of quotas describes, as in a [`Config`](crate::Config).
pub trait FromQuotas: Algorithm + Sized {
    /// The algorithm that keeps `quotas`.
    ///
    /// # Errors
    ///
    /// When there are too many or too few, or when one of them cannot be kept.
    fn from_quotas(quotas: &[Quota]) -> Result<Self, ConfigError>;
}

/// The one quota of a limiter that keeps no more.
pub(crate) fn single(quotas: &[Quota]) -> Result<Quota, ConfigError> {
    match quotas {
        [quota] => Ok(*quota),
        _ => Err(ConfigError::new("quota", format!("{} quotas", quotas.len()), "one quota")),
    }
}

macro_rules! from_one_quota {
    ($($algorithm:ty),*) => {$(
        impl FromQuotas for $algorithm {
            fn from_quotas(quotas: &[Quota]) -> Result<Self, ConfigError> {
                Self::new(single(quotas)?)
            }
        }
    )*};
}

from_one_quota!(TokenBucket, SlidingLog, SlidingCounter, FixedWindow);

/// Cells that were taken, and when they pass.
#[derive(Clone, Copy, Debug)]
pub struct Booked {
    ready: Instant,
    /// Whether that was still to come when they were taken.
    waits: bool,
    cells: u32,
    /// Where that is on the axis of a bucket.
    end: Option<End>,
}

impl Booked {
    pub(crate) fn now(ready: Instant, cells: u32) -> Self {
        Self { ready, waits: false, cells, end: None }
    }

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
