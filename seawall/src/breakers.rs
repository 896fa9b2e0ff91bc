//! The breakers of a service's endpoints.

use std::sync::Arc;

use arc_swap::ArcSwap;
use seawall_circuit_breaker::{
    Admit, CircuitBreaker, Config, OwnedPermit, Rejected, registry::Registry,
};
use seawall_core::{Admission, Clock, ConfigError, Endpoint, Reason, Rejection};

use crate::policy::{Match, Policy, Scope, Transport};

/// Makes breakers as the policy says that is in force.
#[derive(Clone, Debug)]
pub(crate) struct Breakers {
    service: Arc<str>,
    clock: Clock,
    config: Arc<ArcSwap<Config>>,
    /// What all endpoints share, if they do.
    shared: Option<Breaker>,
}

/// What is asked before a call goes to an endpoint.
#[derive(Clone, Debug)]
pub(crate) enum Breaker {
    /// One breaker for all calls.
    One(CircuitBreaker),
    /// One for each method.
    Methods(Methods),
}

/// A breaker for each method: of gRPC by the path; of HTTP, whose paths have names and numbers in
/// them, by the route that a call takes.
#[derive(Clone, Debug)]
pub(crate) struct Methods {
    breakers: Registry<String>,
    routes: Option<Arc<ArcSwap<Routes>>>,
}

/// Which calls a route takes, and what its breaker is called.
type Routes = Vec<(Vec<Match>, String)>;

/// What HTTP calls of no route have in common.
const OTHERS: &str = "other calls";

/// A request, as far as it says which method it calls.
pub(crate) trait Called {
    /// The HTTP method.
    fn verb(&self) -> &str;
    fn path(&self) -> &str;
}

impl<B> Called for http::Request<B> {
    fn verb(&self) -> &str {
        self.method().as_str()
    }

    fn path(&self) -> &str {
        self.uri().path()
    }
}

#[cfg(feature = "reqwest")]
impl Called for reqwest::Request {
    fn verb(&self) -> &str {
        self.method().as_str()
    }

    fn path(&self) -> &str {
        self.url().path()
    }
}

impl Breakers {
    pub(crate) fn new(
        policy: &Policy,
        service: &Arc<str>,
        transport: Transport,
        clock: &Clock,
    ) -> Result<Self, ConfigError> {
        let current = config(policy, service)?;
        let config = Arc::new(ArcSwap::from_pointee(current.clone()));
        let shared = match policy.circuit_breaker.scope_of() {
            Scope::Endpoint => None,
            Scope::Service => {
                let breaker = CircuitBreaker::builder(current).clock(clock.clone());
                let breaker = breaker.named(service.clone()).build();
                Some(Breaker::One(breaker))
            }
            Scope::Method => {
                let (config, service) = (config.clone(), service.clone());
                let named = move |method: &String| format!("{service} {method}").into();
                let breakers = Registry::builder_with(move |_| Config::clone(&config.load()));
                let routes = (transport == Transport::Http)
                    .then(|| Arc::new(ArcSwap::from_pointee(routes(policy))));
                let breakers = breakers.named(named).clock(clock.clone()).build()?;
                Some(Breaker::Methods(Methods { breakers, routes }))
            }
        };
        Ok(Self { service: service.clone(), clock: clock.clone(), config, shared })
    }

    pub(crate) fn make(&self, endpoint: &Endpoint) -> Breaker {
        self.shared.clone().unwrap_or_else(|| {
            let config = Config::clone(&self.config.load());
            Breaker::One(
                CircuitBreaker::builder(config)
                    .clock(self.clock.clone())
                    .named(endpoint.id().as_str())
                    .build(),
            )
        })
    }

    /// Has `made`, and those that are made from here on, do as `policy` says, which was checked.
    pub(crate) fn follow(&self, policy: &Policy, made: Vec<Breaker>) {
        let Ok(config) = config(policy, &self.service) else { return };
        // Those that are made meanwhile have the new settings already.
        self.config.store(Arc::new(config.clone()));
        for breaker in made.iter().chain(&self.shared) {
            match breaker {
                Breaker::One(breaker) => breaker.reconfigure(config.clone()),
                Breaker::Methods(methods) => {
                    if let Some(own) = &methods.routes {
                        own.store(Arc::new(routes(policy)));
                    }
                    for (_, breaker) in methods.list() {
                        breaker.reconfigure(config.clone());
                    }
                }
            }
        }
    }

    /// The breakers of methods, where each has one.
    pub(crate) fn methods(&self) -> Vec<(String, CircuitBreaker)> {
        match &self.shared {
            Some(Breaker::Methods(methods)) => methods.list(),
            _ => Vec::new(),
        }
    }
}

fn routes(policy: &Policy) -> Routes {
    let name = |matches: &[Match]| {
        let each = matches.iter().map(|one| match &one.method {
            Some(method) => format!("{method} {}", one.path),
            None => one.path.clone(),
        });
        each.collect::<Vec<_>>().join(", ")
    };
    policy.routes.iter().map(|route| (route.matches.clone(), name(&route.matches))).collect()
}

impl Methods {
    fn of(&self, request: &impl Called) -> CircuitBreaker {
        let Some(routes) = &self.routes else {
            return self.breakers.get(request.path());
        };
        let routes = routes.load();
        let (verb, path) = (request.verb(), request.path());
        let mut taken = routes.iter().filter(|(own, _)| own.iter().any(|m| m.matches(verb, path)));
        self.breakers.get(taken.next().map_or(OTHERS, |(_, name)| name))
    }

    fn list(&self) -> Vec<(String, CircuitBreaker)> {
        let mut all = self.breakers.list();
        all.sort_by(|(one, _), (other, _)| one.cmp(other));
        all
    }
}

impl Breaker {
    /// The one that stands for the endpoint, if there is one.
    pub(crate) fn one(&self) -> Option<&CircuitBreaker> {
        match self {
            Self::One(breaker) => Some(breaker),
            Self::Methods(_) => None,
        }
    }

    /// What a call would meet, as far as that is known before there is one.
    pub(crate) fn admission(&self) -> Admission {
        self.one().map_or(Admission::Open, CircuitBreaker::admission)
    }
}

/// A refusal: the breakers of methods are found by the request, and make theirs at once.
pub(crate) enum Refused {
    /// By the one breaker.
    One(Rejected),
    /// By the breaker of a method.
    Method(Rejection),
}

impl<Req: Called> Admit<Req> for Breaker {
    type Permit = OwnedPermit;
    type Rejected = Refused;

    #[inline]
    fn would_admit(&self) -> bool {
        self.one().is_none_or(CircuitBreaker::would_admit)
    }

    #[inline]
    fn admit(&self, request: &Req) -> Result<OwnedPermit, Refused> {
        match self {
            Self::One(breaker) => breaker.admit_owned().map_err(Refused::One),
            Self::Methods(methods) => {
                let breaker = methods.of(request);
                breaker.admit_owned().map_err(|no| Refused::Method(breaker.rejection(no)))
            }
        }
    }

    fn rejection(&self, rejected: Refused) -> Rejection {
        match (self, rejected) {
            (Self::One(breaker), Refused::One(rejected)) => breaker.rejection(rejected),
            (_, Refused::Method(rejection)) => rejection,
            (Self::Methods(_), Refused::One(_)) => Rejection::new(Reason::CircuitOpen),
        }
    }

    fn refuse(&self, request: &Req) -> Rejection {
        match self {
            Self::One(breaker) => Admit::<Req>::refuse(breaker, request),
            Self::Methods(methods) => Admit::<Req>::refuse(&methods.of(request), request),
        }
    }
}

fn config(policy: &Policy, service: &str) -> Result<Config, ConfigError> {
    let breaker = &policy.circuit_breaker;
    let abandoned = policy.abandoned_after(service);
    breaker.config_with(abandoned).map_err(|error| error.within("circuit_breaker"))
}
