//! Configurations in files.

use std::time::Duration;

use seawall_core::{ConfigError, duration};
use serde::Deserialize;

use super::{Config, HalfOpen, OnDrop, OpenWait, Ramp, Window};
use crate::{Mode, Ratio};

/// The settings as a file has them: those of the builder by their names, durations as `250ms`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Spec {
    consecutive_failures: Option<u32>,
    failures: Option<u32>,
    failure_rate: Option<f64>,
    slow_calls: Option<SlowCalls>,
    window: Option<WindowSpec>,
    minimum_calls: Option<u32>,
    open_wait: Option<WaitSpec>,
    probes: Option<u16>,
    half_open: Option<HalfOpenSpec>,
    #[serde(default, with = "duration::option")]
    probe_timeout: Option<Duration>,
    ramp: Option<RampSpec>,
    on_drop: Option<DropSpec>,
    #[serde(default)]
    mode: Mode,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SlowCalls {
    #[serde(with = "duration")]
    threshold: Duration,
    rate: f64,
    #[serde(default)]
    in_flight: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum WindowSpec {
    Calls(u32),
    #[serde(with = "duration")]
    Time(Duration),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum WaitSpec {
    #[serde(with = "duration")]
    Constant(Duration),
    Other(WaitFields),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WaitFields {
    #[serde(with = "duration")]
    initial: Duration,
    #[serde(default, with = "duration::option")]
    max: Option<Duration>,
    jitter: Option<f64>,
    from_server: Option<Bounds>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Bounds {
    #[serde(with = "duration")]
    min: Duration,
    #[serde(with = "duration")]
    max: Duration,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum HalfOpenSpec {
    FirstFailure {
        successes: u32,
    },
    Rate {
        calls: u32,
        failure_rate: f64,
        #[serde(default)]
        early: bool,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum RampSpec {
    Linear {
        #[serde(with = "duration")]
        time: Duration,
        initial: Option<f64>,
    },
    Additive {
        step: f64,
        initial: Option<f64>,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum DropSpec {
    Ignore,
    Failure,
    #[serde(with = "duration")]
    FailureAfter(Duration),
}

impl TryFrom<Spec> for Config {
    type Error = ConfigError;

    fn try_from(spec: Spec) -> Result<Self, ConfigError> {
        let mut builder = Self::builder().mode(spec.mode);
        if let Some(n) = spec.consecutive_failures {
            builder = builder.consecutive_failures(n);
        }
        if let Some(n) = spec.failures {
            builder = builder.failures(n);
        }
        if let Some(share) = spec.failure_rate {
            builder = builder.failure_rate(share);
        }
        if let Some(SlowCalls { threshold, rate, in_flight }) = spec.slow_calls {
            builder = builder.slow_call_rate(threshold, rate).slow_calls_in_flight(in_flight);
        }
        if let Some(window) = spec.window {
            builder = builder.window(match window {
                WindowSpec::Calls(n) => Window::Calls(n),
                WindowSpec::Time(time) => Window::Time(time),
            });
        }
        if let Some(n) = spec.minimum_calls {
            builder = builder.minimum_calls(n);
        }
        if let Some(wait) = spec.open_wait {
            builder = builder.open_wait(wait.into_wait());
        }
        if let Some(n) = spec.probes {
            builder = builder.probes(n);
        }
        if let Some(rule) = spec.half_open {
            builder = builder.half_open(rule.into_rule()?);
        }
        if let Some(timeout) = spec.probe_timeout {
            builder = builder.probe_timeout(timeout);
        }
        if let Some(ramp) = spec.ramp {
            builder = builder.ramp(ramp.into_ramp()?);
        }
        if let Some(policy) = spec.on_drop {
            builder = builder.on_drop(policy.into());
        }
        builder.build()
    }
}

impl From<DropSpec> for OnDrop {
    fn from(spec: DropSpec) -> Self {
        match spec {
            DropSpec::Ignore => Self::Ignore,
            DropSpec::Failure => Self::Failure,
            DropSpec::FailureAfter(age) => Self::FailureAfter(age),
        }
    }
}

impl WaitSpec {
    fn into_wait(self) -> OpenWait {
        let fields = match self {
            Self::Constant(wait) => return OpenWait::constant(wait),
            Self::Other(fields) => fields,
        };
        let mut wait = match fields.max {
            Some(max) => OpenWait::exponential(fields.initial, max),
            None => OpenWait::constant(fields.initial),
        };
        if let Some(share) = fields.jitter {
            wait = wait.jitter(share);
        }
        if let Some(Bounds { min, max }) = fields.from_server {
            wait = wait.from_server(min, max);
        }
        wait
    }
}

impl HalfOpenSpec {
    fn into_rule(self) -> Result<HalfOpen, ConfigError> {
        Ok(match self {
            Self::FirstFailure { successes } => HalfOpen::first_failure(successes),
            Self::Rate { calls, failure_rate, early } => {
                let failure_rate = Ratio::named("half_open.failure_rate", failure_rate)?;
                HalfOpen::Rate { calls, failure_rate, early }
            }
        })
    }
}

impl RampSpec {
    fn into_ramp(self) -> Result<Ramp, ConfigError> {
        let (ramp, initial) = match self {
            Self::Linear { time, initial } => (Ramp::linear(time), initial),
            Self::Additive { step, initial } => {
                (Ramp::additive(Ratio::named("ramp.step", step)?), initial)
            }
        };
        match initial {
            Some(share) => Ok(ramp.initial(Ratio::named("ramp.initial", share)?)),
            None => Ok(ramp),
        }
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
        let config = read(
            r#"{
                "consecutive_failures": 5, "failures": 9, "failure_rate": 0.5,
                "slow_calls": {"threshold": "250ms", "rate": 0.9, "in_flight": true},
                "window": {"time": "1m 30s"}, "minimum_calls": 7,
                "open_wait": {"initial": "1s", "max": "1m", "jitter": 0.5,
                              "from_server": {"min": "1s", "max": "5m"}},
                "probes": 3, "probe_timeout": "2s",
                "half_open": {"rate": {"calls": 10, "failure_rate": 0.3, "early": true}},
                "ramp": {"linear": {"time": "30s", "initial": 0.2}},
                "on_drop": {"failure_after": "1s"}, "mode": "shadow"
            }"#,
        )
        .unwrap();
        let second = Duration::from_secs(1);
        assert_eq!(config.trip.window, Some(Window::Time(90 * second)));
        assert_eq!(config.trip.slow, Some(Duration::from_millis(250)));
        let wait = OpenWait::exponential(second, 60 * second).jitter(0.5);
        assert_eq!(config.open_wait, wait.from_server(second, 300 * second));
        assert_eq!(config.half_open, HalfOpen::early_rate(10, Ratio::new(0.3).unwrap()));
        assert_eq!(config.ramp, Some(Ramp::linear(30 * second).initial(Ratio::new(0.2).unwrap())));
        assert_eq!((config.on_drop, config.mode), (OnDrop::FailureAfter(second), Mode::Shadow));
    }

    #[test]
    fn an_empty_file_is_the_default_and_short_forms_are_understood() {
        let config = read("{}").unwrap();
        assert_eq!(format!("{config:?}"), format!("{:?}", Config::default()));
        let short = r#"{"window": {"calls": 9}, "open_wait": "250ms", "on_drop": "failure"}"#;
        let config = read(short).unwrap();
        assert_eq!(config.trip.window, Some(Window::Calls(9)));
        assert_eq!(config.open_wait, OpenWait::constant(Duration::from_millis(250)));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (json, says) in [
            (r#"{"probe": 1}"#, "unknown field `probe`"),
            (r#"{"probes": 0}"#, "`probes` is 0, but must be 1 to 1024"),
            (r#"{"probe_timeout": "soon"}"#, "soon"),
            (r#"{"half_open": {"rate": {"calls": 1, "failure_rate": 2.0}}}"#, "failure_rate` is 2"),
        ] {
            let error = read(json).unwrap_err().to_string();
            assert!(error.contains(says), "{json}: {error}");
        }
    }
}
