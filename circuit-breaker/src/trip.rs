//! When a closed breaker opens: the limits, and whether what was counted crosses one.

use std::{
    fmt,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use crate::{
    Cause, Config, Counts, OnDrop, Ratio, TripPolicy, Window,
    sync::{AtomicU32, AtomicU64},
    window::BUCKETS,
};

/// The checked settings that trip: any of them opens.
#[derive(Clone, Debug)]
pub(crate) struct Trip {
    pub(crate) consecutive: Option<u32>,
    pub(crate) failures: Option<u32>,
    pub(crate) failure_rate: Option<Ratio>,
    pub(crate) slow_rate: Option<Ratio>,
    pub(crate) slow: Option<Duration>,
    pub(crate) slow_in_flight: bool,
    pub(crate) policy: Option<Policy>,
    /// Present whenever something looks at it.
    pub(crate) window: Option<Window>,
    pub(crate) minimum_calls: u32,
}

/// A user's own policy.
#[derive(Clone)]
pub(crate) struct Policy(pub(crate) Arc<dyn TripPolicy>);

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Policy")
    }
}

/// What speaks for opening.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Evidence {
    pub(crate) streak: u32,
    pub(crate) counts: Option<Counts>,
    pub(crate) policy: bool,
}

/// The limits in a form that is cheap to compare with; zero means that there is none.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    consecutive: u32,
    minimum_calls: u32,
    failures: u32,
    failure_rate: u32,
    slow_rate: u32,
}

impl Limits {
    pub(crate) fn of(trip: &Trip) -> Self {
        Self {
            consecutive: trip.consecutive.unwrap_or(0),
            minimum_calls: trip.minimum_calls,
            failures: trip.failures.unwrap_or(0),
            failure_rate: trip.failure_rate.map_or(0, Ratio::millionths),
            slow_rate: trip.slow_rate.map_or(0, Ratio::millionths),
        }
    }

    /// The limit that `evidence` meets, if there is one.
    pub(crate) fn crossed(&self, evidence: &Evidence) -> Option<Cause> {
        if self.consecutive != 0 && evidence.streak >= self.consecutive {
            return Some(Cause::ConsecutiveFailures);
        }
        if let Some(counts) = &evidence.counts {
            if self.failures != 0 && counts.failures >= self.failures.into() {
                return Some(Cause::Failures);
            }
            if counts.calls >= self.minimum_calls.into() {
                let met = |rate, part| {
                    rate != 0 && Ratio::from_millionths(rate).is_met_by(part, counts.calls)
                };
                if met(self.failure_rate, counts.failures) {
                    return Some(Cause::FailureRate);
                }
                if met(self.slow_rate, counts.slow) {
                    return Some(Cause::SlowCallRate);
                }
            }
        }
        evidence.policy.then_some(Cause::Policy)
    }
}

/// The settings where calls read them without a lock.
///
/// Read one by one while somebody may be changing them; so what looks like a trip is looked at again
/// under the machine's lock, with the settings as a whole.
#[derive(Debug)]
pub(crate) struct Knobs {
    measures: AtomicU32,
    calls: AtomicU32,
    bucket_nanos: AtomicU64,
    consecutive: AtomicU32,
    minimum_calls: AtomicU32,
    failures: AtomicU32,
    failure_rate: AtomicU32,
    slow_rate: AtomicU32,
    /// The latency from which a call is slow; `u64::MAX` for never.
    slow_nanos: AtomicU64,
    /// The age from which a dropped call is a failure; `u64::MAX` for never.
    drop_age_nanos: AtomicU64,
}

/// What is counted, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Measures(u32);

impl Measures {
    /// Failures in a row.
    pub(crate) const STREAK: Self = Self(1);
    /// A window of calls.
    pub(crate) const CALLS: Self = Self(2);
    /// A window of time.
    pub(crate) const TIME: Self = Self(4);
    /// Whatever a policy of the user's own wants to see.
    pub(crate) const POLICY: Self = Self(8);

    #[inline]
    pub(crate) const fn has(self, what: Self) -> bool {
        self.0 & what.0 != 0
    }
}

/// Which window is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    None,
    Calls(u32),
    Time { bucket_nanos: u64 },
}

impl Shape {
    pub(crate) fn of(window: Option<Window>) -> Self {
        match window {
            None => Self::None,
            Some(Window::Calls(n)) => Self::Calls(n),
            Some(Window::Time(time)) => {
                Self::Time { bucket_nanos: saturating_nanos(time) / BUCKETS }
            }
        }
    }
}

impl Knobs {
    pub(crate) fn new(config: &Config) -> Self {
        let knobs = Self {
            measures: AtomicU32::new(0),
            calls: AtomicU32::new(1),
            bucket_nanos: AtomicU64::new(1),
            consecutive: AtomicU32::new(0),
            minimum_calls: AtomicU32::new(0),
            failures: AtomicU32::new(0),
            failure_rate: AtomicU32::new(0),
            slow_rate: AtomicU32::new(0),
            slow_nanos: AtomicU64::new(u64::MAX),
            drop_age_nanos: AtomicU64::new(u64::MAX),
        };
        knobs.set(config);
        knobs
    }

    pub(crate) fn set(&self, config: &Config) {
        let trip = &config.trip;
        let mut measures = match Shape::of(trip.window) {
            Shape::None => Measures(0),
            Shape::Calls(n) => {
                self.calls.store(n, Relaxed);
                Measures::CALLS
            }
            Shape::Time { bucket_nanos } => {
                self.bucket_nanos.store(bucket_nanos, Relaxed);
                Measures::TIME
            }
        };
        if trip.consecutive.is_some() {
            measures.0 |= Measures::STREAK.0;
        }
        if trip.policy.is_some() {
            measures.0 |= Measures::POLICY.0;
        }
        self.measures.store(measures.0, Relaxed);
        let limits = Limits::of(trip);
        self.consecutive.store(limits.consecutive, Relaxed);
        self.minimum_calls.store(limits.minimum_calls, Relaxed);
        self.failures.store(limits.failures, Relaxed);
        self.failure_rate.store(limits.failure_rate, Relaxed);
        self.slow_rate.store(limits.slow_rate, Relaxed);
        self.slow_nanos.store(trip.slow.map_or(u64::MAX, saturating_nanos), Relaxed);
        let drop_age = match config.on_drop {
            OnDrop::Ignore => u64::MAX,
            OnDrop::Failure => 0,
            OnDrop::FailureAfter(age) => saturating_nanos(age),
        };
        self.drop_age_nanos.store(drop_age, Relaxed);
    }

    pub(crate) fn limits(&self) -> Limits {
        Limits {
            consecutive: self.consecutive.load(Relaxed),
            minimum_calls: self.minimum_calls.load(Relaxed),
            failures: self.failures.load(Relaxed),
            failure_rate: self.failure_rate.load(Relaxed),
            slow_rate: self.slow_rate.load(Relaxed),
        }
    }

    #[inline]
    pub(crate) fn shape(&self) -> Shape {
        let measures = self.measures();
        if measures.has(Measures::CALLS) {
            Shape::Calls(self.calls.load(Relaxed))
        } else if measures.has(Measures::TIME) {
            Shape::Time { bucket_nanos: self.bucket_nanos.load(Relaxed) }
        } else {
            Shape::None
        }
    }

    #[inline]
    pub(crate) fn measures(&self) -> Measures {
        Measures(self.measures.load(Relaxed))
    }

    #[inline]
    pub(crate) fn slow_nanos(&self) -> u64 {
        self.slow_nanos.load(Relaxed)
    }

    pub(crate) fn drop_age_nanos(&self) -> u64 {
        self.drop_age_nanos.load(Relaxed)
    }
}

/// A duration beyond the end of time is never reached.
pub(crate) fn saturating_nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(build: impl FnOnce(crate::config::Builder) -> crate::config::Builder) -> Limits {
        Limits::of(&build(Config::builder()).build().unwrap().trip)
    }

    fn seen(calls: u64, failures: u64, slow: u64) -> Evidence {
        Evidence { counts: Some(Counts { calls, failures, slow }), ..Evidence::default() }
    }

    #[test]
    fn a_rate_opens_at_its_boundary_and_from_the_minimum_of_calls_on() {
        let limits = limits(|b| b.failure_rate(0.5).minimum_calls(10));
        assert_eq!(limits.crossed(&seen(9, 9, 0)), None);
        assert_eq!(limits.crossed(&seen(10, 4, 0)), None);
        assert_eq!(limits.crossed(&seen(10, 5, 0)), Some(Cause::FailureRate));
        assert_eq!(limits.crossed(&seen(11, 5, 0)), None);
    }

    #[test]
    fn any_of_several_limits_opens() {
        let limits =
            limits(|b| b.failures(3).failure_rate(0.5).slow_call_rate(Duration::from_secs(1), 0.9));
        assert_eq!(limits.crossed(&seen(3, 3, 0)), Some(Cause::Failures));
        assert_eq!(limits.crossed(&seen(20, 2, 18)), Some(Cause::SlowCallRate));
        assert_eq!(limits.crossed(&seen(20, 2, 17)), None);
        assert_eq!(limits.crossed(&Evidence { streak: 100, ..Evidence::default() }), None);
    }
}
