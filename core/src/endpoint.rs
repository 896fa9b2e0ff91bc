//! Who can be called.

use std::{collections::BTreeMap, fmt, sync::Arc};

use crate::Address;

/// What identifies an endpoint over its whole life, whatever else of it changes.
///
/// Cheap to clone. Ordering is by bytes, so that two processes that see the same set agree on it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(transparent))]
pub struct EndpointId(Arc<str>);

impl EndpointId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<T: Into<Arc<str>>> From<T> for EndpointId {
    fn from(id: T) -> Self {
        Self(id.into())
    }
}

impl std::borrow::Borrow<str> for EndpointId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for EndpointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a registry says about the health of an endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "lowercase")
)]
pub enum Health {
    /// All is well.
    #[default]
    Passing,
    /// It works, but something is wrong.
    Warning,
    /// It does not work.
    Critical,
    /// An operator took it out.
    Maintenance,
}

/// One instance of a service that can be called.
///
/// ```
/// use seawall_core::Endpoint;
///
/// let endpoint = Endpoint::new("orders-1", "10.0.0.7:50051".parse()?)
///     .with_weight(5)
///     .with_zone("eu-1")
///     .with_tags(["canary"]);
/// assert_eq!(endpoint.id().as_str(), "orders-1");
/// # Ok::<(), seawall_core::AddressError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Endpoint {
    id: EndpointId,
    address: Address,
    #[cfg_attr(feature = "serde", serde(default = "default_weight"))]
    weight: u16,
    #[cfg_attr(feature = "serde", serde(default))]
    zone: Option<Arc<str>>,
    #[cfg_attr(feature = "serde", serde(default))]
    priority: u32,
    #[cfg_attr(feature = "serde", serde(default))]
    health: Health,
    #[cfg_attr(feature = "serde", serde(default))]
    tags: Vec<Arc<str>>,
    #[cfg_attr(feature = "serde", serde(default))]
    metadata: BTreeMap<Arc<str>, Arc<str>>,
}

#[cfg(feature = "serde")]
fn default_weight() -> u16 {
    1
}

impl Endpoint {
    /// An endpoint of weight 1 and priority 0, healthy, in no zone, without tags or metadata.
    pub fn new(id: impl Into<EndpointId>, address: Address) -> Self {
        Self {
            id: id.into(),
            address,
            weight: 1,
            zone: None,
            priority: 0,
            health: Health::Passing,
            tags: Vec::new(),
            metadata: BTreeMap::new(),
        }
    }

    /// The same endpoint under another id, for registries whose ids are not unique by themselves.
    #[must_use]
    #[inline]
    pub fn with_id(mut self, id: impl Into<EndpointId>) -> Self {
        self.id = id.into();
        self
    }

    /// Its share of the calls, relative to the others; 0 drains it.
    #[must_use]
    #[inline]
    pub fn with_weight(mut self, weight: u16) -> Self {
        self.weight = weight;
        self
    }

    /// Where it runs, for balancers that prefer the near.
    #[must_use]
    #[inline]
    pub fn with_zone(mut self, zone: impl Into<Arc<str>>) -> Self {
        self.zone = Some(zone.into());
        self
    }

    /// The tier it belongs to; 0 is used first, higher ones are for failover.
    #[must_use]
    #[inline]
    pub fn with_priority(mut self, priority: u32) -> Self {
        self.priority = priority;
        self
    }

    /// What the registry says of it.
    #[must_use]
    #[inline]
    pub fn with_health(mut self, health: Health) -> Self {
        self.health = health;
        self
    }

    /// Its tags, in place of those it had.
    #[must_use]
    #[inline]
    pub fn with_tags<T: Into<Arc<str>>>(mut self, tags: impl IntoIterator<Item = T>) -> Self {
        self.tags = tags.into_iter().map(Into::into).collect();
        self
    }

    /// One entry of its metadata, in place of one with the same key.
    #[must_use]
    #[inline]
    pub fn with_metadata(mut self, key: impl Into<Arc<str>>, value: impl Into<Arc<str>>) -> Self {
        self.metadata.insert(key.into(), value.into());
        self
    }

    /// What identifies it.
    pub fn id(&self) -> &EndpointId {
        &self.id
    }

    /// Where it listens.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Its share of the calls, relative to the others; 0 is drained.
    pub fn weight(&self) -> u16 {
        self.weight
    }

    /// Where it runs, if that is known.
    pub fn zone(&self) -> Option<&str> {
        self.zone.as_deref()
    }

    /// The tier it belongs to; 0 is used first.
    pub fn priority(&self) -> u32 {
        self.priority
    }

    /// What the registry says of it.
    pub fn health(&self) -> Health {
        self.health
    }

    /// Its tags, in the order of the registry.
    pub fn tags(&self) -> impl Iterator<Item = &str> {
        self.tags.iter().map(|tag| &**tag)
    }

    /// The metadata under `key`, if there is some.
    pub fn metadata(&self, key: &str) -> Option<&str> {
        self.metadata.get(key).map(|value| &**value)
    }

    /// All metadata, ordered by key.
    pub fn metadata_entries(&self) -> impl Iterator<Item = (&str, &str)> {
        self.metadata.iter().map(|(key, value)| (&**key, &**value))
    }
}

#[cfg(all(test, feature = "serde"))]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_round_trips_through_json() {
        let endpoint = Endpoint::new("a", "[::1]:80".parse().unwrap())
            .with_weight(0)
            .with_zone("z")
            .with_health(Health::Warning)
            .with_metadata("k", "v");
        let json = serde_json::to_string(&endpoint).unwrap();
        assert_eq!(serde_json::from_str::<Endpoint>(&json).unwrap(), endpoint);
        let short: Endpoint = serde_json::from_str(r#"{"id":"a","address":"h:1"}"#).unwrap();
        assert_eq!(short.weight(), 1);
        assert!(serde_json::from_str::<Endpoint>(r#"{"id":"a","address":"h"}"#).is_err());
    }
}
