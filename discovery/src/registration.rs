//! What a service says of itself to a registry.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use seawall_core::{Address, ConfigError, Endpoint, Health};

mod builder;
mod check;

pub use builder::RegistrationBuilder;
pub use check::Check;
#[cfg(any(feature = "consul", feature = "consulrs"))]
pub(crate) use check::Kind;

/// The metadata under which the zone travels through registries that have no field for it.
pub(crate) const ZONE: &str = "zone";

/// One instance of a service, as it is registered.
///
/// Checked when it is built: what any of the registries would refuse or silently bend is refused
/// for all of them, so that a program that moves from [`Memory`](crate::Memory) to Consul meets no
/// surprise.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use seawall_discovery::Registration;
///
/// let registration = Registration::builder("orders", "10.0.0.7:50051".parse()?)
///     .weight(5)
///     .tags(["canary"])
///     .ttl(Duration::from_secs(9))
///     .build()?;
/// assert_eq!(registration.id(), "orders-10.0.0.7-50051");
///
/// let refused = Registration::builder("orders", "10.0.0.7:50051".parse()?).weight(0).build();
/// assert_eq!(
///     refused.unwrap_err().to_string(),
///     "`weight` is 0, but must be 1 to 65535: warning or critical health takes calls away",
/// );
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    pub(crate) service: Arc<str>,
    pub(crate) id: Arc<str>,
    pub(crate) address: Address,
    pub(crate) weight: u16,
    pub(crate) warning_weight: u16,
    pub(crate) zone: Option<Arc<str>>,
    pub(crate) tags: Vec<Arc<str>>,
    pub(crate) metadata: BTreeMap<Arc<str>, Arc<str>>,
    pub(crate) health: Health,
    pub(crate) ttl: Option<Duration>,
    pub(crate) checks: Vec<Check>,
    pub(crate) forget_after: Option<Duration>,
    pub(crate) shutdown_timeout: Duration,
}

impl Registration {
    /// An instance of `service` at `address`, with the defaults of [`Registration::builder`].
    ///
    /// # Errors
    ///
    /// When the name of the service is not one that all registries take.
    pub fn new(service: impl Into<Arc<str>>, address: Address) -> Result<Self, ConfigError> {
        Self::builder(service, address).build()
    }

    /// Starts the description of an instance of `service` at `address`.
    pub fn builder(service: impl Into<Arc<str>>, address: Address) -> RegistrationBuilder {
        RegistrationBuilder::new(service.into(), address)
    }

    /// The name of the service.
    pub fn service(&self) -> &str {
        &self.service
    }

    /// What identifies this instance in the registry.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Where the instance listens.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Its share of the calls while it is passing.
    pub fn weight(&self) -> u16 {
        self.weight
    }

    /// How long it counts as alive after a heartbeat, if it sends any.
    pub fn ttl(&self) -> Option<Duration> {
        self.ttl
    }

    /// How long [`Lease::shutdown`](crate::Lease::shutdown) takes at most.
    pub fn shutdown_timeout(&self) -> Duration {
        self.shutdown_timeout
    }

    /// The endpoint that others see, or `None` while they are not to call it.
    pub(crate) fn endpoint(&self, health: Health) -> Option<Endpoint> {
        let weight = match health {
            Health::Passing => self.weight,
            Health::Warning => self.warning_weight,
            Health::Critical | Health::Maintenance => return None,
        };
        let mut endpoint = Endpoint::new(Arc::clone(&self.id), self.address.clone())
            .with_weight(weight)
            .with_health(health)
            .with_tags(self.tags.iter().cloned());
        if let Some(zone) = &self.zone {
            endpoint = endpoint.with_zone(Arc::clone(zone));
        }
        for (key, value) in &self.metadata {
            endpoint = endpoint.with_metadata(Arc::clone(key), Arc::clone(value));
        }
        Some(endpoint)
    }
}
