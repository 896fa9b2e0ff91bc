//! Who can be called.

use std::{
    collections::BTreeMap,
    error::Error as StdError,
    fmt,
    net::{IpAddr, SocketAddr},
    str::FromStr,
    sync::Arc,
};

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

/// Where an endpoint listens: a host name or an IP address, and a port.
///
/// ```
/// use seawall_core::Address;
///
/// let address: Address = "[::1]:50051".parse()?;
/// assert_eq!((address.host(), address.port()), ("::1", 50051));
/// assert_eq!(address.to_string(), "[::1]:50051");
/// assert!("orders.internal".parse::<Address>().is_err());
/// # Ok::<(), seawall_core::AddressError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(into = "String", try_from = "String")
)]
pub struct Address {
    host: Arc<str>,
    port: u16,
}

impl Address {
    /// The address `host`:`port`.
    ///
    /// # Errors
    ///
    /// When `host` is no IP address (an IPv6 one may stand in brackets) and holds anything but the
    /// letters, digits, `-`, `.` and `_` of a host name, or when `port` is 0.
    pub fn new(host: &str, port: u16) -> Result<Self, AddressError> {
        let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
        let named = !bare.is_empty()
            && bare.len() <= 253
            && bare.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'));
        let known = match bare.parse::<IpAddr>() {
            Ok(IpAddr::V6(_)) => true,
            Ok(IpAddr::V4(_)) | Err(_) => named && bare.len() == host.len(),
        };
        if !known || port == 0 {
            return Err(AddressError { text: format!("{host}:{port}") });
        }
        Ok(Self { host: bare.into(), port })
    }

    /// The host name or IP address, without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, never 0.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let refused = || AddressError { text: text.to_owned() };
        let (host, port) = text.rsplit_once(':').ok_or_else(refused)?;
        // `::1:80` would be read as one address or another; brackets say which.
        if host.contains(':') && !host.starts_with('[') {
            return Err(refused());
        }
        Self::new(host, port.parse().map_err(|_| refused())?).map_err(|_| refused())
    }
}

impl TryFrom<String> for Address {
    type Error = AddressError;

    fn try_from(text: String) -> Result<Self, AddressError> {
        text.parse()
    }
}

impl TryFrom<SocketAddr> for Address {
    type Error = AddressError;

    /// # Errors
    ///
    /// When the port is 0.
    fn try_from(address: SocketAddr) -> Result<Self, AddressError> {
        Self::new(&address.ip().to_string(), address.port())
    }
}

impl From<Address> for String {
    fn from(address: Address) -> Self {
        address.to_string()
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// A text that is not the address of an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressError {
    text: String,
}

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is no address: want host:port with a port from 1 to 65535", self.text)
    }
}

impl StdError for AddressError {}

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
    pub fn with_id(mut self, id: impl Into<EndpointId>) -> Self {
        self.id = id.into();
        self
    }

    /// Its share of the calls, relative to the others; 0 drains it.
    #[must_use]
    pub fn with_weight(mut self, weight: u16) -> Self {
        self.weight = weight;
        self
    }

    /// Where it runs, for balancers that prefer the near.
    #[must_use]
    pub fn with_zone(mut self, zone: impl Into<Arc<str>>) -> Self {
        self.zone = Some(zone.into());
        self
    }

    /// The tier it belongs to; 0 is used first, higher ones are for failover.
    #[must_use]
    pub fn with_priority(mut self, priority: u32) -> Self {
        self.priority = priority;
        self
    }

    /// What the registry says of it.
    #[must_use]
    pub fn with_health(mut self, health: Health) -> Self {
        self.health = health;
        self
    }

    /// Its tags, in place of those it had.
    #[must_use]
    pub fn with_tags<T: Into<Arc<str>>>(mut self, tags: impl IntoIterator<Item = T>) -> Self {
        self.tags = tags.into_iter().map(Into::into).collect();
        self
    }

    /// One entry of its metadata, in place of one with the same key.
    #[must_use]
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_cannot_be_called_are_refused() {
        for text in [
            "",
            ":80",
            "host",
            "host:0",
            "host:70000",
            "host:-1",
            "::1:80",
            "a b:80",
            "h\u{e9}:80",
            "[host]:80",
            "[127.0.0.1]:80",
            "[::1:80",
            "host:",
            "http://host:80",
            "a:80:80",
        ] {
            let error = text.parse::<Address>().expect_err(text);
            assert!(error.to_string().contains(text), "{error}");
        }
    }

    #[test]
    fn addresses_round_trip_through_their_text() {
        for text in ["127.0.0.1:80", "[2001:db8::1]:443", "orders.svc_1-x.local:65535"] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
        assert_eq!(Address::new("::1", 1).unwrap().to_string(), "[::1]:1");
    }

    #[cfg(feature = "serde")]
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
