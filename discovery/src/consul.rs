//! Registering with and following the services of a [Consul](https://www.consul.io) agent.

use std::{fmt, sync::Arc};

use futures_core::future::BoxFuture;
use seawall_core::ConfigError;

use crate::{Lease, RegisterError, Registrar, Registration, Resolver, Watch, hub::Hub};

mod agent;
mod config;
mod cursor;
mod decode;
mod entry;
mod env;
mod follow;
mod http;
mod query;
mod settings;
mod token;

pub use config::ConsulBuilder;
pub use query::{Consistency, Query, WeightFrom};
pub use settings::EmptyAnswers;

use http::Http;
use settings::Settings;

/// A Consul agent: registers instances with it and follows services through it.
///
/// Clones share connections and watches. Talks HTTP to the agent, usually the one on this machine;
/// for `https` turn on one of reqwest's TLS features in your own `Cargo.toml`.
///
/// # What it asks of Consul
///
/// - Registering: `PUT /v1/agent/service/register` with a TTL check, the health from the first
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
    turns: follow::Turns,
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
    /// `CONSUL_HTTP_TOKEN`, `CONSUL_HTTP_TOKEN_FILE`, `CONSUL_NAMESPACE` and `CONSUL_PARTITION`.
    ///
    /// # Errors
    ///
    /// Names a variable that makes no sense. Those that name certificates are refused rather than
    /// overlooked: [`ConsulBuilder::customize_client`] is the place for these.
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
            let shared = Arc::clone(&self.shared);
            let task = follow::follow(shared, service.to_owned(), query, publisher);
            tokio::spawn(task).abort_handle()
        })
    }

    /// Asks the agent whether it is there and knows a leader: a check for the start of a program.
    ///
    /// # Errors
    ///
    /// [`RegisterError::line`] says on one line what is wrong.
    pub async fn ping(&self) -> Result<(), RegisterError> {
        self.shared.http.leader().await
    }

    /// Takes an instance out, whoever registered it with this agent. One that is not there is as
    /// good as taken out.
    ///
    /// A lease that still lives registers it again with its next heartbeat.
    ///
    /// # Errors
    ///
    /// When the agent does not say that it is done.
    pub async fn deregister(&self, id: &str) -> Result<(), RegisterError> {
        match self.shared.http.deregister(id).await {
            Err(RegisterError::Unknown { .. }) => Ok(()),
            result => result,
        }
    }
}

impl Registrar for Consul {
    fn register(&self, registration: Registration) -> BoxFuture<'_, Result<Lease, RegisterError>> {
        Box::pin(Lease::keep(self.clone(), registration))
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
