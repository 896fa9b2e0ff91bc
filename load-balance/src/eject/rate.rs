//! Endpoints that do worse than the others over an interval.

use seawall_core::ConfigError;

use crate::EjectCause;

/// Takes out endpoints whose share of successes is far below that of the others.
///
/// # Algorithm
///
/// The success-rate detector of Envoy and of gRFC A50: of the endpoints that had enough calls in the
/// interval, those whose rate is below the mean by more than `factor` times the standard deviation
/// of the population.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize), serde(default, deny_unknown_fields))]
pub struct SuccessRate {
    pub(crate) factor: f64,
    pub(crate) minimum_endpoints: u32,
    pub(crate) minimum_calls: u32,
    pub(crate) enforcement_percent: u8,
}

impl SuccessRate {
    /// A factor of 1.9, at least 5 endpoints with at least 100 calls each, always enforced.
    pub const fn new() -> Self {
        Self { factor: 1.9, minimum_endpoints: 5, minimum_calls: 100, enforcement_percent: 100 }
    }

    /// How many standard deviations below the mean; 0 to 1,000, 1.9 unless set.
    #[must_use]
    pub const fn with_factor(mut self, factor: f64) -> Self {
        self.factor = factor;
        self
    }

    /// How many endpoints must have had enough calls; at least 1, 5 unless set.
    #[must_use]
    pub const fn with_minimum_endpoints(mut self, endpoints: u32) -> Self {
        self.minimum_endpoints = endpoints;
        self
    }

    /// How many calls in an interval are enough; at least 1, 100 unless set.
    #[must_use]
    pub const fn with_minimum_calls(mut self, calls: u32) -> Self {
        self.minimum_calls = calls;
        self
    }

    /// How many of a hundred findings take an endpoint out; 0 to 100, 100 unless set.
    #[must_use]
    pub const fn with_enforcement_percent(mut self, percent: u8) -> Self {
        self.enforcement_percent = percent;
        self
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if !(0.0..=1000.0).contains(&self.factor) {
            return Err(ConfigError::new("factor", self.factor, "0 to 1000"));
        }
        check_minima(self.minimum_endpoints, self.minimum_calls, self.enforcement_percent)
    }
}

impl Default for SuccessRate {
    fn default() -> Self {
        Self::new()
    }
}

/// Takes out endpoints too large a part of whose calls failed, whatever the others do.
///
/// # Algorithm
///
/// The failure-percentage detector of Envoy and of gRFC A50. Where the latter's texts differ (its
/// field says "greater than or equal", its algorithm "greater"), this follows the field, as Envoy
/// does.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize), serde(default, deny_unknown_fields))]
pub struct FailurePercentage {
    pub(crate) threshold: u8,
    pub(crate) minimum_endpoints: u32,
    pub(crate) minimum_calls: u32,
    pub(crate) enforcement_percent: u8,
}

impl FailurePercentage {
    /// 85 percent, at least 5 endpoints, at least 50 calls, always enforced.
    pub const fn new() -> Self {
        Self { threshold: 85, minimum_endpoints: 5, minimum_calls: 50, enforcement_percent: 100 }
    }

    /// The percentage of failures from which on an endpoint goes; 1 to 100, 85 unless set.
    #[must_use]
    pub const fn with_threshold(mut self, percent: u8) -> Self {
        self.threshold = percent;
        self
    }

    /// How many endpoints there must be; at least 1, 5 unless set.
    #[must_use]
    pub const fn with_minimum_endpoints(mut self, endpoints: u32) -> Self {
        self.minimum_endpoints = endpoints;
        self
    }

    /// How many calls in an interval are enough; at least 1, 50 unless set.
    #[must_use]
    pub const fn with_minimum_calls(mut self, calls: u32) -> Self {
        self.minimum_calls = calls;
        self
    }

    /// How many of a hundred findings take an endpoint out; 0 to 100, 100 unless set.
    #[must_use]
    pub const fn with_enforcement_percent(mut self, percent: u8) -> Self {
        self.enforcement_percent = percent;
        self
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if self.threshold == 0 || self.threshold > 100 {
            return Err(ConfigError::new("threshold", self.threshold, "1 to 100"));
        }
        check_minima(self.minimum_endpoints, self.minimum_calls, self.enforcement_percent)
    }
}

impl Default for FailurePercentage {
    fn default() -> Self {
        Self::new()
    }
}

fn check_minima(endpoints: u32, calls: u32, enforcement: u8) -> Result<(), ConfigError> {
    if endpoints == 0 {
        return Err(ConfigError::new("minimum_endpoints", endpoints, "at least 1"));
    }
    if calls == 0 {
        return Err(ConfigError::new("minimum_calls", calls, "at least 1"));
    }
    if enforcement > 100 {
        return Err(ConfigError::new("enforcement_percent", enforcement, "0 to 100"));
    }
    Ok(())
}

/// What one endpoint did in an interval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) successes: u64,
    pub(crate) failures: u64,
}

impl Tally {
    fn calls(self) -> u64 {
        self.successes + self.failures
    }

    fn rate(self) -> f64 {
        self.successes as f64 / self.calls() as f64
    }
}

/// An endpoint that does worse than it should.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Outlier {
    pub(crate) at: usize,
    pub(crate) cause: EjectCause,
    pub(crate) enforcement_percent: u8,
}

/// Those that `rules` find among `tallies`, in their order, by success rate first.
pub(crate) fn outliers(
    tallies: &[Tally],
    by_rate: Option<&SuccessRate>,
    by_percentage: Option<&FailurePercentage>,
) -> Vec<Outlier> {
    let mut found = Vec::new();
    if let Some(rules) = by_rate {
        let enough = |tally: &Tally| tally.calls() >= rules.minimum_calls.into();
        let rates: Vec<f64> = tallies.iter().filter(|t| enough(t)).map(|t| t.rate()).collect();
        if rates.len() >= rules.minimum_endpoints as usize {
            let count = rates.len() as f64;
            let mean = rates.iter().sum::<f64>() / count;
            let variance = rates.iter().map(|rate| (rate - mean).powi(2)).sum::<f64>() / count;
            let least = mean - variance.sqrt() * rules.factor;
            let cause = EjectCause::SuccessRate;
            let all = tallies.iter().enumerate();
            found.extend(all.filter(|(_, t)| enough(t) && t.rate() < least).map(|(at, _)| {
                Outlier { at, cause, enforcement_percent: rules.enforcement_percent }
            }));
        }
    }
    if let Some(rules) = by_percentage
        && tallies.len() >= rules.minimum_endpoints as usize
    {
        let cause = EjectCause::FailurePercentage;
        let bad = |tally: &Tally| {
            tally.calls() >= rules.minimum_calls.into()
                && tally.failures * 100 >= tally.calls() * u64::from(rules.threshold)
        };
        let all = tallies.iter().enumerate();
        found.extend(all.filter(|(_, tally)| bad(tally)).map(|(at, _)| Outlier {
            at,
            cause,
            enforcement_percent: rules.enforcement_percent,
        }));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tallies(rates: &[(u64, u64)]) -> Vec<Tally> {
        rates.iter().map(|&(successes, failures)| Tally { successes, failures }).collect()
    }

    fn by_rate(rates: &[(u64, u64)], rules: &SuccessRate) -> Vec<usize> {
        outliers(&tallies(rates), Some(rules), None).iter().map(|found| found.at).collect()
    }

    fn by_percentage(rates: &[(u64, u64)], rules: &FailurePercentage) -> Vec<usize> {
        outliers(&tallies(rates), None, Some(rules)).iter().map(|found| found.at).collect()
    }

    #[test]
    fn the_rate_far_below_the_mean_is_found() {
        let rules = SuccessRate::new();
        // Of rates 1, 1, 1, 1 and 0.5: mean 0.9, deviation 0.2, threshold 0.52.
        assert_eq!(by_rate(&[(100, 0), (100, 0), (100, 0), (100, 0), (50, 50)], &rules), [4]);
        // Deviation 0.192, threshold 0.5392 with the mean 0.904: 0.52 is below it.
        assert_eq!(by_rate(&[(100, 0), (100, 0), (100, 0), (100, 0), (52, 48)], &rules), [4]);
        // A factor of 2.1 is more than one of five can be away: sqrt(4) deviations.
        let wide = rules.clone().with_factor(2.1);
        assert_eq!(by_rate(&[(100, 0), (100, 0), (100, 0), (100, 0), (0, 100)], &wide), [0; 0]);
        // All alike are no outliers, however bad.
        assert_eq!(by_rate(&[(1, 99); 10], &rules), [0; 0]);
    }

    #[test]
    fn few_endpoints_or_few_calls_say_nothing_about_rates() {
        let rules = SuccessRate::new();
        assert_eq!(by_rate(&[(100, 0), (100, 0), (100, 0), (0, 100)], &rules), [0; 0]);
        assert_eq!(
            by_rate(&[(100, 0), (100, 0), (100, 0), (100, 0), (0, 99)], &rules),
            [0; 0],
            "the fifth has not enough calls, and four are too few"
        );
        let five = [(100, 0), (100, 0), (100, 0), (100, 0), (0, 100), (0, 99)];
        assert_eq!(by_rate(&five, &rules), [4], "the sixth has not enough calls");
    }

    #[test]
    fn a_percentage_counts_from_its_threshold_on() {
        let rules = FailurePercentage::new();
        let row = |failures| [(100, 0), (100, 0), (100, 0), (100, 0), (100 - failures, failures)];
        assert_eq!(by_percentage(&row(84), &rules), [0; 0]);
        assert_eq!(by_percentage(&row(85), &rules), [4]);
        assert_eq!(by_percentage(&[(0, 50); 5], &rules), [0, 1, 2, 3, 4]);
        assert_eq!(by_percentage(&[(0, 49); 5], &rules), [0; 0], "too few calls");
        assert_eq!(by_percentage(&[(0, 50); 4], &rules), [0; 0], "too few endpoints");
    }

    /// <https://github.com/grpc/proposal/blob/master/A50-xds-outlier-detection.md>, "LB Policy Config".
    #[test]
    fn the_defaults_are_those_of_a50() {
        let (rate, percentage) = (SuccessRate::new(), FailurePercentage::new());
        assert_eq!(
            (rate.factor, rate.enforcement_percent, rate.minimum_endpoints, rate.minimum_calls),
            (1.9, 100, 5, 100)
        );
        let FailurePercentage { threshold, minimum_endpoints, minimum_calls, .. } = percentage;
        assert_eq!((threshold, minimum_endpoints, minimum_calls), (85, 5, 50));
    }
}
