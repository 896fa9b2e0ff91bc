//! How many calls a client may make.

use std::{num::NonZeroU32, time::Duration};

use seawall_core::{ConfigError, duration};
use serde::{Deserialize, Serialize};

/// How many calls a client may make; retries of a call do not count again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RateLimit {
    /// Calls per period.
    pub(crate) limit: NonZeroU32,
    #[serde(default = "one_second", with = "duration")]
    pub(crate) period: Duration,
    /// Calls that may come at once; as many as `limit` unless set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) burst: Option<NonZeroU32>,
    /// How long a call waits for its turn before it is refused.
    #[serde(default, with = "duration")]
    pub(crate) wait: Duration,
}

fn one_second() -> Duration {
    Duration::from_secs(1)
}

impl RateLimit {
    /// `limit` calls a second, as many of them at once, and a refusal for those above.
    pub fn per_second(limit: NonZeroU32) -> Self {
        Self { limit, period: one_second(), burst: None, wait: Duration::ZERO }
    }

    /// The time in which `limit` calls may be made; 1 s unless set.
    #[must_use]
    pub fn period(mut self, period: Duration) -> Self {
        self.period = period;
        self
    }

    /// How many calls may come at once; as many as the limit unless set.
    #[must_use]
    pub fn burst(mut self, burst: NonZeroU32) -> Self {
        self.burst = Some(burst);
        self
    }

    /// How long a call waits for its turn before it is refused; not at all unless set.
    #[must_use]
    pub fn wait(mut self, wait: Duration) -> Self {
        self.wait = wait;
        self
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if self.period.is_zero() {
            return Err(ConfigError::new("period", "0s", "above 0s"));
        }
        Ok(())
    }
}
