//! Letting calls back in after a recovery.

use std::time::Duration;

use seawall_core::ConfigError;

use super::check::above_zero;
use crate::Ratio;

/// Lets calls back in step by step after the breaker has closed, so that a callee that has just come
/// back is not run over by everything that waited.
///
/// While it lasts, a closed breaker refuses the rest of the calls, evenly spread. Leave it off behind
/// a balancer that starts returning endpoints slowly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ramp {
    pub(crate) initial: Ratio,
    pub(crate) growth: Growth,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Growth {
    /// To all calls in this time.
    Linear(Duration),
    /// By this share with each success.
    Additive(Ratio),
}

/// A tenth of the calls shows whether the callee copes, and is what Envoy's slow start begins with.
const INITIAL: Ratio = Ratio::from_millionths(100_000);

impl Ramp {
    /// From a tenth of the calls to all of them over `time`.
    pub const fn linear(time: Duration) -> Self {
        Self { initial: INITIAL, growth: Growth::Linear(time) }
    }

    /// From a tenth of the calls, and more by `step` with each success.
    pub const fn additive(step: Ratio) -> Self {
        Self { initial: INITIAL, growth: Growth::Additive(step) }
    }

    /// The share of calls to begin with; a tenth unless set.
    #[must_use]
    pub const fn initial(mut self, share: Ratio) -> Self {
        self.initial = share;
        self
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        match self.growth {
            Growth::Linear(time) => above_zero("ramp", time),
            Growth::Additive(_) => Ok(()),
        }
    }
}
