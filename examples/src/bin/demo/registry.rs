//! Where the servers are registered: by the parent, which stops the heartbeats of one that died.

use std::{collections::BTreeMap, time::Duration};

use seawall::{
    core::Address,
    discovery::{Consul, Lease, Memory, RegisterError, Registrar, Registration, Resolver},
};

/// The registry of a run, with what is registered there.
#[derive(Debug)]
pub(crate) struct Registry {
    place: Place,
    service: String,
    ttl: Duration,
    /// `None` for those whose heartbeats stopped.
    leases: BTreeMap<String, Option<Lease>>,
}

#[derive(Debug)]
enum Place {
    Memory(Memory),
    Consul(Consul),
}

impl Registry {
    pub(crate) fn memory(service: &str, ttl: Duration) -> Self {
        Self::new(Place::Memory(Memory::new()), service, ttl)
    }

    /// # Errors
    ///
    /// When no agent with a leader answers at `url`.
    pub(crate) async fn consul(
        url: &str,
        service: &str,
        ttl: Duration,
    ) -> Result<Self, RegisterError> {
        let consul = Consul::new(url.trim_end_matches('/'))?;
        consul.ping().await?;
        Ok(Self::new(Place::Consul(consul), service, ttl))
    }

    fn new(place: Place, service: &str, ttl: Duration) -> Self {
        // Registries count whole milliseconds.
        let ttl = Duration::from_millis(ttl.as_millis() as u64);
        Self { place, service: service.to_owned(), ttl, leases: BTreeMap::new() }
    }

    /// What the clients ask for endpoints.
    pub(crate) fn resolver(&self) -> std::sync::Arc<dyn Resolver> {
        match &self.place {
            Place::Memory(memory) => std::sync::Arc::new(memory.clone()),
            Place::Consul(consul) => std::sync::Arc::new(consul.clone()),
        }
    }

    pub(crate) fn ttl(&self) -> Duration {
        self.ttl
    }

    /// Registers a server at `port` of this machine, in place of an earlier one of this name.
    pub(crate) async fn register(&mut self, name: &str, port: u16) -> Result<(), RegisterError> {
        let address =
            Address::new("127.0.0.1", port).expect("the port of a server that listens is not 0");
        let registration = Registration::builder(self.service.as_str(), address)
            .id(name)
            .ttl(self.ttl)
            // The least that Consul does, should this process be killed.
            .forget_after(Duration::from_secs(60))
            .build()?;
        // Noted before it is tried: an answer that got lost may still have registered it.
        self.leases.entry(name.to_owned()).or_default();
        let lease = match &self.place {
            Place::Memory(memory) => memory.register(registration).await,
            Place::Consul(consul) => consul.register(registration).await,
        }?;
        if let Some(Some(before)) = self.leases.insert(name.to_owned(), Some(lease)) {
            before.abandon();
        }
        Ok(())
    }

    /// Stops the heartbeats of a server that died or hangs, as its own process would: its
    /// registration outlives it until the TTL has passed.
    pub(crate) fn fall_silent(&mut self, name: &str) {
        if let Some(lease) = self.leases.get_mut(name).and_then(Option::take) {
            lease.abandon();
        }
    }

    /// Takes everything out; names what may have stayed behind.
    pub(crate) async fn close(&mut self) -> Vec<String> {
        let mut left = Vec::new();
        for (name, lease) in std::mem::take(&mut self.leases) {
            let gone = match (lease, &self.place) {
                (Some(lease), _) => lease.shutdown().await.is_ok(),
                (None, Place::Consul(consul)) => consul.deregister(&name).await.is_ok(),
                (None, Place::Memory(_)) => true,
            };
            if !gone {
                left.push(name);
            }
        }
        left
    }
}
