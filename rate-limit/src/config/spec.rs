//! Configurations in files.

use seawall_core::ConfigError;
use serde::{Deserialize, Serialize};

use super::Config;
use crate::Quota;

/// The settings as a file has them.
#[derive(Deserialize, Serialize)]
#[serde(untagged, expecting = "a quota, as in \"100/s burst 200\", or a map with a `quota`")]
pub(super) enum Spec {
    Text(String),
    Fields(Fields),
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Fields {
    quota: OneOrMore,
    #[serde(default)]
    reserve: u32,
    #[serde(default)]
    shadow: bool,
}

#[derive(Deserialize, Serialize)]
#[serde(untagged)]
enum OneOrMore {
    One(String),
    More(Vec<String>),
}

impl TryFrom<Spec> for Config {
    type Error = ConfigError;

    fn try_from(spec: Spec) -> Result<Self, ConfigError> {
        let fields = match spec {
            Spec::Text(quota) => return quota.parse::<Quota>().map(Self::new),
            Spec::Fields(fields) => fields,
        };
        let quotas = match fields.quota {
            OneOrMore::One(quota) => vec![quota],
            OneOrMore::More(quotas) => quotas,
        };
        if quotas.is_empty() {
            return Err(ConfigError::new("quota", "an empty list", "one quota or more"));
        }
        let quotas = quotas.iter().map(|quota| quota.parse()).collect::<Result<Vec<_>, _>>()?;
        Ok(Self { quotas, reserve: fields.reserve, shadow: fields.shadow })
    }
}

impl From<Config> for Spec {
    fn from(config: Config) -> Self {
        let Config { quotas, reserve, shadow } = config;
        let texts: Vec<_> = quotas.iter().map(Quota::to_string).collect();
        Self::Fields(Fields { quota: OneOrMore::More(texts), reserve, shadow })
    }
}
