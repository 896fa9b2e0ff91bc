//! Configurations in files.

use std::time::Duration;

use seawall_core::{ConfigError, duration};
use serde::Deserialize;

use super::{Aimd, Config, Gradient, Limit};

/// The settings as a file has them: those of the builders by their names, durations as `250ms`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Spec {
    limit: LimitSpec,
    queue: Option<QueueSpec>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum LimitSpec {
    Fixed(u32),
    Rule(RuleSpec),
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum RuleSpec {
    Aimd(AimdSpec),
    Gradient(GradientSpec),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AimdSpec {
    #[serde(with = "duration")]
    threshold: Duration,
    initial: Option<u32>,
    min: Option<u32>,
    max: Option<u32>,
    backoff: Option<f64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GradientSpec {
    initial: Option<u32>,
    min: Option<u32>,
    max: Option<u32>,
    tolerance: Option<f64>,
    smoothing: Option<f64>,
    #[serde(default, with = "duration::option")]
    window: Option<Duration>,
    samples: Option<u32>,
    #[serde(default, with = "duration::option")]
    probe_every: Option<Duration>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct QueueSpec {
    calls: u32,
    #[serde(with = "duration")]
    wait: Duration,
}

impl TryFrom<Spec> for Config {
    type Error = ConfigError;

    fn try_from(spec: Spec) -> Result<Self, ConfigError> {
        let mut builder = Self::builder(match spec.limit {
            LimitSpec::Fixed(limit) => Limit::Fixed(limit),
            LimitSpec::Rule(RuleSpec::Aimd(rule)) => rule.into_rule().into(),
            LimitSpec::Rule(RuleSpec::Gradient(rule)) => rule.into_rule().into(),
        });
        if let Some(QueueSpec { calls, wait }) = spec.queue {
            builder = builder.queue(calls, wait);
        }
        builder.build()
    }
}

impl AimdSpec {
    fn into_rule(self) -> Aimd {
        let mut rule = Aimd::new(self.threshold);
        set(&mut rule.bounds.initial, self.initial);
        set(&mut rule.bounds.min, self.min);
        set(&mut rule.bounds.max, self.max);
        set(&mut rule.backoff, self.backoff);
        rule
    }
}

impl GradientSpec {
    fn into_rule(self) -> Gradient {
        let mut rule = Gradient::new();
        set(&mut rule.bounds.initial, self.initial);
        set(&mut rule.bounds.min, self.min);
        set(&mut rule.bounds.max, self.max);
        set(&mut rule.tolerance, self.tolerance);
        set(&mut rule.smoothing, self.smoothing);
        set(&mut rule.window, self.window);
        set(&mut rule.samples, self.samples);
        set(&mut rule.probe_every, self.probe_every);
        rule
    }
}

fn set<T>(place: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *place = value;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Config, serde_json::Error> {
        serde_json::from_str(json)
    }

    #[test]
    fn every_setting_can_stand_in_a_file() {
        let ms = Duration::from_millis;
        let config = read(r#"{"limit": 7, "queue": {"calls": 3, "wait": "1.5s"}}"#).unwrap();
        assert_eq!(config, Config::builder(7).queue(3, ms(1_500)).build().unwrap());
        let config = read(
            r#"{"limit": {"aimd": {"threshold": "250ms", "initial": 5, "min": 2, "max": 9,
                                   "backoff": 0.5}}}"#,
        );
        let aimd = Aimd::new(ms(250)).initial(5).min(2).max(9).backoff(0.5);
        assert_eq!(config.unwrap(), Config::builder(aimd).build().unwrap());
        let config = read(
            r#"{"limit": {"gradient": {"initial": 5, "min": 2, "max": 9, "tolerance": 1.5,
                "smoothing": 0.4, "window": "1s", "samples": 50, "probe_every": "1m"}}}"#,
        );
        let gradient = Gradient::new().initial(5).min(2).max(9).tolerance(1.5).smoothing(0.4);
        let gradient = gradient.window(ms(1_000)).samples(50).probe_every(ms(60_000));
        assert_eq!(config.unwrap(), Config::builder(gradient).build().unwrap());
        let config = read(r#"{"limit": {"gradient": {}}}"#).unwrap();
        assert_eq!(config, Config::builder(Gradient::new()).build().unwrap());
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (json, says) in [
            (r#"{"limit": 0}"#, "`limit` is 0, but must be 1 to 1000000"),
            (r#"{"limit": 1, "queue": {"calls": 0, "wait": "1s"}}"#, "`queue.calls` is 0"),
            (r#"{"limit": 1, "wait": "1s"}"#, "unknown field `wait`"),
            (r#"{}"#, "missing field `limit`"),
            (r#"{"limit": 1, "queue": {"calls": 1, "wait": "soon"}}"#, "soon"),
        ] {
            let error = read(json).unwrap_err().to_string();
            assert!(error.contains(says), "{json}: {error}");
        }
    }
}
