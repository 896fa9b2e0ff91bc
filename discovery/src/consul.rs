//! Registering with and following the services of a [Consul](https://www.consul.io) agent.

use std::{fmt, sync::Arc};

use futures_core::future::BoxFuture;
use seawall_core::ConfigError;

use crate::{Lease, RegisterError, Registrar, Registration, Resolver, Watch, hub::Hub};

mod address;
mod answer;
mod body;
mod catalog;
mod checks;
mod config;
mod cursor;
mod decode;
mod entry;
mod env;
mod follow;
mod herd;
mod home;
mod http;
mod instances;
mod pairs;
mod query;
mod route;
mod settings;
#[cfg(feature = "consul-tls")]
mod tls;
mod token;
mod turns;
mod words;

pub use answer::HealthAnswer;
pub use catalog::Services;
pub use config::ConsulBuilder;
pub use query::{Consistency, Query, WeightFrom};
pub use settings::EmptyAnswers;

use herd::Herd;
use home::Home;
use http::Http;
use instances::Instances;
use settings::Settings;
use turns::Turns;

/// A Consul agent: registers instances with it and follows services through it.
///
/// Clones share connections and watches. Talks HTTP to the agent, usually the one on this machine,
/// or HTTPS with the feature `consul-tls`, or either over a Unix socket (`unix:///path`).
///
/// # What it asks of Consul
///
/// - Registering: `PUT /v1/agent/service/register` with the checks, the health from the first
///   moment on, then `PUT /v1/agent/check/update/…` at once and every third of the TTL. A check or
///   service that the agent does not know is registered again.
/// - Following: `GET /v1/health/service/…` as a
///   [blocking query](https://developer.hashicorp.com/consul/api-docs/features/blocking). Instances
///   that pass or warn are used; those that are critical or in maintenance are not. An instance
///   without an address of its own has that of its node. Weights, tags and metadata come from the
///   service; the zone is the metadata `zone`. An instance that makes no sense, such as one with
///   port 70000, is skipped with a warning in the log. The id of an endpoint is the id of its
///   service, followed by `@` and the node where several nodes use the same one.
/// - Heartbeats and registrations have connections of their own, so that no number of watches
///   starves them.
///
/// With access control on, the token needs `service:write` for what it registers, and
/// `service:read` and `node:read` for what it follows.
///
/// # Examples
///
/// ```no_run
/// use futures::StreamExt as _;
/// use seawall_discovery::{Consul, Registrar as _, Registration, Resolver as _};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let consul = Consul::new("http://127.0.0.1:8500")?;
/// let lease = consul.register(Registration::new("orders", "10.0.0.7:50051".parse()?)?).await?;
///
/// let mut watch = consul.watch("orders");
/// while let Some(batch) = watch.next().await {
///     println!("{batch:?}");
/// }
/// lease.shutdown().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Consul {
    shared: Arc<Shared>,
}

struct Shared {
    settings: Settings,
    http: Http,
    hub: Hub,
    turns: Turns,
    herd: Herd,
}

impl Consul {
    /// The agent at `url`, such as `http://127.0.0.1:8500`, with the defaults of
    /// [`Consul::builder`].
    ///
    /// Connects to nothing yet; [`ping`](Self::ping) does.
    ///
    /// # Errors
    ///
    /// When `url` is none of an HTTP server.
    pub fn new(url: &str) -> Result<Self, ConfigError> {
        Self::builder(url).build()
    }

    /// Starts the description of how the agent at `url` is talked to.
    pub fn builder(url: &str) -> ConsulBuilder {
        ConsulBuilder::new(url)
    }

    /// The agent that the environment names, as for Consul's own tools: `CONSUL_HTTP_ADDR` (with or
    /// without a scheme, `unix://` included, `127.0.0.1:8500` by default), `CONSUL_HTTP_SSL`,
    /// `CONSUL_HTTP_TOKEN`, `CONSUL_HTTP_TOKEN_FILE`, `CONSUL_HTTP_AUTH`, `CONSUL_NAMESPACE` and
    /// `CONSUL_PARTITION`; with the feature `consul-tls` also `CONSUL_CACERT`, `CONSUL_CAPATH`,
    /// `CONSUL_CLIENT_CERT`, `CONSUL_CLIENT_KEY` and `CONSUL_HTTP_SSL_VERIFY`.
    ///
    /// # Errors
    ///
    /// Names a variable that makes no sense or cannot be followed, rather than to overlook it.
    pub fn from_env() -> Result<ConsulBuilder, ConfigError> {
        env::builder(|name| std::env::var(name).ok())
    }

    /// Follows those instances of `service` that `query` asks for.
    ///
    /// Watches of one service with one query share what is sent to the agent.
    ///
    /// # Errors
    ///
    /// When the query holds an empty name.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime, which carries the task behind the watch.
    pub fn watch_with(&self, service: &str, query: Query) -> Result<Watch, ConfigError> {
        query.check()?;
        Ok(self.follow(service, query))
    }

    fn follow(&self, service: &str, query: Query) -> Watch {
        self.shared.hub.watch(&query.key(service), |publisher| {
            let subject = Instances::new(service.to_owned(), query, publisher);
            tokio::spawn(follow::follow(Arc::clone(&self.shared), subject)).abort_handle()
        })
    }

    /// Follows which services there are, with the tags of each.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime, which carries the task behind the watch.
    pub fn services(&self) -> Services {
        self.follow_services(Query::new())
    }

    /// Follows those services that `query` asks for, by datacenter, filter and consistency.
    ///
    /// # Errors
    ///
    /// When the query holds a tag, or an empty name.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime, which carries the task behind the watch.
    pub fn services_with(&self, query: Query) -> Result<Services, ConfigError> {
        query.check_of_services()?;
        Ok(self.follow_services(query))
    }

    fn follow_services(&self, query: Query) -> Services {
        Services::start(query, |catalog| {
            tokio::spawn(follow::follow(Arc::clone(&self.shared), catalog)).abort_handle()
        })
    }

    /// Whether the agent has an instance with this id, whoever registered it.
    ///
    /// # Errors
    ///
    /// When the agent does not say.
    pub async fn has(&self, id: &str) -> Result<bool, RegisterError> {
        match self.agent().ask(&["v1", "agent", "service", id]).await {
            Ok(_) => Ok(true),
            Err(RegisterError::Unknown { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The agent that is asked now.
    fn agent(&self) -> http::At<'_> {
        self.shared.http.at(self.shared.http.route.current())
    }

    /// Asks the agent whether it is there and knows a leader: a check for the start of a program.
    ///
    /// # Errors
    ///
    /// [`RegisterError::line`] says on one line what is wrong.
    pub async fn ping(&self) -> Result<(), RegisterError> {
        self.agent().leader().await
    }

    /// Takes an instance out, whoever registered it, of each agent that was named. One that is not
    /// there is as good as taken out.
    ///
    /// A lease that still lives registers it again with its next heartbeat.
    ///
    /// # Errors
    ///
    /// When an agent does not say that it is done; the others were asked too.
    pub async fn deregister(&self, id: &str) -> Result<(), RegisterError> {
        let mut all = Ok(());
        for place in self.shared.http.route.all() {
            all = all.and(self.shared.http.at(place).deregister(id).await);
        }
        all
    }
}

impl Registrar for Consul {
    fn register(&self, registration: Registration) -> BoxFuture<'_, Result<Lease, RegisterError>> {
        Box::pin(Lease::keep(Home::new(self.clone()), registration))
    }
}

impl Resolver for Consul {
    fn watch(&self, service: &str) -> Watch {
        self.follow(service, self.shared.settings.query.clone())
    }
}

/// Shows no token.
impl fmt::Debug for Consul {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consul")
            .field("settings", &self.shared.settings)
            .field("watched", &self.shared.hub.len())
            .finish_non_exhaustive()
    }
}
