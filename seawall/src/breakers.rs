//! The breakers of a service's endpoints.

use std::sync::Arc;

use arc_swap::ArcSwap;
use seawall_circuit_breaker::{CircuitBreaker, Config};
use seawall_core::{ConfigError, Endpoint};

use crate::policy::Policy;

/// Makes breakers as the policy says that is in force.
#[derive(Clone, Debug)]
pub(crate) struct Breakers {
    service: Arc<str>,
    config: Arc<ArcSwap<Config>>,
    /// The one of all endpoints, where they share it.
    shared: Option<CircuitBreaker>,
}

impl Breakers {
    pub(crate) fn new(policy: &Policy, service: &Arc<str>) -> Result<Self, ConfigError> {
        let config = config(policy, service)?;
        let shared = policy
            .circuit_breaker
            .is_shared()
            .then(|| CircuitBreaker::builder(config.clone()).named(service.clone()).build());
        Ok(Self {
            service: service.clone(),
            config: Arc::new(ArcSwap::from_pointee(config)),
            shared,
        })
    }

    pub(crate) fn make(&self, endpoint: &Endpoint) -> CircuitBreaker {
        match &self.shared {
            Some(breaker) => breaker.clone(),
            None => {
                let config = Config::clone(&self.config.load());
                CircuitBreaker::builder(config).named(endpoint.id().as_str()).build()
            }
        }
    }

    /// Has `made`, and those that are made from here on, do as `policy` says, which was checked.
    pub(crate) fn follow(&self, policy: &Policy, made: Vec<CircuitBreaker>) {
        let Ok(config) = config(policy, &self.service) else { return };
        // Those that are made meanwhile have the new settings already.
        self.config.store(Arc::new(config.clone()));
        for breaker in made {
            breaker.reconfigure(config.clone());
        }
    }
}

fn config(policy: &Policy, service: &str) -> Result<Config, ConfigError> {
    let breaker = &policy.circuit_breaker;
    let abandoned = policy.abandoned_after(service);
    breaker.config_with(abandoned).map_err(|error| error.within("circuit_breaker"))
}
