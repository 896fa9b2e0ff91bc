//! Following what DNS says.

mod answer;
mod config;
mod follow;
mod lookup;
mod question;

use std::{fmt, sync::Arc};

use seawall_core::ConfigError;
use tokio::sync::broadcast;

use crate::{Resolver, Watch, hub::Hub};

pub use config::DnsBuilder;

use config::Settings;
use lookup::Lookup;
use question::Question;

/// Follows the addresses or the SRV records of a name, as of a headless Kubernetes service.
///
/// The service of a watch is a name:
///
/// | service | asks for | endpoints |
/// |---|---|---|
/// | `orders.internal:50051` | A and AAAA | each address, with that port |
/// | `orders.internal` | A and AAAA | each address, with [`port`](DnsBuilder::port) |
/// | `_grpc._tcp.orders.internal` | SRV | each address of each target, with the record's port, weight and priority |
///
/// An endpoint's id is its address and port, so that it keeps its connection however the order of
/// the answer changes. An SRV weight of 0, "hardly ever", becomes 1. A name in `/etc/hosts` and an
/// address in place of a name work too.
///
/// # When it asks again
///
/// When the lowest TTL of the answer has passed, bounded by [`ttl_min`](DnsBuilder::ttl_min) and
/// [`ttl_max`](DnsBuilder::ttl_max), and at [`resolve_now`](Resolver::resolve_now), but never
/// sooner than `ttl_min` after the last time. A failure is followed by exponential backoff with
/// full jitter.
///
/// # What an answer does
///
/// | answer | the set |
/// |---|---|
/// | records | is these |
/// | the name does not exist (NXDOMAIN), or has no such records | stays for [`empty_grace`](DnsBuilder::empty_grace), stale, then is empty |
/// | SERVFAIL, refused, no answer in time | stays, stale |
/// | one of A and AAAA fails | the other's new addresses, and the last known ones of this |
/// | a target of an SRV record cannot be resolved | stays, stale; one that does not exist is left out |
///
/// Clones share watches.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use seawall_discovery::{Dns, Resolver as _};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let dns = Dns::builder().ttl_max(Duration::from_secs(10)).build()?;
/// let watch = dns.watch("127.0.0.1:50051");
/// let endpoints = watch.ready(Duration::from_secs(5)).await?;
/// assert_eq!(endpoints[0].address().to_string(), "127.0.0.1:50051");
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Dns {
    shared: Arc<Shared>,
}

struct Shared {
    settings: Settings,
    lookup: Lookup,
    hub: Hub,
    /// The services that somebody wants to be asked for now.
    wishes: broadcast::Sender<Arc<str>>,
}

impl Dns {
    /// The name servers of the system, with the defaults of [`Dns::builder`].
    ///
    /// # Errors
    ///
    /// When the system's configuration cannot be read.
    pub fn new() -> Result<Self, ConfigError> {
        Self::builder().build()
    }

    /// Starts the description of how names are asked for.
    pub fn builder() -> DnsBuilder {
        DnsBuilder::default()
    }

    fn start(settings: Settings) -> Result<Self, ConfigError> {
        let lookup = Lookup::new(&settings)?;
        // A watch that misses a wish because there were many asks again anyway.
        let (wishes, _) = broadcast::channel(16);
        Ok(Self { shared: Arc::new(Shared { settings, lookup, hub: Hub::default(), wishes }) })
    }
}

impl Resolver for Dns {
    fn watch(&self, service: &str) -> Watch {
        let shared = &self.shared;
        shared.hub.watch(service, |publisher| {
            let question = match Question::new(service, shared.settings.port) {
                Ok(question) => question,
                Err(error) => {
                    publisher.stale(error.to_string());
                    return tokio::spawn(std::future::pending::<()>()).abort_handle();
                }
            };
            let (lookup, settings) = (shared.lookup.clone(), shared.settings.clone());
            let wishes = follow::Wishes::new(service.into(), shared.wishes.subscribe());
            let follow = follow::follow(settings, wishes, publisher, async move |last: &_| {
                lookup.ask(&question, last).await
            });
            tokio::spawn(follow).abort_handle()
        })
    }

    fn resolve_now(&self, service: &str) {
        // Nobody listens when nobody watches.
        let _ = self.shared.wishes.send(service.into());
    }
}

impl fmt::Debug for Dns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dns").field("hub", &self.shared.hub).finish_non_exhaustive()
    }
}
