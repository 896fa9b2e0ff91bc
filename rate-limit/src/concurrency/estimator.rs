//! Which rule sets the limit.

use seawall_core::{ConfigError, Instant};

use super::{
    aimd::{Aimd, AimdState},
    bounds::{Bounds, MOST, at_most},
    config::Limit,
    gradient::GradientState,
    sample::Sample,
};

/// What a rule knows. `now` and the calls are its arguments; it reads no clock.
#[derive(Clone, Debug)]
pub(crate) enum Estimator {
    Fixed(u32),
    Aimd(AimdState),
    Gradient(GradientState),
}

impl Estimator {
    /// A rule at its beginning.
    pub(crate) fn new(limit: Limit) -> Self {
        Self::starting_at(limit, limit.initial())
    }

    /// A rule that goes on from `start`, or from the bound next to it.
    pub(crate) fn starting_at(limit: Limit, start: u32) -> Self {
        match limit {
            Limit::Fixed(limit) => Self::Fixed(limit),
            Limit::Aimd(rule) => Self::Aimd(AimdState::new(rule, start)),
            Limit::Gradient(rule) => Self::Gradient(GradientState::new(rule, start)),
        }
    }

    pub(crate) fn limit(&self) -> u32 {
        match self {
            Self::Fixed(limit) => *limit,
            Self::Aimd(state) => state.limit(),
            Self::Gradient(state) => state.limit(),
        }
    }

    /// The latency without a queue, in nanoseconds, for those who measure it.
    pub(crate) fn unloaded(&self) -> Option<u64> {
        match self {
            Self::Gradient(state) => state.unloaded(),
            Self::Fixed(_) | Self::Aimd(_) => None,
        }
    }

    /// A call has ended.
    pub(crate) fn sample(&mut self, now: Instant, sample: &Sample) {
        match self {
            Self::Fixed(_) => {}
            Self::Aimd(state) => state.sample(now, sample),
            Self::Gradient(state) => state.sample(now, sample),
        }
    }
}

impl Limit {
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        match self {
            Self::Fixed(limit) => at_most("limit", *limit, MOST),
            Self::Aimd(rule) => rule.check(),
            Self::Gradient(rule) => rule.check(),
        }
    }

    /// Whether it needs to know how long calls take.
    pub(crate) fn measures(&self) -> bool {
        !matches!(self, Self::Fixed(_))
    }

    /// Between what the limit moves.
    pub(crate) fn bounds(&self) -> Bounds {
        match self {
            Self::Fixed(limit) => Bounds { initial: *limit, min: 1, max: MOST },
            Self::Aimd(Aimd { bounds, .. }) => *bounds,
            Self::Gradient(rule) => rule.bounds,
        }
    }

    fn initial(&self) -> u32 {
        self.bounds().initial
    }
}
