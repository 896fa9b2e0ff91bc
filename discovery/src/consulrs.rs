//! Registering over a client of the `consulrs` crate.

use std::{collections::HashMap, fmt, sync::Arc, time::Duration};

use consulrs::{
    api::{
        check::common::AgentServiceCheck,
        service::{common::AgentWeights, requests::RegisterServiceRequest},
    },
    check,
    client::ConsulClient,
    error::ClientError,
    service,
};
use futures_core::future::BoxFuture;
use seawall_core::{ConfigError, Health};
use tokio::{task::JoinSet, time::timeout};

use crate::{
    Agent, Check, Lease, RegisterError, Registrar, Registration,
    registration::{Kind, ZONE},
    wire,
};

const TIMEOUT: Duration = Duration::from_secs(5);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Registers instances over a [`ConsulClient`] that the program has already.
///
/// Heartbeats, registration after lost data, maintenance and deregistration work as they do with
/// the feature `consul`, but this follows no services: the last release of `consulrs`, of
/// 2021, has no query for healthy instances. Where there is no
/// such client yet, take the feature `consul` instead.
///
/// # Cost
///
/// The crate brings hyper 0.14, http 0.2 and OpenSSL, whose headers the build needs, along with
/// security advisories that nobody fixes. Its requests have no time-out of their own, so each runs
/// in a task that is aborted when it takes too long. A panic inside it, say over a token that
/// cannot be sent, becomes an error.
///
/// # Limits
///
/// Ids are made of ASCII letters, digits and `-._~:`, for the crate puts them into URLs as they
/// are. Instances need a TTL, for it cannot ask for an instance that has an address.
///
/// # Examples
///
/// ```no_run
/// use std::sync::Arc;
/// use consulrs::client::{ConsulClient, ConsulClientSettingsBuilder};
/// use seawall_discovery::{ConsulRs, Registrar as _, Registration};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let settings = ConsulClientSettingsBuilder::default().address("http://127.0.0.1:8500").build()?;
/// let registrar = ConsulRs::new(Arc::new(ConsulClient::new(settings)?));
/// let lease = registrar.register(Registration::new("orders", "10.0.0.7:80".parse()?)?).await?;
/// lease.shutdown().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct ConsulRs {
    client: Arc<ConsulClient>,
    timeout: Duration,
    /// What errors call it.
    name: Arc<str>,
}

impl ConsulRs {
    /// Registers over `client`, with 5 s for each request.
    pub fn new(client: Arc<ConsulClient>) -> Self {
        let address = client.settings.address.trim_end_matches('/');
        // What stands before an `@` may be a password.
        let host = address.rsplit_once('@').map_or(address, |(_, host)| host);
        let name = format!("consul at {host}").into();
        Self { client, timeout: TIMEOUT, name }
    }

    /// How long a request may take: 10 ms to 24 h, 5 s by default.
    ///
    /// # Errors
    ///
    /// When `timeout` is out of this range.
    pub fn request_timeout(mut self, timeout: Duration) -> Result<Self, ConfigError> {
        if timeout < Duration::from_millis(10) || timeout > DAY {
            let value = format_args!("{timeout:?}");
            return Err(ConfigError::new("request_timeout", value, "10 ms to 24 h"));
        }
        self.timeout = timeout;
        Ok(self)
    }

    /// Takes an instance out, whoever registered it with this agent. One that is not there is as
    /// good as taken out.
    ///
    /// # Errors
    ///
    /// When the agent does not say that it is done.
    pub async fn deregister(&self, id: &str) -> Result<(), RegisterError> {
        plain("id", id)?;
        let id = id.to_owned();
        let call = |client: Arc<ConsulClient>| async move {
            service::deregister(&*client, &id, None).await.map(drop)
        };
        match self.call(call).await {
            Err(RegisterError::Unknown { .. }) => Ok(()),
            result => result,
        }
    }

    async fn maintain(&self, of: &Registration, enable: bool) -> Result<(), RegisterError> {
        let id = Arc::clone(&of.id);
        let call = move |client: Arc<ConsulClient>| async move {
            service::maintenance(&*client, &id, enable, None).await.map(drop)
        };
        self.call(call).await
    }

    /// One call of the crate's, bounded in time, whose panics hurt nobody.
    async fn call<C, F>(&self, call: C) -> Result<(), RegisterError>
    where
        C: FnOnce(Arc<ConsulClient>) -> F,
        F: Future<Output = Result<(), ClientError>> + Send + 'static,
    {
        // Aborts the task when dropped.
        let mut task = JoinSet::new();
        task.spawn(call(Arc::clone(&self.client)));
        let registry = || String::from(&*self.name);
        match timeout(self.timeout, task.join_next()).await {
            Ok(Some(Ok(Ok(())))) => Ok(()),
            Ok(Some(Ok(Err(ClientError::APIError { code, message })))) => {
                Err(wire::refusal(&self.name, code, &message.unwrap_or_default()))
            }
            Ok(Some(Ok(Err(error)))) => {
                Err(RegisterError::Unreachable { registry: registry(), source: error.into() })
            }
            Ok(Some(Err(panic))) => {
                Err(RegisterError::Garbled { registry: registry(), source: panic.into() })
            }
            Ok(None) | Err(_) => Err(RegisterError::Unreachable {
                registry: registry(),
                source: format!("no answer within {:?}", self.timeout).into(),
            }),
        }
    }
}

impl Agent for ConsulRs {
    async fn register(
        &self,
        registration: &Registration,
        health: Health,
    ) -> Result<(), RegisterError> {
        let of = registration;
        plain("id", &of.id)?;
        let Some(ttl) = of.ttl else {
            let allowed = "a time: consulrs cannot ask for an instance without heartbeats";
            return Err(ConfigError::new("ttl", "none", allowed).into());
        };
        let check = AgentServiceCheck {
            check_id: Some(wire::check_id(of)),
            name: Some(format!("heartbeats of {}", of.id)),
            ttl: Some(wire::millis(ttl)),
            status: Some(wire::status(health).to_owned()),
            deregister_critical_service_after: of.forget_after.map(wire::millis),
            ..AgentServiceCheck::default()
        };
        let own = of.checks.iter().map(|check| own_check(of, check));
        let checks = std::iter::once(Ok(check)).chain(own).collect::<Result<Vec<_>, _>>()?;
        let weights = AgentWeights {
            passing: Some(of.weight.into()),
            warning: Some(of.warning_weight.into()),
        };
        let text = |(key, value): (&Arc<str>, &Arc<str>)| (key.to_string(), value.to_string());
        let mut meta: HashMap<_, _> = of.metadata.iter().map(text).collect();
        meta.extend(of.zone.as_ref().map(|zone| (ZONE.to_owned(), zone.to_string())));
        let mut request = RegisterServiceRequest::builder();
        request
            .id(&*of.id)
            .address(of.address.host())
            .port(of.address.port())
            .tags(of.tags.iter().map(ToString::to_string).collect::<Vec<_>>())
            .meta(meta)
            .weights(weights)
            .checks(checks);
        let name = Arc::clone(&of.service);
        let call = move |client: Arc<ConsulClient>| async move {
            service::register(&*client, &name, Some(&mut request)).await.map(drop)
        };
        self.call(call).await?;
        // The crate cannot ask for the checks of an earlier life to be replaced, and maintenance
        // is one of them.
        self.maintain(of, health == Health::Maintenance).await
    }

    async fn heartbeat(
        &self,
        registration: &Registration,
        health: Health,
    ) -> Result<(), RegisterError> {
        let id = wire::check_id(registration);
        let call = move |client: Arc<ConsulClient>| async move {
            let done = match health {
                Health::Passing | Health::Maintenance => check::pass(&*client, &id, None).await,
                Health::Warning => check::warn(&*client, &id, None).await,
                Health::Critical => check::fail(&*client, &id, None).await,
            };
            done.map(drop)
        };
        self.call(call).await
    }

    async fn change_health(
        &self,
        registration: &Registration,
        before: Health,
        after: Health,
    ) -> Result<(), RegisterError> {
        if (before == Health::Maintenance) != (after == Health::Maintenance) {
            self.maintain(registration, after == Health::Maintenance).await?;
        }
        self.heartbeat(registration, after).await
    }

    async fn deregister(&self, id: &str) -> Result<(), RegisterError> {
        ConsulRs::deregister(self, id).await
    }
}

impl Registrar for ConsulRs {
    fn register(&self, registration: Registration) -> BoxFuture<'_, Result<Lease, RegisterError>> {
        Box::pin(Lease::keep(self.clone(), registration))
    }
}

/// Shows no token.
impl fmt::Debug for ConsulRs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConsulRs")
            .field("name", &self.name)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// A check that the agent makes by itself.
fn own_check(of: &Registration, check: &Check) -> Result<AgentServiceCheck, ConfigError> {
    if check.trusts_any {
        let allowed = "one that names the address: consulrs cannot say that any will do";
        return Err(ConfigError::new("check.certificate", "any", allowed));
    }
    let mut told = AgentServiceCheck {
        check_id: Some(wire::own_check_id(of, check)),
        name: Some(format!("{} of {}", check.id, of.id)),
        interval: Some(wire::millis(check.interval)),
        timeout: check.timeout.map(wire::millis),
        status: Some(wire::status(check.starts).to_owned()),
        ..AgentServiceCheck::default()
    };
    match &check.kind {
        Kind::Http { url } => told.http = Some(url.to_string()),
        Kind::Tcp { address } => told.tcp = Some(address.to_string()),
        Kind::Grpc { address, service, tls } => {
            told.grpc = Some(wire::grpc_target(address, service.as_deref()));
            told.grpc_use_tls = Some(*tls);
        }
    }
    Ok(told)
}

/// Whether `text` can stand in a URL as it is.
fn plain(field: &'static str, text: &str) -> Result<(), ConfigError> {
    let sound = |b: u8| b.is_ascii_alphanumeric() || b"-._~:".contains(&b);
    if text.is_empty() || !text.bytes().all(sound) {
        let allowed = "ASCII letters, digits and `-._~:`, for consulrs escapes nothing";
        return Err(ConfigError::new(field, format_args!("{text:?}"), allowed));
    }
    Ok(())
}
