//! What the builders of gRPC and HTTP clients have in common.

use std::{fmt, future::Future, sync::Arc};

use arc_swap::ArcSwap;
use seawall_core::{Clock, ConfigError, Endpoint, EndpointId};
use seawall_discovery::Resolver;
use seawall_load_balance::{self as load_balance, EndpointSet};

use crate::{
    BuildError,
    breakers::Breakers,
    fallback::{Answer, Counts, Failed, Function},
    live::{Follow, Target},
    policy::{Bounds, Policy, Transport},
};

/// Sets up a resilient client: a [`GrpcClient`](crate::grpc::GrpcClient) where `M` makes channels, an
/// [`HttpClient`](crate::http::HttpClient) where it makes reqwest clients.
#[derive(Debug)]
#[must_use = "a builder does nothing until `build`"]
pub struct ClientBuilder<M> {
    pub(crate) setup: Setup,
    pub(crate) make: M,
}

impl<M> ClientBuilder<M> {
    /// Calls the servers at these addresses, such as `10.0.0.1:50051`.
    pub fn endpoints<T: Into<String>>(mut self, addresses: impl IntoIterator<Item = T>) -> Self {
        self.setup.source = Source::Fixed(addresses.into_iter().map(Into::into).collect());
        self
    }

    /// Calls the servers that `resolver` finds, and follows its changes.
    pub fn resolver(mut self, resolver: impl Resolver) -> Self {
        self.setup.source = Source::Resolver(Arc::new(resolver));
        self
    }

    /// Asks `fallback` for an answer to each call that has failed for good, before the `value` of the
    /// policy's fallback and after the rest of it. It sees which call that was, and may have none.
    ///
    /// It is outside of the call's deadline and ends by itself.
    ///
    /// ```
    /// use seawall::{Answer, Failed};
    ///
    /// let users = seawall::http("users")
    ///     .endpoints(["127.0.0.1:8080"])
    ///     .fallback(async |failed: Failed| failed.path.starts_with("/list").then(|| Answer::new("[]")))
    ///     .build()?;
    /// # let _ = users;
    /// # Ok::<(), seawall::BuildError>(())
    /// ```
    pub fn fallback<F, Fut>(mut self, fallback: F) -> Self
    where
        F: Fn(Failed) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Option<Answer>> + Send + 'static,
    {
        self.setup.given.function = Some(Arc::new(move |failed| Box::pin(fallback(failed))));
        self
    }

    /// Has breakers, ejections, slow starts, limits, budgets and what is kept of responses go by this
    /// clock: for tests that cannot wait for a minute. Time-outs and pauses are those of tokio, and the
    /// time of a shared limit is that of Redis.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.setup.given.clock = clock;
        self
    }

    /// Does as this policy says; the defaults unless set.
    pub fn policy(mut self, policy: Policy) -> Self {
        self.setup.policy = policy;
        self
    }
}

/// What the endpoints of a service have in common.
pub(crate) struct Parts {
    pub(crate) endpoints: EndpointSet,
    pub(crate) breakers: Breakers,
    pub(crate) bounds: Arc<ArcSwap<Bounds>>,
}

/// What a client was given in code, which no policy changes.
#[derive(Clone, Default)]
pub(crate) struct Given {
    pub(crate) function: Option<Arc<Function>>,
    pub(crate) clock: Clock,
    /// How often a fallback was needed, whatever the policy was.
    pub(crate) fallbacks: Arc<Counts>,
    /// Encoded descriptors of gRPC interfaces.
    pub(crate) descriptors: Vec<Vec<u8>>,
}

/// Where the endpoints of a service come from.
enum Source {
    Nowhere,
    Fixed(Vec<String>),
    Resolver(Arc<dyn Resolver>),
}

pub(crate) struct Setup {
    pub(crate) service: Arc<str>,
    pub(crate) policy: Policy,
    pub(crate) given: Given,
    source: Source,
}

impl Setup {
    pub(crate) fn new(service: Arc<str>) -> Self {
        Self {
            service,
            policy: Policy::default(),
            given: Given::default(),
            source: Source::Nowhere,
        }
    }

    /// How the endpoints of `service` are picked.
    pub(crate) fn balancing(
        &self,
        service: &Arc<str>,
        policy: &Policy,
    ) -> Result<load_balance::ConfigBuilder, ConfigError> {
        let ejection =
            policy.outlier_detection.map(|detection| match policy.abandoned_after(service) {
                Some(time) => detection.ejection().with_abandoned_after(time),
                None => detection.ejection(),
            });
        let within = |error: ConfigError| error.within("load_balance");
        let config =
            load_balance::ConfigBuilder::from(policy.load_balance.config().map_err(within)?)
                .name(service.clone())
                .clock(self.given.clock.clone())
                .ejection(ejection);
        // Subsets are parts of the client's own service.
        let config = if *service == self.service { config.split(policy.parts()?) } else { config };
        Ok(match &self.source {
            Source::Resolver(resolver) => {
                let (resolver, service) = (resolver.clone(), service.clone());
                config.observer(Arc::new(AskAnew { resolver, service }))
            }
            Source::Nowhere | Source::Fixed(_) => config,
        })
    }

    /// What the endpoints of `service` have in common, with what they had `before`.
    pub(crate) fn parts<B: Follow>(
        &self,
        service: &Arc<str>,
        policy: &Policy,
        transport: Transport,
        before: Option<&Target<B>>,
    ) -> Result<Parts, BuildError> {
        Ok(match before {
            Some(before) => Parts {
                endpoints: before.balancer.endpoints(),
                breakers: before.breakers.clone(),
                bounds: before.bounds.clone(),
            },
            None => Parts {
                endpoints: self.endpoints(service)?,
                breakers: Breakers::new(policy, service, transport, &self.given.clock)?,
                bounds: Arc::new(ArcSwap::from_pointee(policy.bounds(transport))),
            },
        })
    }

    /// The endpoints of `service`, which follow the resolver from here on.
    fn endpoints(&self, service: &Arc<str>) -> Result<EndpointSet, BuildError> {
        match &self.source {
            Source::Nowhere => {
                let want = "a list of addresses or a resolver";
                Err(ConfigError::new("endpoints", "missing", want).into())
            }
            Source::Fixed(_) if *service != self.service => {
                let want = "the client's own, because there is a list of addresses and no resolver";
                Err(ConfigError::new("service", service, want).into())
            }
            Source::Fixed(addresses) => {
                let endpoints: Result<Vec<_>, BuildError> = addresses
                    .iter()
                    .map(|address| Ok(Endpoint::new(address.as_str(), address.parse()?)))
                    .collect();
                Ok(EndpointSet::from_endpoints(endpoints?))
            }
            Source::Resolver(resolver) => {
                if tokio::runtime::Handle::try_current().is_err() {
                    return Err(BuildError::NoRuntime);
                }
                Ok(EndpointSet::from_stream(resolver.watch(service)))
            }
        }
    }
}

/// Has the registry asked again when an endpoint cannot be reached: what is known may be old.
struct AskAnew {
    resolver: Arc<dyn Resolver>,
    service: Arc<str>,
}

impl load_balance::Observer for AskAnew {
    fn unreachable(&self, _: Option<&str>, _: &EndpointId) {
        self.resolver.resolve_now(&self.service);
    }
}

impl fmt::Debug for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Setup")
            .field("service", &self.service)
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}
