//! Configurations in files.

use std::fmt;

use seawall_core::ConfigError;
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{Error, MapAccess, Visitor, value::MapAccessDeserializer},
};

use super::Config;
use crate::Quota;

/// The settings as a file has them.
#[derive(Serialize)]
#[serde(untagged)]
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

/// By hand, because an untagged enum does not say which field is unknown.
impl<'de> Deserialize<'de> for Spec {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct TextOrFields;

        impl<'de> Visitor<'de> for TextOrFields {
            type Value = Spec;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a quota, as in \"100/s burst 200\", or a map with a `quota`")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Spec, E> {
                Ok(Spec::Text(text.to_owned()))
            }

            fn visit_map<M: MapAccess<'de>>(self, map: M) -> Result<Spec, M::Error> {
                Fields::deserialize(MapAccessDeserializer::new(map)).map(Spec::Fields)
            }
        }

        from.deserialize_any(TextOrFields)
    }
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
