//! How a shared limiter is built.

use std::{fmt, sync::Arc, time::Duration};

use ::redis::{
    Client, RedisError,
    aio::ConnectionLike,
    cluster::ClusterClient,
    sentinel::{SentinelClient, SentinelServerType},
};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use seawall_circuit_breaker::{CircuitBreaker, Config as Breaker};
use seawall_core::{Clock, ConfigError};

use super::{
    RedisLimiter,
    connect::Reconnecting,
    limiter::{Exact, Shared},
    link::{Cluster, Link, Script, Single},
    local::Local,
    plan::{IntoPlan, Plan},
    policy::Policy,
    refusals::Refusals,
    store::Store,
};
use crate::{Observer, sync::Swap, watch::Watch};

/// Makes a [`RedisLimiter`].
#[must_use]
pub struct Builder {
    plan: Result<Plan, ConfigError>,
    policy: Result<Policy, ConfigError>,
    prefix: Arc<str>,
    timeout: Duration,
    clock: Clock,
    watch: Watch,
}

impl RedisLimiter {
    /// A limiter that lets everything through while Redis does not answer: for limits that protect
    /// fairness or a budget, where to refuse is worse.
    pub fn fail_open(plan: impl IntoPlan) -> Builder {
        Builder::new(plan.into_plan(), |_| Ok(Policy::Open))
    }

    /// A limiter that refuses everything while Redis does not answer: for limits that protect what
    /// breaks.
    pub fn fail_closed(plan: impl IntoPlan) -> Builder {
        Builder::new(plan.into_plan(), |_| Ok(Policy::Closed))
    }

    /// A limiter that keeps to `share` of the limit by itself while Redis does not answer, above 0 and
    /// at most 1: with four processes 0.25, so that all of them together keep to the whole.
    ///
    /// Each key has a token bucket of that part of the rate and of what may come at once, though of one
    /// cell at least, whatever algorithm counts in Redis; several limits hold together. They begin
    /// full, and 65,536 keys are told apart. A refund finds nothing to give back.
    pub fn fail_local(plan: impl IntoPlan, share: f64) -> Builder {
        Builder::new(plan.into_plan(), |plan| Ok(Policy::Local(Local::new(plan, share)?)))
    }
}

impl Builder {
    pub(super) fn new(
        plan: Result<Plan, ConfigError>,
        policy: impl FnOnce(&Plan) -> Result<Policy, ConfigError>,
    ) -> Self {
        let policy = match &plan {
            Ok(plan) => policy(plan),
            // The error of the plan is told.
            Err(_) => Ok(Policy::Closed),
        };
        Self {
            plan,
            policy,
            prefix: "seawall".into(),
            timeout: Duration::from_millis(50),
            clock: Clock::fast(),
            watch: Watch::default().named("default".into()),
        }
    }

    /// Names the limiter in its refusals, headers and events, and in Redis: limiters of one name, and
    /// of the same [prefix](Self::prefix), share a limit. `default` unless set.
    pub fn named(self, name: impl Into<Arc<str>>) -> Self {
        Self { watch: self.watch.named(name.into()), ..self }
    }

    /// What the names of its keys in Redis begin with; `seawall` unless set. Without braces.
    pub fn prefix(self, prefix: impl Into<Arc<str>>) -> Self {
        Self { prefix: prefix.into(), ..self }
    }

    /// How long a decision takes at most, everything included; 50 ms unless set, 1 ms to 1 minute.
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// Goes by `clock` where it remembers a refusal, and while a silent Redis is left alone. How much
    /// passes, Redis's own time says alone.
    pub fn with_clock(self, clock: Clock) -> Self {
        Self { clock, ..self }
    }

    /// Tells `observer` of every decision.
    pub fn observed_by(self, observer: Arc<dyn Observer>) -> Self {
        Self { watch: self.watch.observed_by(observer), ..self }
    }

    /// Counts every decision, for snapshots.
    pub fn count_decisions(self) -> Self {
        Self { watch: self.watch.counting(), ..self }
    }

    /// Decides through `connection`, to a single server: a `MultiplexedConnection`, a
    /// `ConnectionManager`, or what else is shared by its clones.
    ///
    /// # Errors
    ///
    /// When a setting is out of range.
    pub fn over<C>(self, connection: C) -> Result<RedisLimiter, ConfigError>
    where
        C: ConnectionLike + Clone + Send + Sync + 'static,
    {
        self.build(Arc::new(Single { connection, script: Script::new(super::DECIDE) }))
    }

    /// Decides through `connection`, to a cluster.
    ///
    /// # Errors
    ///
    /// As for [`over`](Self::over).
    pub fn over_cluster<C>(self, connection: C) -> Result<RedisLimiter, ConfigError>
    where
        C: ConnectionLike + Clone + Send + Sync + 'static,
    {
        self.build(Arc::new(Cluster { connection, script: Script::new(super::DECIDE) }))
    }

    /// Connects to the single server at `url`, `redis://` or `rediss://` for TLS, and connects anew
    /// whenever the connection is lost. The first connection is made with the first decision.
    ///
    /// # Errors
    ///
    /// When the URL is none, or when a setting is out of range.
    pub fn connect(self, url: &str) -> Result<RedisLimiter, ConnectError> {
        provide_crypto(url);
        let connection = Reconnecting::server(Client::open(url)?);
        Ok(self.over(connection)?)
    }

    /// Connects to the primary that the sentinels at `urls` name for `service`, and asks them again
    /// whenever the connection is lost. The first connection is made with the first decision.
    ///
    /// # Errors
    ///
    /// When a URL is none, or when a setting is out of range.
    pub fn connect_sentinel(
        self,
        urls: &[&str],
        service: &str,
    ) -> Result<RedisLimiter, ConnectError> {
        let urls: Vec<String> = urls.iter().map(|&url| url.to_owned()).collect();
        let primary = SentinelServerType::Master;
        let client = SentinelClient::build(urls, service, None, primary)?;
        Ok(self.over(Reconnecting::sentinel(client))?)
    }

    /// Connects to the cluster of which `urls` are some nodes.
    ///
    /// # Errors
    ///
    /// When no node answers, or when a setting is out of range.
    pub async fn connect_cluster(self, urls: &[&str]) -> Result<RedisLimiter, ConnectError> {
        urls.iter().for_each(|url| provide_crypto(url));
        // Enough to follow a slot that moves.
        let client = ClusterClient::builder(urls.iter().copied())
            .retries(3)
            .connection_timeout(Duration::from_secs(1))
            .build()?;
        let connection = client.get_async_connection().await?;
        Ok(self.over_cluster(connection)?)
    }

    pub(super) fn build(self, link: Arc<dyn Link>) -> Result<RedisLimiter, ConfigError> {
        let Self { plan, policy, prefix, timeout, clock, watch } = self;
        if prefix.contains(['{', '}']) {
            return Err(ConfigError::new("prefix", prefix, "text without braces"));
        }
        let name = watch.name().unwrap_or_default();
        if name.is_empty() || name.contains(char::is_control) {
            return Err(ConfigError::new("name", name, "text without control characters"));
        }
        if !(Duration::from_millis(1)..=Duration::from_secs(60)).contains(&timeout) {
            return Err(ConfigError::new("timeout", format!("{timeout:?}"), "1ms to 1m"));
        }
        let (plan, policy) = (plan?, policy?);
        let exact = Exact {
            store: Store::new(link, prefix, timeout),
            plan,
            changed: Swap::default(),
            refusals: Refusals::new(),
            breaker: breaker(clock.clone())?,
            clock,
        };
        let key = watch.name().unwrap_or_default().as_bytes().into();
        Ok(RedisLimiter { shared: Arc::new(Shared { exact, policy, watch }), key })
    }
}

/// How many questions in a row Redis leaves unanswered before it is left alone.
const SILENT_AFTER: u32 = 5;
/// How long it is left alone before one question finds out whether it is back.
const SILENT_FOR: Duration = Duration::from_secs(1);

fn breaker(clock: Clock) -> Result<CircuitBreaker, ConfigError> {
    let rules = Breaker::builder()
        .consecutive_failures(SILENT_AFTER)
        .open_wait(SILENT_FOR)
        .probes(1)
        .successes_to_close(1);
    Ok(CircuitBreaker::builder(rules.build()?).clock(clock).build())
}

/// Gives the process a provider of cryptography for TLS, unless it has chosen one.
fn provide_crypto(url: &str) {
    if url.starts_with("rediss") && CryptoProvider::get_default().is_none() {
        // Somebody else was quicker, which is as good.
        let _ = aws_lc_rs::default_provider().install_default();
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("plan", &self.plan)
            .field("policy", &self.policy)
            .field("prefix", &self.prefix)
            .field("timeout", &self.timeout)
            .field("watch", &self.watch)
            .finish_non_exhaustive()
    }
}

/// Why a limiter could not be connected.
#[derive(Debug)]
#[non_exhaustive]
pub enum ConnectError {
    /// A setting is out of range.
    Config(ConfigError),
    /// The address is none, or nobody is there.
    Redis(RedisError),
}

impl From<ConfigError> for ConnectError {
    fn from(error: ConfigError) -> Self {
        Self::Config(error)
    }
}

impl From<RedisError> for ConnectError {
    fn from(error: RedisError) -> Self {
        Self::Redis(error)
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Config(_) => "the settings of the limiter are wrong",
            Self::Redis(_) => "redis cannot be reached",
        })
    }
}

impl std::error::Error for ConnectError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Config(error) => Some(error),
            Self::Redis(error) => Some(error),
        }
    }
}
