//! When a second attempt is sent before the first one has answered.

use std::time::Duration;

use seawall_core::{ConfigError, duration};
use serde::{Deserialize, Deserializer, Serialize};

use super::RetryBudget;

/// A second attempt on another endpoint when the first one takes unusually long; whichever answers
/// first counts, and the other is cancelled. Idempotent calls only.
///
/// # Algorithm
///
/// The hedged requests of Dean and Barroso, *The Tail at Scale*, 2013, with the words of
/// [gRFC A6](https://github.com/grpc/proposal/blob/master/A6-client-retries.md): the second attempt
/// goes out after a fixed delay, or after the percentile of the client's recent latencies, though
/// never before twice their median, so that endpoints that are all a little slower are not sent twice
/// the load. No percentile is known before 128 answers, and nothing is hedged until then. An answer
/// that may be retried does not end the race while the other attempt is under way; a server that asks
/// for a pause before the delay is over ends it.
///
/// In YAML `hedge: {}` is the 99th percentile, `hedge: { percentile: 95 }` another one, and
/// `hedge: { delay: 20ms }` a fixed delay.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Hedge {
    /// After this delay.
    #[cfg_attr(feature = "schema", schemars(with = "Option<super::schema::Time>"))]
    #[serde(with = "duration::option", skip_serializing_if = "Option::is_none")]
    pub(crate) delay: Option<Duration>,
    /// Or after this percentile of recent latency, 50 to 99.9; 99 unless set.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(range(min = 50, max = 99.9)))]
    pub(crate) percentile: Option<f64>,
    /// How many calls may be hedged: 10 percent and one a second unless set.
    #[serde(deserialize_with = "budget")]
    pub(crate) budget: RetryBudget,
}

/// The 99th percentile; at most a tenth of the calls, and one a second besides.
impl Default for Hedge {
    fn default() -> Self {
        Self { delay: None, percentile: None, budget: RetryBudget::new(10, 1) }
    }
}

/// What is not said is as in the hedge's own default, and not as in that of retries.
fn budget<'de, D: Deserializer<'de>>(from: D) -> Result<RetryBudget, D::Error> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Said {
        percent: Option<u32>,
        min_per_second: Option<u32>,
    }
    let RetryBudget { percent, min_per_second } = Hedge::default().budget;
    let said = Said::deserialize(from)?;
    Ok(RetryBudget {
        percent: said.percent.unwrap_or(percent),
        min_per_second: said.min_per_second.unwrap_or(min_per_second),
    })
}

impl Hedge {
    /// After the 99th percentile of recent latency.
    pub fn new() -> Self {
        Self::default()
    }

    /// After this percentile of recent latency: from 50 to 99.9.
    #[must_use]
    pub fn after_percentile(mut self, percentile: f64) -> Self {
        (self.percentile, self.delay) = (Some(percentile), None);
        self
    }

    /// After a fixed delay; zero sends both at once.
    #[must_use]
    pub fn after(mut self, delay: Duration) -> Self {
        (self.delay, self.percentile) = (Some(delay), None);
        self
    }

    /// How many calls may be hedged; 10 percent and one a second besides unless set. It is apart from
    /// the budget of the retries.
    #[must_use]
    pub fn budget(mut self, budget: RetryBudget) -> Self {
        self.budget = budget;
        self
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if let Some(percentile) = self.percentile {
            if self.delay.is_some() {
                return Err(ConfigError::new("percentile", percentile, "absent beside a delay"));
            }
            if !(50.0..=99.9).contains(&percentile) {
                return Err(ConfigError::new("percentile", percentile, "50 to 99.9"));
            }
        }
        self.budget.check().map_err(|error| error.within("budget"))
    }
}
