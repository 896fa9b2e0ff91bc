//! How endpoints are picked, and which are taken out.

use std::time::Duration;

use seawall_core::{ConfigError, duration};
use seawall_load_balance::Ejection;
use serde::{Deserialize, Serialize};

/// How endpoints are picked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LoadBalance {
    #[serde(with = "duration")]
    pub(crate) wait_for_endpoints: Duration,
}

/// Five seconds outlast the start of a registry's first answer, and a caller still notices.
impl Default for LoadBalance {
    fn default() -> Self {
        Self { wait_for_endpoints: Duration::from_secs(5) }
    }
}

impl LoadBalance {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// How long a call waits while no endpoint is known, before it is refused; 5 s unless set.
    #[must_use]
    pub fn wait_for_endpoints(mut self, wait: Duration) -> Self {
        self.wait_for_endpoints = wait;
        self
    }
}

/// When an endpoint that keeps failing is taken out of the set, beside its breaker: an ejection lasts
/// longer each time, and never takes out more than a share of the set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OutlierDetection {
    pub(crate) consecutive_errors: u32,
    #[serde(with = "duration")]
    pub(crate) base_ejection_time: Duration,
    pub(crate) max_ejection_percent: u8,
}

/// Istio's: 5 errors, 30 s, 10 percent.
impl Default for OutlierDetection {
    fn default() -> Self {
        Self {
            consecutive_errors: 5,
            base_ejection_time: Duration::from_secs(30),
            max_ejection_percent: 10,
        }
    }
}

impl OutlierDetection {
    /// The defaults: 5 errors, 30 s, 10 percent.
    pub fn new() -> Self {
        Self::default()
    }

    /// Ejects after so many failures in a row; 1 or more.
    #[must_use]
    pub fn consecutive_errors(mut self, errors: u32) -> Self {
        self.consecutive_errors = errors;
        self
    }

    /// How long the first ejection lasts, and how much longer each further one.
    #[must_use]
    pub fn base_ejection_time(mut self, time: Duration) -> Self {
        self.base_ejection_time = time;
        self
    }

    /// How much of the set may be out at a time, 0 to 100; one endpoint always may, and the last one
    /// never.
    #[must_use]
    pub fn max_ejection_percent(mut self, percent: u8) -> Self {
        self.max_ejection_percent = percent;
        self
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if self.consecutive_errors == 0 {
            return Err(ConfigError::new("consecutive_errors", 0, "at least 1"));
        }
        if self.base_ejection_time < Duration::from_millis(1) {
            let shown = humantime::format_duration(self.base_ejection_time);
            return Err(ConfigError::new("base_ejection_time", shown, "at least 1ms"));
        }
        if self.max_ejection_percent > 100 {
            let percent = self.max_ejection_percent;
            return Err(ConfigError::new("max_ejection_percent", percent, "0 to 100"));
        }
        Ok(())
    }

    pub(crate) fn ejection(&self) -> Ejection {
        // Ten times the first, as Envoy's defaults are to each other.
        let longest = self.base_ejection_time.saturating_mul(10);
        Ejection::new()
            .with_consecutive_failures(self.consecutive_errors)
            .with_base_time(self.base_ejection_time)
            .with_max_time(longest)
            .with_max_percent(self.max_ejection_percent)
    }
}
