//! What is remembered of the calls of one generation.
//!
//! Every word in here carries the [`Tag`] of the generation that wrote it, and a write first compares
//! the tag: a call that was admitted in an older generation cannot change what a newer one counts,
//! however long it was delayed between its decision and its write.

mod consecutive;
mod count;
mod tagged;
mod time;

pub(crate) use consecutive::Streak;
pub(crate) use count::{CountWindow, MAX_CALLS};
pub(crate) use tagged::{Head, Mark, Tagged};
pub(crate) use time::{BUCKETS, TimeWindow};

use crate::{Ratio, state::Word};

/// The low bits of a generation.
///
/// 16 bits suffice because a tag only has to tell apart the generations that one delayed write can
/// meet: a thread would have to stall between two instructions for exactly 65,536 changes of state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tag(pub(crate) u16);

impl Tag {
    pub(crate) const fn of(word: Word) -> Self {
        Self(word.generation() as u16)
    }
}

/// How one call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sample {
    pub(crate) failed: bool,
    pub(crate) slow: bool,
}

impl Sample {
    pub(crate) const GOOD: Self = Self { failed: false, slow: false };
    pub(crate) const FAILED: Self = Self { failed: true, slow: false };
}

/// What a window holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Counts {
    /// Calls that succeeded or failed.
    pub calls: u64,
    /// Those that failed.
    pub failures: u64,
    /// Those that were slow, whether they failed or not.
    pub slow: u64,
}

impl Counts {
    /// The share of failures, from 0 to 1; 0 without calls.
    pub fn failure_rate(&self) -> f64 {
        share(self.failures, self.calls)
    }

    /// The share of slow calls, from 0 to 1; 0 without calls.
    pub fn slow_rate(&self) -> f64 {
        share(self.slow, self.calls)
    }

    /// Whether at least `rate` of the calls failed, compared in integers.
    pub fn failures_reach(&self, rate: Ratio) -> bool {
        rate.is_met_by(self.failures, self.calls)
    }

    /// Whether at least `rate` of the calls were slow, compared in integers.
    pub fn slow_calls_reach(&self, rate: Ratio) -> bool {
        rate.is_met_by(self.slow, self.calls)
    }
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}
