//! Configurations in files.

use std::time::Duration;

use seawall_core::{ConfigError, duration};
use serde::Deserialize;

use super::{Config, Priority};
use crate::config::DropSpec;

/// The settings as a file has them: those of the builder by their names, durations as `2m`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Spec {
    #[serde(default, with = "duration::option")]
    window: Option<Duration>,
    #[serde(default)]
    k: Multipliers,
    padding: Option<u32>,
    on_drop: Option<DropSpec>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Multipliers {
    critical_plus: Option<f64>,
    critical: Option<f64>,
    sheddable_plus: Option<f64>,
    sheddable: Option<f64>,
}

impl TryFrom<Spec> for Config {
    type Error = ConfigError;

    fn try_from(spec: Spec) -> Result<Self, ConfigError> {
        let mut builder = Self::builder();
        if let Some(window) = spec.window {
            builder = builder.window(window);
        }
        for (priority, k) in [
            (Priority::CriticalPlus, spec.k.critical_plus),
            (Priority::Critical, spec.k.critical),
            (Priority::SheddablePlus, spec.k.sheddable_plus),
            (Priority::Sheddable, spec.k.sheddable),
        ] {
            if let Some(k) = k {
                builder = builder.k(priority, k);
            }
        }
        if let Some(requests) = spec.padding {
            builder = builder.padding(requests);
        }
        if let Some(policy) = spec.on_drop {
            builder = builder.on_drop(policy.into());
        }
        builder.build()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::OnDrop;

    fn read(json: &str) -> Result<Config, serde_json::Error> {
        serde_json::from_str(json)
    }

    #[test]
    fn every_setting_can_stand_in_a_file() {
        let config = read(
            r#"{"window": "30s", "padding": 8, "on_drop": {"failure_after": "1s"},
                "k": {"critical_plus": 5, "critical": 4, "sheddable_plus": 3, "sheddable": 2}}"#,
        )
        .unwrap();
        assert_eq!((config.window, config.padding), (Duration::from_secs(30), 8));
        assert_eq!(config.k.map(|k| k.0), [5_000, 4_000, 3_000, 2_000]);
        assert_eq!(config.on_drop, OnDrop::FailureAfter(Duration::from_secs(1)));
    }

    #[test]
    fn an_empty_file_is_the_default_and_what_is_wrong_is_named() {
        assert_eq!(format!("{:?}", read("{}").unwrap()), format!("{:?}", Config::default()));
        for (json, says) in [
            (r#"{"windows": "1s"}"#, "unknown field `windows`"),
            (r#"{"k": {"urgent": 2}}"#, "unknown field `urgent`"),
            (r#"{"k": {"critical": 0.5}}"#, "`k.critical` is 0.5, but must be above 1"),
        ] {
            let error = read(json).unwrap_err().to_string();
            assert!(error.contains(says), "{json}: {error}");
        }
    }
}
