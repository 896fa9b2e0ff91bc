//! How endpoints are picked, and which are taken out.

use std::time::Duration;

use seawall_core::{ConfigError, duration};
use seawall_load_balance::{Config, Ejection};
use serde::{Deserialize, Serialize};

use super::settings::{Settings, text, words};

/// How endpoints are picked: the settings of [`load_balance::Config`](seawall_load_balance::Config)
/// by their names, but for those that a policy has elsewhere.
///
/// The default is the less loaded of two endpoints, which balances well without any tuning. While no
/// endpoint is known a call waits for five seconds, which outlast the start of a registry's first
/// answer, and a caller still notices.
///
/// ```
/// let policy = seawall::policy::Policy::from_yaml("
/// load_balance:
///   policy: { peak_ewma: { decay: 5s } }
///   slow_start: { window: 30s }
///   zone_aware: { zone: eu-1a }
/// ")?;
/// # policy.check()?;
/// # Ok::<(), seawall::policy::PolicyError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Settings", into = "Settings")]
pub struct LoadBalance {
    settings: Settings,
}

impl TryFrom<Settings> for LoadBalance {
    type Error = ConfigError;

    fn try_from(settings: Settings) -> Result<Self, ConfigError> {
        let load_balance = Self { settings };
        load_balance.config()?;
        Ok(load_balance)
    }
}

impl From<LoadBalance> for Settings {
    fn from(load_balance: LoadBalance) -> Self {
        load_balance.settings
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
        self.settings.set("wait_for_endpoints", text(wait));
        self
    }

    /// By which rule endpoints are picked, by its name: `p2c`, `peak_ewma`, `round_robin`, `random`,
    /// `least_in_flight`; `p2c` unless set.
    #[must_use]
    pub fn policy(mut self, name: &str) -> Self {
        self.settings.set("policy", name);
        self
    }

    /// How long an endpoint that is new, or back from an ejection or an open breaker, takes to grow
    /// into its share; it has all of it at once unless set. A ramp of the breaker's own is refused
    /// beside it.
    #[must_use]
    pub fn slow_start(mut self, window: Duration) -> Self {
        self.settings.set("slow_start", serde_json::json!({ "window": text(window) }));
        self
    }

    /// The part of the set that must be well, or else ejected endpoints are used again; 0 to 100
    /// percent, 50 unless set.
    #[must_use]
    pub fn panic_threshold(mut self, percent: u8) -> Self {
        self.settings.set("panic_threshold", percent);
        self
    }

    pub(super) fn has_slow_start(&self) -> bool {
        self.settings.0.contains_key("slow_start")
    }

    pub(super) fn settings_in_words(&self) -> String {
        words(&self.settings.0)
    }

    pub(crate) fn config(&self) -> Result<Config, ConfigError> {
        self.settings.refuse(&[
            ("name", "the name of the service"),
            ("ejection", "said by `outlier_detection`"),
            ("split", "said by `subsets` and `split` beside it"),
        ])?;
        Settings::read(self.settings.0.clone())
    }
}

/// When an endpoint that keeps failing is taken out of the set, beside its breaker: an ejection lasts
/// longer each time, and never takes out more than a share of the set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct OutlierDetection {
    /// Out after so many failures in a row; 5 unless set, as in Istio.
    #[cfg_attr(feature = "schema", schemars(range(min = 1)))]
    pub(crate) consecutive_errors: u32,
    /// So much time without an ejection makes the next one shorter; 10s unless set, as in Istio.
    #[cfg_attr(feature = "schema", schemars(with = "super::schema::Time"))]
    #[serde(with = "duration")]
    pub(crate) interval: Duration,
    /// How long the first ejection lasts; 30s unless set, as in Istio.
    #[cfg_attr(feature = "schema", schemars(with = "super::schema::Time"))]
    #[serde(with = "duration")]
    pub(crate) base_ejection_time: Duration,
    /// How much of the set may be out at a time; 10 unless set, as in Istio.
    #[cfg_attr(feature = "schema", schemars(range(max = 100)))]
    pub(crate) max_ejection_percent: u8,
}

/// Istio's: 5 errors, 10 s, 30 s, 10 percent.
impl Default for OutlierDetection {
    fn default() -> Self {
        Self {
            consecutive_errors: 5,
            interval: Duration::from_secs(10),
            base_ejection_time: Duration::from_secs(30),
            max_ejection_percent: 10,
        }
    }
}

impl OutlierDetection {
    /// The defaults: 5 errors, 10 s, 30 s, 10 percent.
    pub fn new() -> Self {
        Self::default()
    }

    /// Ejects after so many failures in a row; 1 or more.
    #[must_use]
    pub fn consecutive_errors(mut self, errors: u32) -> Self {
        self.consecutive_errors = errors;
        self
    }

    /// How much time without an ejection makes the next one shorter again; 1 ms or more.
    #[must_use]
    pub fn interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
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
        let times = [("interval", self.interval), ("base_ejection_time", self.base_ejection_time)];
        for (field, time) in times {
            if time < Duration::from_millis(1) {
                let shown = humantime::format_duration(time);
                return Err(ConfigError::new(field, shown, "at least 1ms"));
            }
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
            .with_interval(self.interval)
            .with_base_time(self.base_ejection_time)
            .with_max_time(longest)
            .with_max_percent(self.max_ejection_percent)
    }
}
