//! A registry inside the process.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures_core::future::BoxFuture;
use seawall_core::{Endpoint, Health};
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

use crate::{
    Agent, Lease, Publisher, RegisterError, Registrar, Registration, Resolver, Watch, hub::Hub,
};

/// A registry inside the process, for tests, for demonstrations, and for a program that talks to
/// itself.
///
/// Clones are handles to the same registry, so that several "nodes" in one process can register
/// with it and find each other. Leases mean what they mean elsewhere: an instance whose heartbeats
/// stop is gone from the set after its TTL, comes back with the next heartbeat, and is forgotten
/// after [`forget_after`](crate::RegistrationBuilder::forget_after).
///
/// Watches see a change before the call that made it returns.
///
/// # Examples
///
/// ```
/// use futures::StreamExt as _;
/// use seawall_discovery::{Memory, Registrar as _, Registration, Resolver as _};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let registry = Memory::new();
/// let node = registry.clone();
/// let lease = node.register(Registration::new("orders", "10.0.0.7:80".parse()?)?).await?;
///
/// let mut watch = registry.watch("orders");
/// assert_eq!(watch.next().await.map(|batch| batch.len()), Some(1));
/// # lease.shutdown().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Default)]
pub struct Memory {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    instances: Mutex<BTreeMap<Arc<str>, Instance>>,
    hub: Hub,
    /// An expiry may be nearer than the one that is waited for.
    changed: Notify,
}

struct Instance {
    registration: Registration,
    health: Health,
    heard: Instant,
}

impl Instance {
    fn service(&self) -> &str {
        &self.registration.service
    }

    /// When it becomes critical for lack of heartbeats.
    fn expires(&self) -> Option<Instant> {
        self.registration.ttl.map(|ttl| self.heard + ttl)
    }

    /// When it is forgotten for lack of heartbeats.
    fn forgotten(&self) -> Option<Instant> {
        Some(self.expires()? + self.registration.forget_after?)
    }
}

impl Memory {
    /// An empty registry.
    pub fn new() -> Self {
        Self::default()
    }

    /// Forgets every instance, as a registry does that restarts without its data. Living leases
    /// find out with their next heartbeat and register again.
    pub fn clear(&self) {
        let forgotten = std::mem::take(&mut *self.shared.lock());
        let services: BTreeSet<_> = forgotten.values().map(Instance::service).collect();
        for service in services {
            self.shared.publish(service);
        }
    }

    /// Takes an instance out, whoever registered it. Returns whether it was there.
    ///
    /// A lease that still lives registers it again with its next heartbeat.
    pub fn deregister(&self, id: &str) -> bool {
        let removed = self.shared.lock().remove(id);
        if let Some(instance) = &removed {
            self.shared.publish(instance.service());
        }
        removed.is_some()
    }
}

impl Shared {
    /// No change is half-made when the lock is let go, so a panic elsewhere is no reason to stop.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, Instance>> {
        self.instances.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the watches of `service` what is there now.
    fn publish(&self, service: &str) {
        if let Some(publisher) = self.hub.publisher(service) {
            publisher.publish_with(|| self.living(service));
        }
        self.changed.notify_waiters();
    }

    fn living(&self, service: &str) -> Vec<Endpoint> {
        let now = Instant::now();
        let instances = self.lock();
        let living = |instance: &&Instance| {
            instance.service() == service && instance.expires().is_none_or(|at| now < at)
        };
        let endpoint = |instance: &Instance| instance.registration.endpoint(instance.health);
        instances.values().filter(living).filter_map(endpoint).collect()
    }

    /// When the next instance of `service` expires that has not yet.
    fn next_expiry(&self, service: &str) -> Option<Instant> {
        let now = Instant::now();
        let instances = self.lock();
        let of_service = instances.values().filter(|instance| instance.service() == service);
        of_service.filter_map(Instance::expires).filter(|at| now < *at).min()
    }

    /// Drops what has been silent for so long that it is to be forgotten.
    fn forget(&self) {
        let now = Instant::now();
        self.lock().retain(|_, instance| instance.forgotten().is_none_or(|at| now < at));
    }

    /// Watches the clock for the instances of one service.
    async fn expire(&self, service: &str, publisher: &Publisher) {
        loop {
            // Made before the look, so that no change between the two is missed.
            let changed = self.changed.notified();
            match self.next_expiry(service) {
                Some(at) => tokio::select! {
                    () = changed => {}
                    () = sleep_until(at) => {}
                },
                None => changed.await,
            }
            publisher.publish_with(|| self.living(service));
        }
    }
}

impl Agent for Memory {
    async fn register(
        &self,
        registration: &Registration,
        health: Health,
    ) -> Result<(), RegisterError> {
        let (registration, heard) = (registration.clone(), Instant::now());
        let id = Arc::clone(&registration.id);
        let instance = Instance { registration, health, heard };
        self.shared.forget();
        let replaced = self.shared.lock().insert(Arc::clone(&id), instance);
        let service = |instance: &Instance| Arc::clone(&instance.registration.service);
        let now = self.shared.lock().get(&id).map(service);
        for service in replaced.as_ref().map(service).into_iter().chain(now) {
            self.shared.publish(&service);
        }
        Ok(())
    }

    async fn heartbeat(
        &self,
        registration: &Registration,
        health: Health,
    ) -> Result<(), RegisterError> {
        self.shared.forget();
        let known = self.shared.lock().get_mut(&registration.id).map(|instance| {
            instance.heard = Instant::now();
            instance.health = health;
        });
        if known.is_none() {
            let message = format!("no instance {}", registration.id);
            return Err(RegisterError::Unknown { registry: "memory".into(), message });
        }
        self.shared.publish(&registration.service);
        Ok(())
    }

    async fn change_health(
        &self,
        registration: &Registration,
        _before: Health,
        after: Health,
    ) -> Result<(), RegisterError> {
        Agent::heartbeat(self, registration, after).await
    }

    async fn deregister(&self, id: &str) -> Result<(), RegisterError> {
        Memory::deregister(self, id);
        Ok(())
    }
}

impl Registrar for Memory {
    fn register(&self, registration: Registration) -> BoxFuture<'_, Result<Lease, RegisterError>> {
        Box::pin(Lease::keep(self.clone(), registration))
    }
}

impl Resolver for Memory {
    fn watch(&self, service: &str) -> Watch {
        let shared = Arc::clone(&self.shared);
        self.shared.hub.watch(service, |publisher| {
            let service: Arc<str> = service.into();
            publisher.publish_with(|| shared.living(&service));
            let task = async move { shared.expire(&service, &publisher).await };
            tokio::spawn(task).abort_handle()
        })
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not below: the lock would be held while the hub's is taken.
        let instances = self.shared.lock().len();
        f.debug_struct("Memory")
            .field("instances", &instances)
            .field("watched", &self.shared.hub.len())
            .finish()
    }
}
