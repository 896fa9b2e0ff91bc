//! How much of what.

mod text;

use std::{fmt, time::Duration};

/// How many cells may pass in how long, and how many at once.
///
/// A plain value: it is checked by the limiter that is built from it, whose error names the field,
/// the value and what is allowed.
///
/// ```
/// use std::time::Duration;
/// use seawall_rate_limit::Quota;
///
/// // 100 calls a second on average, at most 20 of them at once.
/// let steady = Quota::per_second(100).burst(20);
/// assert_eq!((steady.limit(), steady.capacity()), (100, 20));
///
/// // 1,500 a minute; all of them may come at once, unless a burst is set.
/// assert_eq!(Quota::new(1_500, Duration::from_secs(60)).capacity(), 1_500);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Quota {
    limit: u32,
    period: Duration,
    burst: u32,
}

impl Quota {
    /// `limit` cells in each `period`.
    ///
    /// `limit` is at least 1 and at most one for each nanosecond of `period`; `period` is at most
    /// 73 years.
    pub const fn new(limit: u32, period: Duration) -> Self {
        Self { limit, period, burst: limit }
    }

    /// `limit` cells a second, 1 to 1,000,000,000.
    pub const fn per_second(limit: u32) -> Self {
        Self::new(limit, Duration::from_secs(1))
    }

    /// `limit` cells a minute, at least 1.
    pub const fn per_minute(limit: u32) -> Self {
        Self::new(limit, Duration::from_secs(60))
    }

    /// `limit` cells an hour, at least 1.
    pub const fn per_hour(limit: u32) -> Self {
        Self::new(limit, Duration::from_secs(3_600))
    }

    /// How many cells may pass at once after a rest: at least 1, and as many as the limit unless
    /// set. Only token buckets have a burst; a window is as large as its limit.
    #[must_use]
    pub const fn burst(mut self, burst: u32) -> Self {
        self.burst = burst;
        self
    }

    /// How many cells may pass in each period.
    pub const fn limit(&self) -> u32 {
        self.limit
    }

    /// The time in which [`limit`](Self::limit) cells may pass.
    pub const fn period(&self) -> Duration {
        self.period
    }

    /// How many cells may pass at once: the burst.
    pub const fn capacity(&self) -> u32 {
        self.burst
    }
}

/// As in `100 per 1s, burst 20`.
impl fmt::Display for Quota {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} per {}", self.limit, text::write(self.period))?;
        if self.burst != self.limit {
            write!(f, ", burst {}", self.burst)?;
        }
        Ok(())
    }
}
