//! When an endpoint that keeps failing is taken out, and for how long.

use std::time::Duration;

use seawall_core::ConfigError;

/// The longest time that is accepted: a year. Longer ones are a mistake of units.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Takes endpoints that keep failing out of the set for a while.
///
/// An endpoint is ejected after a row of failures that no success breaks. It returns by itself:
/// after the base time at first, after one base time more with each further ejection. Time spent
/// without ejection makes that count shrink again, by one for each base time.
///
/// Refusals by layers of ours and other ignored outcomes neither add to a row nor break it.
///
/// # Algorithm
///
/// The consecutive-failures detector of Envoy's outlier detection, with its defaults and its rule
/// that one endpoint may always be ejected. It differs in two points: the last endpoint that is in
/// is never ejected, and an endpoint returns at the first pick after its time, not at the next tick
/// of an interval.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use seawall_load_balance::Ejection;
///
/// let ejection = Ejection::new()
///     .with_consecutive_failures(3)
///     .with_base_time(Duration::from_secs(10))
///     .with_abandoned_after(Duration::from_millis(200));
/// # let _ = ejection;
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ejection {
    consecutive_failures: u32,
    base_time: Duration,
    max_time: Duration,
    max_percent: u8,
    abandoned_after: Option<Duration>,
}

impl Ejection {
    /// After 5 failures, for 30 s at first and 300 s at most, and at most 10 percent of the
    /// endpoints at a time.
    pub const fn new() -> Self {
        Self {
            consecutive_failures: 5,
            base_time: Duration::from_secs(30),
            max_time: Duration::from_secs(300),
            max_percent: 10,
            abandoned_after: None,
        }
    }

    /// Failures in a row that eject; at least 1, 5 unless set.
    #[must_use]
    pub const fn with_consecutive_failures(mut self, failures: u32) -> Self {
        self.consecutive_failures = failures;
        self
    }

    /// How long the first ejection lasts, and how much longer each further one; 1 ms to a year, 30 s
    /// unless set.
    #[must_use]
    pub const fn with_base_time(mut self, time: Duration) -> Self {
        self.base_time = time;
        self
    }

    /// How long an ejection lasts at most; from the base time to a year, 300 s unless set.
    #[must_use]
    pub const fn with_max_time(mut self, time: Duration) -> Self {
        self.max_time = time;
        self
    }

    /// How much of the set may be ejected at a time; 0 to 100 percent, 10 unless set.
    ///
    /// One endpoint may always be, however small the set, except the last one that is in.
    #[must_use]
    pub const fn with_max_percent(mut self, percent: u8) -> Self {
        self.max_percent = percent;
        self
    }

    /// Counts a call as a failure that its caller abandoned unanswered after this long or longer.
    ///
    /// With a time-out around the balancer, set it to that time-out or a little less: a hung server
    /// shows itself in no other way. Unless set, an abandoned call says nothing.
    #[must_use]
    pub const fn with_abandoned_after(mut self, time: Duration) -> Self {
        self.abandoned_after = Some(time);
        self
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        if self.consecutive_failures == 0 {
            return Err(ConfigError::new("consecutive_failures", 0, "at least 1"));
        }
        let base = self.base_time;
        if base < Duration::from_millis(1) || base > LONGEST {
            return Err(ConfigError::new("base_time", format!("{base:?}"), "1 ms to a year"));
        }
        let max = self.max_time;
        if max < base || max > LONGEST {
            let allowed = format!("{base:?} (the base time) to a year");
            return Err(ConfigError::new("max_time", format!("{max:?}"), allowed));
        }
        if self.max_percent > 100 {
            return Err(ConfigError::new("max_percent", self.max_percent, "0 to 100"));
        }
        Ok(())
    }

    pub(crate) fn consecutive_failures(&self) -> u32 {
        self.consecutive_failures
    }

    pub(crate) fn abandoned_after(&self) -> Option<Duration> {
        self.abandoned_after
    }

    /// How many of `endpoints` may be out.
    pub(crate) fn allowed(&self, endpoints: usize) -> usize {
        let share = endpoints.saturating_mul(self.max_percent.into()) / 100;
        share.max(1).min(endpoints.saturating_sub(1))
    }

    /// How many base times are added for an endpoint that was in for this long since it returned.
    pub(crate) fn level(&self, level: u32, since_return: Duration) -> u32 {
        let forgiven = since_return.as_nanos() / self.base_time.as_nanos();
        level.saturating_sub(u32::try_from(forgiven).unwrap_or(u32::MAX))
    }

    /// How long the ejection lasts that follows so many others.
    pub(crate) fn time(&self, level: u32) -> Duration {
        self.base_time.saturating_mul(level.saturating_add(1)).min(self.max_time)
    }
}

impl Default for Ejection {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_may_always_go_and_the_last_never() {
        let rules = Ejection::new();
        for (endpoints, allowed) in [(0, 0), (1, 0), (2, 1), (3, 1), (19, 1), (20, 2), (105, 10)] {
            assert_eq!(rules.allowed(endpoints), allowed, "of {endpoints}");
        }
        assert_eq!(rules.clone().with_max_percent(100).allowed(3), 2);
        assert_eq!(rules.with_max_percent(0).allowed(3), 1);
    }

    #[test]
    fn each_ejection_lasts_a_base_time_longer_up_to_the_maximum() {
        let rules = Ejection::new().with_max_time(Duration::from_secs(80));
        let seconds: Vec<_> = (0..4).map(|level| rules.time(level).as_secs()).collect();
        assert_eq!(seconds, [30, 60, 80, 80]);
        assert_eq!(rules.time(u32::MAX), Duration::from_secs(80));
    }

    #[test]
    fn time_without_ejection_is_forgiving() {
        let rules = Ejection::new();
        assert_eq!(rules.level(3, Duration::from_secs(29)), 3);
        assert_eq!(rules.level(3, Duration::from_secs(30)), 2);
        assert_eq!(rules.level(3, Duration::MAX), 0);
    }

    #[test]
    fn nonsense_is_refused_by_name() {
        let field = |rules: Ejection| rules.check().unwrap_err().field().to_owned();
        assert_eq!(field(Ejection::new().with_consecutive_failures(0)), "consecutive_failures");
        assert_eq!(field(Ejection::new().with_base_time(Duration::ZERO)), "base_time");
        assert_eq!(field(Ejection::new().with_base_time(Duration::MAX)), "base_time");
        assert_eq!(field(Ejection::new().with_max_time(Duration::from_secs(29))), "max_time");
        assert_eq!(field(Ejection::new().with_max_percent(101)), "max_percent");
    }
}
