//! Policies in files: a name alone, or a name with settings.

use std::{fmt, time::Duration};

use seawall_core::{ConfigError, duration};
use serde::{
    Deserialize, Deserializer,
    de::{Error, IgnoredAny, MapAccess, Visitor},
};

use crate::{AbsentKey, ConsistentHash, Maglev, PeakEwma, Policy, Ring};

/// `"p2c"`, or `{"peak_ewma": {"decay": "5s"}}`.
pub(super) enum PolicySpec {
    Plain(Policy),
    PeakEwma(PeakEwmaSpec),
    Ring(RingSpec),
    Maglev(MaglevSpec),
    Rendezvous(RendezvousSpec),
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct PeakEwmaSpec {
    #[serde(with = "duration::option")]
    decay: Option<Duration>,
    #[serde(with = "duration::option")]
    failure_penalty: Option<Duration>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RingSpec {
    points: Option<u32>,
    max_points: Option<u32>,
    ketama: bool,
    bounded_load: Option<u32>,
    absent_key: Absent,
    seed: u64,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct MaglevSpec {
    cells: Option<u32>,
    bounded_load: Option<u32>,
    absent_key: Absent,
    seed: u64,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RendezvousSpec {
    bounded_load: Option<u32>,
    absent_key: Absent,
    seed: u64,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Absent {
    #[default]
    Random,
    RoundRobin,
    First,
}

const NAMES: &[&str] = &[
    "power_of_two",
    "p2c",
    "peak_ewma",
    "round_robin",
    "random",
    "least_in_flight",
    "ring",
    "maglev",
    "rendezvous",
];

const WITH_SETTINGS: &[&str] = &["peak_ewma", "ring", "maglev", "rendezvous"];

impl<'de> Deserialize<'de> for PolicySpec {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(PolicyVisitor)
    }
}

struct PolicyVisitor;

impl<'de> Visitor<'de> for PolicyVisitor {
    type Value = PolicySpec;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a policy, or a map from one name to its settings")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<PolicySpec, E> {
        Ok(match name {
            "power_of_two" | "p2c" => PolicySpec::Plain(Policy::PowerOfTwo),
            "round_robin" => PolicySpec::Plain(Policy::RoundRobin),
            "random" => PolicySpec::Plain(Policy::Random),
            "least_in_flight" => PolicySpec::Plain(Policy::LeastInFlight),
            "peak_ewma" => PolicySpec::PeakEwma(PeakEwmaSpec::default()),
            "ring" => PolicySpec::Ring(RingSpec::default()),
            "maglev" => PolicySpec::Maglev(MaglevSpec::default()),
            "rendezvous" => PolicySpec::Rendezvous(RendezvousSpec::default()),
            _ => return Err(E::unknown_variant(name, NAMES)),
        })
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<PolicySpec, M::Error> {
        let Some(name) = map.next_key::<String>()? else {
            return Err(M::Error::invalid_length(0, &self));
        };
        let spec = match name.as_str() {
            "peak_ewma" => PolicySpec::PeakEwma(map.next_value()?),
            "ring" => PolicySpec::Ring(map.next_value()?),
            "maglev" => PolicySpec::Maglev(map.next_value()?),
            "rendezvous" => PolicySpec::Rendezvous(map.next_value()?),
            _ => return Err(M::Error::unknown_variant(&name, WITH_SETTINGS)),
        };
        match map.next_key::<IgnoredAny>()? {
            None => Ok(spec),
            Some(_) => Err(M::Error::invalid_length(2, &self)),
        }
    }
}

impl PolicySpec {
    /// The policy, checked here so that an error has the path that the file has.
    pub(super) fn into_policy(self) -> Result<Policy, ConfigError> {
        let (name, policy) = match self {
            Self::Plain(policy) => return Ok(policy),
            Self::PeakEwma(spec) => ("peak_ewma", spec.into_policy()),
            Self::Ring(spec) => ("ring", spec.into_policy()),
            Self::Maglev(spec) => ("maglev", spec.into_policy()),
            Self::Rendezvous(spec) => {
                let RendezvousSpec { bounded_load, absent_key, seed } = spec;
                let hash = ConsistentHash::rendezvous();
                ("rendezvous", hashed(hash, bounded_load, absent_key, seed))
            }
        };
        policy.check().map_err(|error| {
            let field = error.field().rsplit('.').next().unwrap_or_default().to_owned();
            let (value, allowed) = (error.value(), error.allowed().to_owned());
            ConfigError::new(field, value, allowed).within(name).within("policy")
        })?;
        Ok(policy)
    }
}

impl PeakEwmaSpec {
    fn into_policy(self) -> Policy {
        let mut ewma = PeakEwma::new();
        if let Some(decay) = self.decay {
            ewma = ewma.with_decay(decay);
        }
        if let Some(penalty) = self.failure_penalty {
            ewma = ewma.with_failure_penalty(penalty);
        }
        Policy::PeakEwma(ewma)
    }
}

impl RingSpec {
    fn into_policy(self) -> Policy {
        let mut ring = if self.ketama { Ring::ketama() } else { Ring::new() };
        if let Some(points) = self.points {
            ring = ring.with_points(points);
        }
        if let Some(max) = self.max_points {
            ring = ring.with_max_points(max);
        }
        hashed(ConsistentHash::ring(ring), self.bounded_load, self.absent_key, self.seed)
    }
}

impl MaglevSpec {
    fn into_policy(self) -> Policy {
        let mut maglev = Maglev::new();
        if let Some(cells) = self.cells {
            maglev = maglev.with_cells(cells);
        }
        hashed(ConsistentHash::maglev(maglev), self.bounded_load, self.absent_key, self.seed)
    }
}

fn hashed(hash: ConsistentHash, bound: Option<u32>, absent: Absent, seed: u64) -> Policy {
    let hash = hash.with_seed(seed).with_absent_key(match absent {
        Absent::Random => AbsentKey::Random,
        Absent::RoundRobin => AbsentKey::RoundRobin,
        Absent::First => AbsentKey::First,
    });
    Policy::ConsistentHash(match bound {
        Some(percent) => hash.with_bounded_load(percent),
        None => hash,
    })
}
