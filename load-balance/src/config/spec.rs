//! Configurations in files.

mod policy;

use std::{collections::BTreeMap, fmt, marker::PhantomData, sync::Arc, time::Duration};

use seawall_core::{ConfigError, duration};
use serde::{
    Deserialize, Deserializer,
    de::{Error, IntoDeserializer, MapAccess, Unexpected, Visitor, value::MapAccessDeserializer},
};

use self::policy::PolicySpec;
use super::Config;
use crate::{Ejection, Failover, Select, SlowStart, Split, Subset, ZoneAware};

/// The settings as a file has them: those of the builder by their names, durations as `250ms`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Spec {
    name: Option<Arc<str>>,
    #[serde(default, with = "duration::option")]
    retry_after: Option<Duration>,
    policy: Option<PolicySpec>,
    subset: Option<SubsetSpec>,
    failover: Option<FailoverSpec>,
    zone_aware: Option<ZoneSpec>,
    split: Option<Vec<PartSpec>>,
    #[serde(default, with = "duration::option")]
    wait_for_endpoints: Option<Duration>,
    max_picks: Option<u8>,
    ejection: Option<OrOff<Ejection>>,
    slow_start: Option<SlowStartSpec>,
    #[serde(default, with = "duration::option")]
    warm_up: Option<Duration>,
    panic_threshold: Option<u8>,
    seed: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SubsetSpec {
    client: u32,
    size: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FailoverSpec {
    overprovisioning: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ZoneSpec {
    zone: Arc<str>,
    min_endpoints: Option<usize>,
    #[serde(default)]
    clients: BTreeMap<Arc<str>, u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PartSpec {
    name: Arc<str>,
    select: SelectSpec,
    weight: u32,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum SelectSpec {
    Tag(Arc<str>),
    Metadata { key: Arc<str>, value: Arc<str> },
    Rest,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SlowStartSpec {
    #[serde(with = "duration")]
    window: Duration,
    min_percent: Option<u8>,
    aggression: Option<f64>,
}

impl TryFrom<Spec> for Config {
    type Error = ConfigError;

    fn try_from(spec: Spec) -> Result<Self, ConfigError> {
        let mut builder = Self::builder();
        if let Some(name) = spec.name {
            builder = builder.name(name);
        }
        if let Some(longest) = spec.retry_after {
            builder = builder.retry_after(longest);
        }
        if let Some(policy) = spec.policy {
            builder = builder.policy(policy.into_policy()?);
        }
        if let Some(SubsetSpec { client, size }) = spec.subset {
            builder = builder.subset(Subset::new(client, size));
        }
        if let Some(FailoverSpec { overprovisioning }) = spec.failover {
            builder = builder.failover(Failover::new().with_overprovisioning(overprovisioning));
        }
        if let Some(zones) = spec.zone_aware {
            builder = builder.zone_aware(zones.into_zones());
        }
        if let Some(parts) = spec.split {
            builder = builder.split(parts.into_iter().fold(Split::new(), |split, part| {
                split.with_subset(part.name, part.select.into_select(), part.weight)
            }));
        }
        if let Some(wait) = spec.wait_for_endpoints {
            builder = builder.wait_for_endpoints(wait);
        }
        if let Some(picks) = spec.max_picks {
            builder = builder.max_picks(picks);
        }
        if let Some(OrOff(ejection)) = spec.ejection {
            builder = builder.ejection(ejection);
        }
        if let Some(slow_start) = spec.slow_start {
            builder = builder.slow_start(slow_start.into_slow_start());
        }
        if let Some(limit) = spec.warm_up {
            builder = builder.warm_up(limit);
        }
        if let Some(percent) = spec.panic_threshold {
            builder = builder.panic_threshold(percent);
        }
        if let Some(seed) = spec.seed {
            builder = builder.seed(seed);
        }
        builder.build()
    }
}

impl ZoneSpec {
    fn into_zones(self) -> ZoneAware {
        let mut zones = ZoneAware::new(self.zone);
        if let Some(endpoints) = self.min_endpoints {
            zones = zones.with_min_endpoints(endpoints);
        }
        self.clients.into_iter().fold(zones, |zones, (zone, count)| zones.with_clients(zone, count))
    }
}

impl SelectSpec {
    fn into_select(self) -> Select {
        match self {
            Self::Tag(tag) => Select::Tag(tag),
            Self::Metadata { key, value } => Select::Metadata(key, value),
            Self::Rest => Select::Rest,
        }
    }
}

impl SlowStartSpec {
    fn into_slow_start(self) -> SlowStart {
        let mut slow_start = SlowStart::new(self.window);
        if let Some(percent) = self.min_percent {
            slow_start = slow_start.with_min_percent(percent);
        }
        if let Some(aggression) = self.aggression {
            slow_start = slow_start.with_aggression(aggression);
        }
        slow_start
    }
}

/// A value, or `false` for what is on unless a file says otherwise.
struct OrOff<T>(Option<T>);

/// Reads a number, or `false` for none.
pub(crate) fn or_off<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u32>, D::Error> {
    OrOff::deserialize(from).map(|OrOff(value)| value)
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for OrOff<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(OrOffVisitor(PhantomData))
    }
}

struct OrOffVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for OrOffVisitor<T> {
    type Value = OrOff<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value, or `false` for none")
    }

    fn visit_bool<E: Error>(self, on: bool) -> Result<OrOff<T>, E> {
        if on { Err(E::invalid_value(Unexpected::Bool(on), &self)) } else { Ok(OrOff(None)) }
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<OrOff<T>, E> {
        T::deserialize(number.into_deserializer()).map(|value| OrOff(Some(value)))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<OrOff<T>, E> {
        T::deserialize(number.into_deserializer()).map(|value| OrOff(Some(value)))
    }

    fn visit_map<M: MapAccess<'de>>(self, map: M) -> Result<OrOff<T>, M::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(|value| OrOff(Some(value)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        AbsentKey, ConsistentHash, FailurePercentage, Maglev, PeakEwma, Policy, Ring, SuccessRate,
    };

    fn read(json: &str) -> Result<Config, serde_json::Error> {
        serde_json::from_str(json)
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn every_setting_can_stand_in_a_file() {
        let config = read(
            r#"{
                "name": "orders", "retry_after": "1m", "policy": "round_robin",
                "subset": {"client": 3, "size": 20}, "failover": {"overprovisioning": 150},
                "zone_aware": {"zone": "a", "min_endpoints": 4, "clients": {"a": 2, "b": 1}},
                "split": [
                    {"name": "canary", "select": {"tag": "canary"}, "weight": 5},
                    {"name": "old", "select": {"metadata": {"key": "v", "value": "1"}}, "weight": 0},
                    {"name": "stable", "select": "rest", "weight": 95}
                ],
                "wait_for_endpoints": "250ms", "max_picks": 3,
                "ejection": {
                    "consecutive_failures": 7, "consecutive_gateway_failures": 6,
                    "consecutive_local_failures": 2, "enforcement_percent": 90,
                    "success_rate": {"factor": 2.5, "minimum_endpoints": 3, "minimum_calls": 9,
                                     "enforcement_percent": 80},
                    "failure_percentage": {"threshold": 60, "minimum_endpoints": 2,
                                           "minimum_calls": 8, "enforcement_percent": 70},
                    "interval": "5s", "base_time": "20s", "max_time": "2m", "jitter": "1s",
                    "max_percent": 30, "last": true, "abandoned_after": "200ms"
                },
                "slow_start": {"window": "30s", "min_percent": 5, "aggression": 1.5},
                "warm_up": "2s", "panic_threshold": 40, "seed": 9
            }"#,
        )
        .unwrap();
        let success = SuccessRate::new()
            .with_factor(2.5)
            .with_minimum_endpoints(3)
            .with_minimum_calls(9)
            .with_enforcement_percent(80);
        let failure = FailurePercentage::new()
            .with_threshold(60)
            .with_minimum_endpoints(2)
            .with_minimum_calls(8)
            .with_enforcement_percent(70);
        let ejection = Ejection::new()
            .with_consecutive_failures(7)
            .with_consecutive_gateway_failures(6)
            .with_consecutive_local_failures(2)
            .with_enforcement_percent(90)
            .with_success_rate(success)
            .with_failure_percentage(failure)
            .with_interval(5 * SECOND)
            .with_base_time(20 * SECOND)
            .with_max_time(120 * SECOND)
            .with_jitter(SECOND)
            .with_max_percent(30)
            .with_last(true)
            .with_abandoned_after(Duration::from_millis(200));
        let zones = ZoneAware::new("a").with_min_endpoints(4);
        let split = Split::new()
            .with_subset("canary", Select::tag("canary"), 5)
            .with_subset("old", Select::metadata("v", "1"), 0)
            .with_subset("stable", Select::Rest, 95);
        let slow_start = SlowStart::new(30 * SECOND).with_min_percent(5).with_aggression(1.5);
        let same = Config::builder()
            .name("orders")
            .retry_after(60 * SECOND)
            .policy(Policy::RoundRobin)
            .subset(Subset::new(3, 20))
            .failover(Failover::new().with_overprovisioning(150))
            .zone_aware(zones.with_clients("a", 2).with_clients("b", 1))
            .split(split)
            .wait_for_endpoints(Duration::from_millis(250))
            .max_picks(3)
            .ejection(ejection)
            .slow_start(slow_start)
            .warm_up(2 * SECOND)
            .panic_threshold(40)
            .seed(9)
            .build()
            .unwrap();
        assert_eq!(format!("{config:?}"), format!("{same:?}"));
    }

    #[test]
    fn an_empty_file_is_the_default_and_what_is_on_can_be_turned_off() {
        let config = read("{}").unwrap();
        assert_eq!(format!("{config:?}"), format!("{:?}", Config::default()));
        assert_eq!(read(r#"{"ejection": {}}"#).unwrap().ejection, Some(Ejection::new()));
        assert_eq!(read(r#"{"ejection": false}"#).unwrap().ejection, None);
        let rates = read(r#"{"ejection": {"consecutive_failures": false}}"#).unwrap();
        assert_eq!(rates.ejection, Some(Ejection::new().without_consecutive_failures()));
    }

    #[test]
    fn policies_go_by_name_and_some_have_settings() {
        let hash = |hash| Policy::ConsistentHash(hash);
        let ring = ConsistentHash::ring(Ring::ketama().with_points(40).with_max_points(2048));
        let maglev = ConsistentHash::maglev(Maglev::new().with_cells(251)).with_seed(3);
        let ewma = PeakEwma::new().with_decay(5 * SECOND).with_failure_penalty(2 * SECOND);
        for (json, policy) in [
            (r#""p2c""#, Policy::PowerOfTwo),
            (r#""power_of_two""#, Policy::PowerOfTwo),
            (r#""peak_ewma""#, Policy::PeakEwma(PeakEwma::new())),
            (r#""round_robin""#, Policy::RoundRobin),
            (r#""random""#, Policy::Random),
            (r#""least_in_flight""#, Policy::LeastInFlight),
            (r#""ring""#, hash(ConsistentHash::ring(Ring::new()))),
            (r#""maglev""#, hash(ConsistentHash::maglev(Maglev::new()))),
            (r#""rendezvous""#, hash(ConsistentHash::rendezvous())),
            (r#"{"peak_ewma": {"decay": "5s", "failure_penalty": "2s"}}"#, Policy::PeakEwma(ewma)),
            (
                r#"{"ring": {"points": 40, "max_points": 2048, "ketama": true,
                             "bounded_load": 125, "absent_key": "round_robin"}}"#,
                hash(ring.with_bounded_load(125).with_absent_key(AbsentKey::RoundRobin)),
            ),
            (r#"{"maglev": {"cells": 251, "seed": 3}}"#, hash(maglev)),
            (
                r#"{"rendezvous": {"absent_key": "first"}}"#,
                hash(ConsistentHash::rendezvous().with_absent_key(AbsentKey::First)),
            ),
        ] {
            let config = read(&format!(r#"{{"policy": {json}}}"#)).unwrap();
            assert_eq!(config.policy, policy, "{json}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (json, says) in [
            (r#"{"polcy": "p2c"}"#, "unknown field `polcy`"),
            (r#"{"ejection": {"max": 1}}"#, "unknown field `max`"),
            (r#"{"max_picks": 9}"#, "`max_picks` is 9, but must be 1 to 8"),
            (r#"{"wait_for_endpoints": 5}"#, "invalid type: integer `5`"),
            (r#"{"wait_for_endpoints": "soon"}"#, "soon"),
            (r#"{"ejection": true}"#, "`false` for none"),
            (
                r#"{"ejection": {"consecutive_failures": 0}}"#,
                "`ejection.consecutive_failures` is 0",
            ),
            (
                r#"{"ejection": {"success_rate": {"factor": -1.0}}}"#,
                "`ejection.success_rate.factor` is -1, but must be 0 to 1000",
            ),
            (r#"{"slow_start": {"window": "0s"}}"#, "`slow_start.window` is 0s"),
            (r#"{"slow_start": {}}"#, "missing field `window`"),
            (r#"{"panic_threshold": 101}"#, "`panic_threshold` is 101, but must be 0 to 100"),
            (r#"{"split": []}"#, "`split.weight`"),
            (
                r#"{"policy": "fastest"}"#,
                "unknown variant `fastest`, expected one of `power_of_two`",
            ),
            (r#"{"policy": {"fastest": {}}}"#, "unknown variant `fastest`"),
            (r#"{"policy": {}}"#, "the name of a policy"),
            (r#"{"policy": {"ring": {}, "maglev": {}}}"#, "the name of a policy"),
            (r#"{"policy": {"ring": {"cells": 7}}}"#, "unknown field `cells`"),
            (r#"{"policy": {"ring": {"points": 0}}}"#, "`policy.ring.points` is 0, but must be 1"),
            (r#"{"policy": {"maglev": {"cells": 4}}}"#, "`policy.maglev.cells` is 4"),
            (r#"{"policy": {"ring": {"bounded_load": 99}}}"#, "`policy.ring.bounded_load` is 99"),
            (r#"{"policy": {"peak_ewma": {"decay": "0s"}}}"#, "`policy.peak_ewma.decay` is 0ns"),
        ] {
            let error = read(json).err().map(|error| error.to_string()).unwrap_or_default();
            assert!(error.contains(says), "{json}: {error}");
        }
    }
}
