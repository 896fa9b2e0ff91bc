//! By which rule endpoints are picked.

use std::time::Duration;

use seawall_core::ConfigError;

use crate::{ConsistentHash, CustomRule, Rule};

/// By which rule a balancer picks an endpoint. All of them follow the weights, skip what is ejected,
/// and respect slow start.
///
/// | policy | picks | good for |
/// |---|---|---|
/// | [`PowerOfTwo`](Self::PowerOfTwo) | of two, the one with fewer calls in flight | nearly everything |
/// | [`PeakEwma`](Self::PeakEwma) | of two, the one that is expected to answer sooner | endpoints of unequal speed, short calls |
/// | [`RoundRobin`](Self::RoundRobin) | each in turn | equal endpoints, equal calls, exact shares |
/// | [`Random`](Self::Random) | any | very many clients of few calls each |
/// | [`LeastInFlight`](Self::LeastInFlight) | the one with the fewest calls in flight | few endpoints, long calls |
/// | [`ConsistentHash`](Self::ConsistentHash) | the one that the call's key belongs to | caches, sessions, shards |
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub enum Policy {
    /// Of two random endpoints, the one with fewer calls in flight per weight.
    #[default]
    PowerOfTwo,
    /// Of two random endpoints, the one whose recent latency times its calls in flight is less.
    PeakEwma(PeakEwma),
    /// Each endpoint in turn, from a random start: exact shares in each cycle, well mixed.
    ///
    /// # Algorithm
    ///
    /// All clones of a balancer share one place in the cycle. Up to 64 endpoints whose weights have
    /// no long cycle follow nginx's smooth weighted round robin. Larger sets are walked in steps of
    /// about the golden section of the sum of weights, which visit each unit of weight once per
    /// cycle and spread each endpoint's turns evenly.
    RoundRobin,
    /// A random endpoint.
    Random,
    /// The endpoint that the [`HashKey`](crate::HashKey) of the call belongs to.
    ConsistentHash(ConsistentHash),
    /// The endpoint with the fewest calls in flight per weight; of several, one by weight.
    ///
    /// # Algorithm
    ///
    /// HAProxy's `leastconn` for up to 128 endpoints. Of larger sets, the least of eight that are
    /// drawn by weight, as Envoy's `least_request` with a choice count of eight.
    LeastInFlight,
    /// By a rule of the user's: see [`custom`](Self::custom).
    Custom(CustomRule),
}

/// How [`Policy::PeakEwma`] learns an endpoint's latency.
///
/// # Algorithm
///
/// Finagle's Peak EWMA: the cost of an endpoint is a moving average of its latency, in which a
/// sample weighs by the time since the one before, and which a slower sample replaces at once. The
/// load is that cost times the calls in flight and one more. It differs in three points:
///
/// - an endpoint that is idle returns to the average of all, not to zero: silence is no speed;
/// - a failure counts as slow as the penalty, however fast it came;
/// - a call that was abandoned unanswered took at least as long as its caller waited.
#[derive(Clone, Debug, PartialEq)]
pub struct PeakEwma {
    decay: Duration,
    failure_penalty: Duration,
}

impl PeakEwma {
    /// Forgets over 10 s, and counts a failure as an answer after 1 s.
    pub const fn new() -> Self {
        Self { decay: Duration::from_secs(10), failure_penalty: Duration::from_secs(1) }
    }

    /// How fast samples are forgotten: after this long, a sample has about a third of its weight;
    /// 1 ms to an hour, 10 s unless set.
    #[must_use]
    pub const fn with_decay(mut self, decay: Duration) -> Self {
        self.decay = decay;
        self
    }

    /// The latency that a failure counts as, where it was faster; at most an hour, 1 s unless set.
    #[must_use]
    pub const fn with_failure_penalty(mut self, penalty: Duration) -> Self {
        self.failure_penalty = penalty;
        self
    }

    pub(crate) fn decay(&self) -> Duration {
        self.decay
    }

    pub(crate) fn failure_penalty(&self) -> Duration {
        self.failure_penalty
    }

    fn check(&self) -> Result<(), ConfigError> {
        const HOUR: Duration = Duration::from_secs(3600);
        let (decay, penalty) = (self.decay, self.failure_penalty);
        if decay < Duration::from_millis(1) || decay > HOUR {
            return Err(ConfigError::new("decay", format!("{decay:?}"), "1 ms to an hour"));
        }
        if penalty > HOUR {
            let value = format!("{penalty:?}");
            return Err(ConfigError::new("failure_penalty", value, "at most an hour"));
        }
        Ok(())
    }
}

impl Default for PeakEwma {
    fn default() -> Self {
        Self::new()
    }
}

impl Policy {
    /// Picks by a rule of the user's.
    pub fn custom(rule: impl Rule) -> Self {
        Self::Custom(CustomRule::new(rule))
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        match self {
            Self::PeakEwma(ewma) => ewma.check(),
            Self::ConsistentHash(hash) => {
                hash.check().map_err(|error| error.within("consistent_hash"))
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn peak_ewma(&self) -> Option<&PeakEwma> {
        match self {
            Self::PeakEwma(ewma) => Some(ewma),
            _ => None,
        }
    }

    /// Refuses what cannot serve so many endpoints.
    pub(crate) fn check_size(&self, endpoints: usize) -> Result<(), ConfigError> {
        match self {
            Self::ConsistentHash(hash) => {
                hash.check_size(endpoints).map_err(|error| error.within("consistent_hash"))
            }
            _ => Ok(()),
        }
    }

    /// Whether calls, or some of them, go to each endpoint in turn.
    pub(crate) fn takes_turns(&self) -> bool {
        match self {
            Self::RoundRobin => true,
            Self::ConsistentHash(hash) => hash.takes_turns(),
            _ => false,
        }
    }

    /// Whether the calls in flight to all endpoints are counted.
    pub(crate) fn counts_in_flight(&self) -> bool {
        matches!(self, Self::ConsistentHash(ConsistentHash { bound: Some(_), .. }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nonsense_is_refused_by_name() {
        let field = |ewma: PeakEwma| Policy::PeakEwma(ewma).check().unwrap_err().field().to_owned();
        assert_eq!(field(PeakEwma::new().with_decay(Duration::ZERO)), "decay");
        assert_eq!(field(PeakEwma::new().with_decay(Duration::MAX)), "decay");
        assert_eq!(field(PeakEwma::new().with_failure_penalty(Duration::MAX)), "failure_penalty");
    }
}
