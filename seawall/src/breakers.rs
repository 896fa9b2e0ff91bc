//! The breaker of each endpoint.

use seawall_circuit_breaker::{CircuitBreaker, Config, OnDrop};
use seawall_core::{ConfigError, Endpoint};

use crate::policy::Policy;

/// Makes breakers as a policy says.
#[derive(Clone, Debug)]
pub(crate) struct Breakers {
    config: Config,
}

impl Breakers {
    pub(crate) fn new(policy: &Policy) -> Result<Self, ConfigError> {
        let breaker = policy.circuit_breaker;
        let config = Config::builder()
            .consecutive_failures(breaker.failure_threshold)
            .successes_to_close(breaker.success_threshold)
            .open_wait(breaker.open_wait)
            .probes(breaker.max_requests)
            .on_drop(policy.abandoned_after().map_or(OnDrop::Ignore, OnDrop::FailureAfter))
            .build()
            .map_err(|error| error.within("circuit_breaker"))?;
        Ok(Self { config })
    }

    pub(crate) fn make(&self, endpoint: &Endpoint) -> CircuitBreaker {
        CircuitBreaker::builder(self.config.clone()).named(endpoint.id().as_str()).build()
    }
}
