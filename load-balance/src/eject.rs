//! When an endpoint that keeps failing is taken out, and for how long.

mod rate;

use std::time::Duration;

use seawall_core::{ConfigError, Fault};

use self::rate::outliers;
pub use self::rate::{FailurePercentage, SuccessRate};
pub(crate) use self::rate::{Outlier, Tally};
use crate::EjectCause;

/// The longest time that is accepted: a year. Longer ones are a mistake of units.
const LONGEST_ROW: u32 = 1_000_000;
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Takes endpoints that fail out of the set for a while.
///
/// An endpoint is ejected after a row of failures that no success breaks, and, where asked for, when
/// it does worse over an interval than the others ([`SuccessRate`]) or than it should
/// ([`FailurePercentage`]). It returns by itself: after the base time at first, after one base time
/// more with each further ejection. Each interval without ejection takes one base time off again.
///
/// Failures are of three origins ([`Fault`]): answers, gateways' errors, and local ones, where no
/// whole answer came. All count in one row, unless local ones are given a row of their own.
/// Refusals by layers of ours and other ignored outcomes neither add to a row nor break it, and are
/// no calls of an interval.
///
/// Intervals are examined by a task of the balancer, which ends with its last clone. It starts where
/// the balancer is made, or makes its first service, inside a tokio runtime; elsewhere call
/// [`Balancer::sweep`](crate::Balancer::sweep).
///
/// # Algorithm
///
/// Envoy's outlier detection and gRFC A50, with their defaults. It differs in three points: the
/// maximum percentage is never exceeded but by the one endpoint that may always go (A50 allows one
/// more than the percentage), the last endpoint that is in is not ejected unless told, and an
/// endpoint returns at the first pick after its time, not at the next interval.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use seawall_load_balance::{Ejection, SuccessRate};
///
/// let ejection = Ejection::new()
///     .with_consecutive_failures(3)
///     .with_base_time(Duration::from_secs(10))
///     .with_abandoned_after(Duration::from_millis(200))
///     .with_success_rate(SuccessRate::new());
/// # let _ = ejection;
/// ```
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize), serde(default, deny_unknown_fields))]
pub struct Ejection {
    #[cfg_attr(
        feature = "serde",
        serde(rename = "consecutive_failures", deserialize_with = "crate::config::spec::or_off")
    )]
    consecutive: Option<u32>,
    #[cfg_attr(feature = "serde", serde(rename = "consecutive_gateway_failures"))]
    gateway: Option<u32>,
    #[cfg_attr(feature = "serde", serde(rename = "consecutive_local_failures"))]
    local: Option<u32>,
    enforcement_percent: u8,
    success_rate: Option<SuccessRate>,
    failure_percentage: Option<FailurePercentage>,
    #[cfg_attr(feature = "serde", serde(with = "seawall_core::duration"))]
    interval: Duration,
    #[cfg_attr(feature = "serde", serde(with = "seawall_core::duration"))]
    base_time: Duration,
    #[cfg_attr(feature = "serde", serde(with = "seawall_core::duration"))]
    max_time: Duration,
    #[cfg_attr(feature = "serde", serde(with = "seawall_core::duration"))]
    jitter: Duration,
    max_percent: u8,
    last: bool,
    #[cfg_attr(feature = "serde", serde(with = "seawall_core::duration::option"))]
    abandoned_after: Option<Duration>,
}

impl Ejection {
    /// After 5 failures in a row, for 30 s at first and 300 s at most, and at most 10 percent of the
    /// endpoints at a time.
    pub const fn new() -> Self {
        Self {
            consecutive: Some(5),
            gateway: None,
            local: None,
            enforcement_percent: 100,
            success_rate: None,
            failure_percentage: None,
            interval: Duration::from_secs(10),
            base_time: Duration::from_secs(30),
            max_time: Duration::from_secs(300),
            jitter: Duration::ZERO,
            max_percent: 10,
            last: false,
            abandoned_after: None,
        }
    }

    /// Failures in a row that eject; 1 to 1,000,000, 5 unless set.
    #[must_use]
    pub const fn with_consecutive_failures(mut self, failures: u32) -> Self {
        self.consecutive = Some(failures);
        self
    }

    /// Counts no failures in a row, as A50 does; rows that are set by their origin stay.
    #[must_use]
    pub const fn without_consecutive_failures(mut self) -> Self {
        self.consecutive = None;
        self
    }

    /// Gateways' errors in a row that eject: 502, 503, 504, UNAVAILABLE; and local failures, unless
    /// those have a row of their own. 1 to 1,000,000, off unless set.
    #[must_use]
    pub const fn with_consecutive_gateway_failures(mut self, failures: u32) -> Self {
        self.gateway = Some(failures);
        self
    }

    /// Gives failures without a whole answer (refused, reset, timed out) a row of their own, which
    /// any answer breaks; they add to no other row then. 1 to 1,000,000, off unless set.
    #[must_use]
    pub const fn with_consecutive_local_failures(mut self, failures: u32) -> Self {
        self.local = Some(failures);
        self
    }

    /// How many of a hundred rows eject; 0 to 100, 100 unless set.
    #[must_use]
    pub const fn with_enforcement_percent(mut self, percent: u8) -> Self {
        self.enforcement_percent = percent;
        self
    }

    /// Ejects by success rate too; off unless set.
    #[must_use]
    pub fn with_success_rate(mut self, rules: impl Into<Option<SuccessRate>>) -> Self {
        self.success_rate = rules.into();
        self
    }

    /// Ejects by failure percentage too; off unless set.
    #[must_use]
    pub fn with_failure_percentage(mut self, rules: impl Into<Option<FailurePercentage>>) -> Self {
        self.failure_percentage = rules.into();
        self
    }

    /// How often rates are examined, and how much time without ejection takes one base time off the
    /// next one; 1 ms to a year, 10 s unless set.
    #[must_use]
    pub const fn with_interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
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

    /// Up to how much longer an ejection lasts by chance, above the maximum too, so that endpoints
    /// that went together do not return together; at most a year, 0 unless set.
    #[must_use]
    pub const fn with_jitter(mut self, jitter: Duration) -> Self {
        self.jitter = jitter;
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

    /// Whether the last endpoint that is in may be ejected too; it may not unless set.
    #[must_use]
    pub const fn with_last(mut self, last: bool) -> Self {
        self.last = last;
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
        for (field, value) in [
            ("consecutive_failures", self.consecutive),
            ("consecutive_gateway_failures", self.gateway),
            ("consecutive_local_failures", self.local),
        ] {
            if let Some(value) = value
                && (value == 0 || value > LONGEST_ROW)
            {
                return Err(ConfigError::new(field, value, "1 to 1000000"));
            }
        }
        for (field, percent) in
            [("enforcement_percent", self.enforcement_percent), ("max_percent", self.max_percent)]
        {
            if percent > 100 {
                return Err(ConfigError::new(field, percent, "0 to 100"));
            }
        }
        for (field, time) in [("interval", self.interval), ("base_time", self.base_time)] {
            if time < Duration::from_millis(1) || time > LONGEST {
                return Err(ConfigError::new(field, format!("{time:?}"), "1 ms to a year"));
            }
        }
        let (base, max) = (self.base_time, self.max_time);
        if max < base || max > LONGEST {
            let allowed = format!("{base:?} (the base time) to a year");
            return Err(ConfigError::new("max_time", format!("{max:?}"), allowed));
        }
        if self.jitter > LONGEST {
            return Err(ConfigError::new("jitter", format!("{:?}", self.jitter), "at most a year"));
        }
        if let Some(rules) = &self.success_rate {
            rules.check().map_err(|error| error.within("success_rate"))?;
        }
        if let Some(rules) = &self.failure_percentage {
            rules.check().map_err(|error| error.within("failure_percentage"))?;
        }
        Ok(())
    }

    /// The rows after one more failure of this origin, and what they amount to.
    pub(crate) fn fail(&self, rows: Rows, fault: Fault) -> (Rows, Option<EjectCause>) {
        let rows = rows.after(fault, self.local.is_some());
        let reached = |row: u32, limit: Option<u32>| limit.is_some_and(|limit| row >= limit);
        let cause = if reached(rows.local, self.local) {
            Some(EjectCause::ConsecutiveLocalFailures)
        } else if reached(rows.all, self.consecutive) {
            Some(EjectCause::ConsecutiveFailures)
        } else if reached(rows.gateway, self.gateway) {
            Some(EjectCause::ConsecutiveGatewayFailures)
        } else {
            None
        };
        (rows, cause)
    }

    pub(crate) fn enforcement_percent(&self) -> u8 {
        self.enforcement_percent
    }

    pub(crate) fn abandoned_after(&self) -> Option<Duration> {
        self.abandoned_after
    }

    /// How often to sweep, where there is something to sweep for.
    pub(crate) fn sweeps(&self) -> Option<Duration> {
        let asked = self.success_rate.is_some() || self.failure_percentage.is_some();
        asked.then_some(self.interval)
    }

    pub(crate) fn outliers(&self, tallies: &[Tally]) -> Vec<Outlier> {
        outliers(tallies, self.success_rate.as_ref(), self.failure_percentage.as_ref())
    }

    /// How many of `endpoints` may be out.
    pub(crate) fn allowed(&self, endpoints: usize) -> usize {
        let share = endpoints.saturating_mul(self.max_percent.into()) / 100;
        share.max(1).min(if self.last { endpoints } else { endpoints.saturating_sub(1) })
    }

    /// How many base times are added for an endpoint that was in for this long since it returned.
    pub(crate) fn level(&self, level: u32, since_return: Duration) -> u32 {
        let forgiven = since_return.as_nanos() / self.interval.as_nanos();
        level.saturating_sub(u32::try_from(forgiven).unwrap_or(u32::MAX))
    }

    /// How long the ejection lasts that follows so many others; `chance` is from 0 to 1.
    pub(crate) fn time(&self, level: u32, chance: f64) -> Duration {
        let time = self.base_time.saturating_mul(level.saturating_add(1)).min(self.max_time);
        time + self.jitter.mul_f64(chance)
    }
}

/// How many failures came in a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rows {
    all: u32,
    gateway: u32,
    local: u32,
}

impl Rows {
    const BITS: u32 = 21;
    const MOST: u32 = (1 << Self::BITS) - 1;

    pub(crate) fn unpack(word: u64) -> Self {
        let row = |at: u32| (word >> (at * Self::BITS)) as u32 & Self::MOST;
        Self { all: row(0), gateway: row(1), local: row(2) }
    }

    pub(crate) fn pack(self) -> u64 {
        let row = |row: u32, at: u32| u64::from(row.min(Self::MOST)) << (at * Self::BITS);
        row(self.all, 0) | row(self.gateway, 1) | row(self.local, 2)
    }

    /// One more failure. `split`: local ones have a row of their own.
    fn after(mut self, fault: Fault, split: bool) -> Self {
        if split && fault == Fault::Local {
            self.local = (self.local + 1).min(Self::MOST);
            return self;
        }
        self.local = 0;
        self.all = (self.all + 1).min(Self::MOST);
        self.gateway = match fault {
            Fault::Gateway | Fault::Local => (self.gateway + 1).min(Self::MOST),
            _ => 0,
        };
        self
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
        assert_eq!(rules.clone().with_max_percent(0).allowed(3), 1);
        let all = rules.with_max_percent(100).with_last(true);
        assert_eq!((all.allowed(0), all.allowed(1), all.allowed(7)), (0, 1, 7));
    }

    #[test]
    fn the_time_is_capped_as_a50_says_and_jitter_comes_on_top() {
        // https://github.com/grpc/proposal/blob/master/A50-xds-outlier-detection.md, "Outlier
        // Detection Behavior": min(base x multiplier, max(base, max)); 30 s and 300 s are defaults.
        let rules = Ejection::new();
        for (multiplier, seconds) in [(1, 30), (2, 60), (9, 270), (10, 300), (11, 300), (99, 300)] {
            assert_eq!(rules.time(multiplier - 1, 0.0).as_secs(), seconds, "{multiplier}");
        }
        let jittery = rules.with_jitter(Duration::from_secs(10));
        assert_eq!(jittery.time(98, 0.5).as_secs(), 305);
        assert_eq!(jittery.time(0, 1.0).as_secs(), 40);
    }

    /// What each failure of a row amounts to.
    fn causes(rules: &Ejection, faults: &[Fault]) -> Vec<Option<EjectCause>> {
        let mut rows = Rows::default();
        let mut next = |fault: &Fault| {
            let (after, cause) = rules.fail(rows, *fault);
            rows = Rows::unpack(after.pack());
            cause
        };
        faults.iter().map(&mut next).collect()
    }

    #[test]
    fn failures_of_all_origins_are_one_row_unless_local_ones_have_their_own() {
        use Fault::{Answer, Gateway, Local};
        // Envoy's example: two that could not connect and one status 500 are three.
        let one = Ejection::new().with_consecutive_failures(3);
        let all = Some(EjectCause::ConsecutiveFailures);
        assert_eq!(causes(&one, &[Local, Local, Answer]), [None, None, all]);
        let apart = one.with_consecutive_local_failures(2);
        let local = Some(EjectCause::ConsecutiveLocalFailures);
        assert_eq!(causes(&apart, &[Local, Answer, Local, Answer, Local, Gateway]), {
            [None, None, None, None, None, all]
        });
        assert_eq!(causes(&apart, &[Answer, Answer, Local, Local]), [None, None, None, local]);
    }

    #[test]
    fn a_gateways_row_is_broken_by_other_answers() {
        use Fault::{Answer, Gateway, Local};
        let rules = Ejection::new().with_consecutive_gateway_failures(2);
        let gateway = Some(EjectCause::ConsecutiveGatewayFailures);
        assert_eq!(causes(&rules, &[Gateway, Answer, Gateway, Local]), [None, None, None, gateway]);
        let apart = rules.with_consecutive_local_failures(9);
        assert_eq!(causes(&apart, &[Gateway, Local, Gateway]), [None, None, gateway]);
    }

    #[test]
    fn the_longest_rows_fit() {
        let rules = Ejection::new().with_consecutive_failures(LONGEST_ROW);
        let mut rows = Rows::default();
        for n in 1..=LONGEST_ROW {
            let (after, cause) = rules.fail(Rows::unpack(rows.pack()), Fault::Gateway);
            rows = after;
            assert_eq!(cause.is_some(), n == LONGEST_ROW);
        }
    }

    #[test]
    fn each_ejection_lasts_a_base_time_longer_up_to_the_maximum() {
        let rules = Ejection::new().with_max_time(Duration::from_secs(80));
        let seconds: Vec<_> = (0..4).map(|level| rules.time(level, 0.0).as_secs()).collect();
        assert_eq!(seconds, [30, 60, 80, 80]);
        assert_eq!(rules.time(u32::MAX, 0.0), Duration::from_secs(80));
    }

    #[test]
    fn time_without_ejection_is_forgiving() {
        let rules = Ejection::new();
        assert_eq!(rules.level(3, Duration::from_secs(9)), 3);
        assert_eq!(rules.level(3, Duration::from_secs(10)), 2, "one for each interval");
        assert_eq!(rules.level(3, Duration::from_secs(29)), 1);
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
        assert_eq!(field(Ejection::new().with_enforcement_percent(101)), "enforcement_percent");
        assert_eq!(field(Ejection::new().with_interval(Duration::ZERO)), "interval");
        assert_eq!(field(Ejection::new().with_jitter(Duration::MAX)), "jitter");
        let gateway = Ejection::new().with_consecutive_gateway_failures(1_000_001);
        assert_eq!(field(gateway), "consecutive_gateway_failures");
        let rate = SuccessRate::new().with_factor(f64::NAN);
        assert_eq!(field(Ejection::new().with_success_rate(rate)), "success_rate.factor");
        let share = FailurePercentage::new().with_threshold(0);
        let share = field(Ejection::new().with_failure_percentage(share));
        assert_eq!(share, "failure_percentage.threshold");
    }
}
