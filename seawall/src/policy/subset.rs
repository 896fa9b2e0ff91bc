//! Parts of a service's endpoints, and how calls are divided.

use std::collections::BTreeMap;

use seawall_core::ConfigError;
use seawall_load_balance::Select;
use serde::{Deserialize, Serialize};

/// A named part of a service's endpoints, as in a `DestinationRule`.
///
/// ```
/// let policy = seawall::policy::Policy::from_yaml("
/// subsets:
///   - { name: canary, tag: canary }
///   - { name: stable, rest: true }
/// split:
///   - { subset: canary, weight: 5 }
///   - { subset: stable, weight: 95 }
/// ")?;
/// # policy.check()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Subset {
    /// What splits and routes call it.
    pub(crate) name: String,
    /// Endpoints with this tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tag: Option<String>,
    /// Endpoints with this value in their metadata: one entry.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) labels: BTreeMap<String, String>,
    /// What the subsets before it left.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) rest: bool,
}

impl Subset {
    fn named(name: impl Into<String>) -> Self {
        Self { name: name.into(), tag: None, labels: BTreeMap::new(), rest: false }
    }

    /// Endpoints with a tag.
    pub fn tagged(name: impl Into<String>, tag: impl Into<String>) -> Self {
        Self { tag: Some(tag.into()), ..Self::named(name) }
    }

    /// Endpoints with a value under a key of their metadata.
    pub fn labelled(
        name: impl Into<String>,
        key: impl Into<String>,
        value: impl Into<String>,
    ) -> Self {
        Self { labels: [(key.into(), value.into())].into(), ..Self::named(name) }
    }

    /// All endpoints that the subsets before it left.
    pub fn rest(name: impl Into<String>) -> Self {
        Self { rest: true, ..Self::named(name) }
    }

    pub(crate) fn select(&self) -> Result<Select, ConfigError> {
        let mut labels = self.labels.iter();
        match (&self.tag, labels.next(), self.rest) {
            (Some(tag), None, false) => Ok(Select::tag(tag.as_str())),
            (None, Some((key, value)), false) if labels.next().is_none() => {
                Ok(Select::metadata(key.as_str(), value.as_str()))
            }
            (None, None, true) => Ok(Select::Rest),
            _ => Err(ConfigError::new(
                self.name.clone(),
                "not one choice",
                "one of `tag`, `labels` with one entry, or `rest: true`",
            )),
        }
    }
}

/// How much of the calls goes to a subset, or to another service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Share {
    /// The service that this part goes to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) service: Option<String>,
    /// The subset that this part goes to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) subset: Option<String>,
    /// The size of the part, relative to the others.
    pub(crate) weight: u32,
}

impl Share {
    /// A part of the calls, relative to the other parts, for a subset of the service.
    pub fn of_subset(subset: impl Into<String>, weight: u32) -> Self {
        Self { service: None, subset: Some(subset.into()), weight }
    }

    /// A part of the calls, relative to the other parts, for a service.
    pub fn of_service(service: impl Into<String>, weight: u32) -> Self {
        Self { service: Some(service.into()), subset: None, weight }
    }
}

/// Refuses a split that leads nowhere.
pub(super) fn check_split(split: &[Share], subsets: &[Subset]) -> Result<(), ConfigError> {
    if !split.is_empty() && split.iter().all(|share| share.weight == 0) {
        return Err(ConfigError::new("split", "0 in all", "a weight above 0 in one part"));
    }
    for (at, share) in split.iter().enumerate() {
        let field = format!("split[{at}]");
        if share.service.is_some() == share.subset.is_some() {
            return Err(ConfigError::new(field, "no one target", "a `subset` or a `service`"));
        }
        if let Some(subset) = &share.subset {
            check_subset(subset, subsets).map_err(|error| error.within(&field))?;
        }
    }
    Ok(())
}

pub(super) fn check_subset(subset: &str, subsets: &[Subset]) -> Result<(), ConfigError> {
    if subsets.iter().any(|known| known.name == subset) {
        return Ok(());
    }
    let known: Vec<_> = subsets.iter().map(|subset| subset.name.as_str()).collect();
    let want = if known.is_empty() {
        "one of `subsets`, of which there are none".to_owned()
    } else {
        format!("one of the subsets {}", known.join(", "))
    };
    Err(ConfigError::new("subset", subset, want))
}
