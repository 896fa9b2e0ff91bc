//! How much of the traffic may be attempts that are made besides the first ones.

use seawall_core::ConfigError;
use serde::{Deserialize, Serialize};

/// How many further attempts a client may make: a share of its calls of the last ten seconds, and a
/// few besides, so that a client of few calls can retry at all.
///
/// When every server fails, a client without a budget multiplies its load by the number of its
/// tries, at the worst moment. With one of 20 percent it adds a fifth.
///
/// # Algorithm
///
/// The retry budget of Finagle and linkerd, counted in whole calls: `percent` of the calls in the
/// window and `min_per_second` for each of its seconds may be spent. Nothing is rounded to less than
/// it is, and every share from 1 to 100 percent holds as it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct RetryBudget {
    /// So many further attempts for each hundred calls of the last ten seconds; 20 unless set, as in
    /// linkerd, and 10 for hedges.
    #[cfg_attr(feature = "schema", schemars(range(max = 100)))]
    pub(crate) percent: u32,
    /// And so many each second besides; 10 unless set, and 1 for hedges.
    #[cfg_attr(feature = "schema", schemars(range(max = 100_000)))]
    pub(crate) min_per_second: u32,
}

/// linkerd's: 20 percent, and ten a second.
impl Default for RetryBudget {
    fn default() -> Self {
        Self { percent: 20, min_per_second: 10 }
    }
}

impl RetryBudget {
    /// So many further attempts for each hundred calls, 0 to 100, and `min_per_second` besides.
    pub fn new(percent: u32, min_per_second: u32) -> Self {
        Self { percent, min_per_second }
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if self.percent > 100 {
            return Err(ConfigError::new("percent", self.percent, "0 to 100"));
        }
        // What the window counts in one second.
        if self.min_per_second > 100_000 {
            return Err(ConfigError::new("min_per_second", self.min_per_second, "0 to 100000"));
        }
        Ok(())
    }
}
