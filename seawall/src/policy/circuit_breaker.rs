//! When an endpoint is left alone.

use std::time::Duration;

use seawall_circuit_breaker::Config;
use seawall_core::ConfigError;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::settings::{Settings, text, words};

/// When an endpoint is left alone, and when it is tried again.
///
/// Five failures in a row are hardly chance, and one probe is enough to learn that a server is back.
/// Five seconds are short, because calls go elsewhere meanwhile and only the probe is risked.
///
/// In a file, `scope` stands beside the settings of
/// [`circuit_breaker::Config`](seawall_circuit_breaker::Config) by their names, and four of them have
/// a second name, which other breakers use:
///
/// | here | there | default |
/// |---|---|---|
/// | `failure_threshold` | `consecutive_failures` | 5, unless another rule is given |
/// | `success_threshold` | `half_open: { first_failure: { successes } }` | 1 |
/// | `timeout` | `open_wait` | 5 s |
/// | `max_requests` | `probes` | 1 |
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Settings", into = "Settings")]
pub struct CircuitBreaker {
    scope: Scope,
    settings: Settings,
}

/// What one breaker is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Scope {
    /// Each endpoint has its own, and calls go elsewhere while it is open.
    #[default]
    Endpoint,
    /// Each method has its own, which all endpoints share: while it is open, calls of the method are
    /// refused. A gRPC method is its path. HTTP paths have names and numbers in them, so that the
    /// calls of each route count as one method, and those of no route as another.
    Method,
    /// All endpoints of a service share one: while it is open, every call is refused.
    Service,
}

impl TryFrom<Settings> for CircuitBreaker {
    type Error = ConfigError;

    fn try_from(mut settings: Settings) -> Result<Self, ConfigError> {
        let scope = match settings.0.remove("scope") {
            None => Scope::default(),
            Some(written) => serde_json::from_value(written.clone()).map_err(|_| {
                ConfigError::new("scope", written, "`endpoint`, `method` or `service`")
            })?,
        };
        let breaker = Self { scope, settings };
        breaker.check()?;
        Ok(breaker)
    }
}

impl From<CircuitBreaker> for Settings {
    fn from(breaker: CircuitBreaker) -> Self {
        let CircuitBreaker { scope, mut settings } = breaker;
        if scope != Scope::default() {
            settings.set("scope", json!(scope));
        }
        settings
    }
}

impl CircuitBreaker {
    /// The defaults: 5 failures, 5 s, 1 probe at once, 1 success.
    pub fn new() -> Self {
        Self::default()
    }

    /// Opens after so many failures in a row; 1 or more.
    #[must_use]
    pub fn failure_threshold(mut self, failures: u32) -> Self {
        self.settings.set("failure_threshold", failures);
        self
    }

    /// Closes after so many successful probes; 1 or more.
    #[must_use]
    pub fn success_threshold(mut self, successes: u32) -> Self {
        self.settings.set("success_threshold", successes);
        self
    }

    /// How long it stays open before the first probe.
    #[must_use]
    pub fn open_wait(mut self, wait: Duration) -> Self {
        self.settings.0.remove("timeout");
        self.settings.set("open_wait", text(wait));
        self
    }

    /// How many probes may be out at once; 1 or more.
    #[must_use]
    pub fn max_requests(mut self, probes: u16) -> Self {
        self.settings.set("max_requests", probes);
        self
    }

    /// What one breaker is for; an endpoint unless set.
    #[must_use]
    pub fn scope(mut self, scope: Scope) -> Self {
        self.scope = scope;
        self
    }

    pub(crate) fn scope_of(&self) -> Scope {
        self.scope
    }

    /// Whether another endpoint has the same breaker.
    pub(crate) fn is_shared(&self) -> bool {
        self.scope != Scope::Endpoint
    }

    /// The settings by the breaker's own names, with what this policy has in place of its defaults.
    fn translated(&self) -> Result<Map<String, Value>, ConfigError> {
        let mut all = self.settings.0.clone();
        self.settings.refuse(&[("on_drop", "said by the time-outs of the policy")])?;
        for (here, there) in [
            ("failure_threshold", "consecutive_failures"),
            ("timeout", "open_wait"),
            ("max_requests", "probes"),
        ] {
            if let Some(value) = all.remove(here) {
                if all.contains_key(there) {
                    return Err(ConfigError::new(here, value, format!("absent beside `{there}`")));
                }
                all.insert(there.into(), value);
            }
        }
        if let Some(successes) = all.remove("success_threshold") {
            if all.contains_key("half_open") {
                let want = "absent beside `half_open`";
                return Err(ConfigError::new("success_threshold", successes, want));
            }
            all.insert("half_open".into(), json!({ "first_failure": { "successes": successes } }));
        }
        let rules = ["consecutive_failures", "failures", "failure_rate", "slow_calls"];
        if !rules.iter().any(|rule| all.contains_key(*rule)) {
            all.insert("consecutive_failures".into(), 5.into());
        }
        let default = |all: &mut Map<_, _>, name: &str, value: Value| {
            all.entry(name.to_owned()).or_insert(value);
        };
        default(&mut all, "open_wait", "5s".into());
        default(&mut all, "probes", 1.into());
        default(&mut all, "half_open", json!({ "first_failure": { "successes": 1 } }));
        Ok(all)
    }

    pub(super) fn has_ramp(&self) -> bool {
        self.settings.0.contains_key("ramp")
    }

    pub(super) fn settings_in_words(&self) -> Result<String, ConfigError> {
        Ok(words(&self.translated()?))
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        self.config_with(None).map(drop)
    }

    /// What breakers go by, when a call counts as failed that was dropped after so long.
    pub(crate) fn config_with(&self, abandoned: Option<Duration>) -> Result<Config, ConfigError> {
        let mut all = self.translated()?;
        let drop = match abandoned {
            Some(age) => json!({ "failure_after": text(age) }),
            None => "ignore".into(),
        };
        all.insert("on_drop".into(), drop);
        Settings::read(all)
    }
}
