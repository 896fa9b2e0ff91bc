//! What is counted, and what it counts as.

use std::time::Duration;

use crate::{Counts, Ratio};

/// Which calls a rate is taken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Window {
    /// The last so many calls, 1 to 65,535.
    ///
    /// Old outcomes stay until new ones come, however long that takes: for callees that are called
    /// all the time.
    Calls(u32),
    /// The calls that ended in this time, 10 ms to a day.
    ///
    /// It moves in steps of a sixteenth.
    Time(Duration),
}

/// A rule of your own for when to open; implemented for closures.
///
/// It runs after each call that succeeded or failed, outside any lock, so it should be quick.
///
/// ```
/// use seawall_circuit_breaker::{Config, Counts};
///
/// let config = Config::builder()
///     .policy(|counts: &Counts| counts.failures > 10 && counts.failures > counts.slow)
///     .build()?;
/// # let _ = config;
/// # Ok::<(), seawall_circuit_breaker::ConfigError>(())
/// ```
pub trait TripPolicy: Send + Sync {
    /// Whether to open a closed breaker whose window holds `counts`.
    fn opens(&self, counts: &Counts) -> bool;
}

impl<F: Fn(&Counts) -> bool + Send + Sync> TripPolicy for F {
    fn opens(&self, counts: &Counts) -> bool {
        self(counts)
    }
}

/// How probes decide whether the callee has recovered.
///
/// Where slow calls trip, a slow probe is a failed one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HalfOpen {
    /// The first failure opens again; this many successes close.
    #[non_exhaustive]
    FirstFailure {
        /// At least 1.
        successes: u32,
    },
    /// A number of probes, then their failure rate.
    #[non_exhaustive]
    Rate {
        /// How many probes with a verdict, at least 1.
        calls: u32,
        /// The share of failures that opens again.
        failure_rate: Ratio,
        /// Decide as soon as the rest cannot change the result.
        early: bool,
    },
}

impl HalfOpen {
    /// The classic: the first failure opens again, and `successes` without one close.
    pub const fn first_failure(successes: u32) -> Self {
        Self::FirstFailure { successes }
    }

    /// Waits for the verdict of `calls` probes; opens again when the share of failures among them is
    /// at least `failure_rate`, else closes.
    pub const fn rate(calls: u32, failure_rate: Ratio) -> Self {
        Self::Rate { calls, failure_rate, early: false }
    }

    /// As [`rate`](Self::rate), but decides as soon as the missing verdicts cannot change the result.
    pub const fn early_rate(calls: u32, failure_rate: Ratio) -> Self {
        Self::Rate { calls, failure_rate, early: true }
    }
}

/// What a call counts as that its caller dropped before it ended.
///
/// A time-out outside the breaker drops the calls that it gives up on, so a breaker inside one needs
/// [`FailureAfter`](Self::FailureAfter) with a little less than that time-out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnDrop {
    /// Nothing.
    #[default]
    Ignore,
    /// A failure.
    Failure,
    /// A failure when the call is at least this old, else nothing.
    ///
    /// Costs a reading of the clock for each call.
    FailureAfter(Duration),
}
