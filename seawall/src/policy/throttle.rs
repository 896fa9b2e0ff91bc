//! When a client holds calls back because their servers refuse them.

use seawall_circuit_breaker::throttle::{Config, Priority};
use seawall_core::ConfigError;
use serde::{Deserialize, Serialize};

use super::settings::{Settings, words};

/// Sends servers that are overloaded less, as far as they refuse: the settings of
/// [`throttle::Config`](seawall_circuit_breaker::throttle::Config) by their names, all of which have
/// defaults, so that `throttle: {}` turns it on.
///
/// A call was refused when its last attempt ended in UNAVAILABLE, RESOURCE_EXHAUSTED or
/// DEADLINE_EXCEEDED, in HTTP 429, 502, 503 or 504, or in no answer at all. Calls that may be shed
/// ([`Policy::priority`](super::Policy::priority)) are held back first.
///
/// ```
/// let policy = seawall::policy::Policy::from_yaml("
/// throttle: { window: 1m, k: { critical: 2, sheddable: 1.2 } }
/// ")?;
/// # policy.check()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Settings", into = "Settings")]
pub struct Throttle {
    settings: Settings,
}

impl TryFrom<Settings> for Throttle {
    type Error = ConfigError;

    fn try_from(settings: Settings) -> Result<Self, ConfigError> {
        let throttle = Self { settings };
        throttle.config()?;
        Ok(throttle)
    }
}

impl From<Throttle> for Settings {
    fn from(throttle: Throttle) -> Self {
        throttle.settings
    }
}

impl Throttle {
    /// The defaults of the throttle.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many calls of a priority are made for each that is accepted, above 1; by the throttle's own
    /// defaults, fewer for those that are less critical.
    #[must_use]
    pub fn k(mut self, priority: Priority, k: f64) -> Self {
        let all = self.settings.0.entry("k").or_insert_with(|| serde_json::json!({}));
        if let Some(all) = all.as_object_mut() {
            all.insert(priority.as_str().to_owned(), k.into());
        }
        self
    }

    pub(super) fn settings_in_words(&self) -> String {
        words(&self.settings.0)
    }

    pub(crate) fn config(&self) -> Result<Config, ConfigError> {
        Settings::read(self.settings.0.clone())
    }
}
