//! What follows from a policy.

use std::time::Duration;

use http::HeaderName;
use seawall_core::ConfigError;
use seawall_load_balance::Split;

use super::{Policy, Subset};

impl Policy {
    pub(crate) fn deadline_header_name(&self) -> Result<Option<HeaderName>, ConfigError> {
        let Some(name) = &self.deadline_header else {
            return Ok(None);
        };
        let parsed = name.parse();
        parsed
            .map(Some)
            .map_err(|_| ConfigError::new("deadline_header", name, "an HTTP header name"))
    }

    /// How old an attempt on `service` is that a time-out of ours gave up. The time-outs are outside
    /// the breaker and the balancer, and drop the calls that they give up on; a call that is dropped
    /// earlier was given up by its caller, who has reasons of its own. Of several routes the shortest
    /// counts.
    pub(crate) fn abandoned_after(&self, service: &str) -> Option<Duration> {
        let routes = (0..self.routes.len()).filter_map(|at| self.of_route(at).ok());
        let all = routes.chain([self.without_routes()]);
        let shortest = all.flat_map(|policy| {
            let fallback = policy.fallback.as_ref().and_then(|fallback| fallback.service.as_ref());
            let own = fallback.filter(|fallback| fallback.name == service);
            [policy.shortest(), own.map(|fallback| fallback.timeout)]
        });
        shortest.flatten().min().map(|limit| limit.mul_f64(0.9))
    }

    /// The time-out of one attempt.
    fn shortest(&self) -> Option<Duration> {
        self.retries.per_try_timeout.or(self.timeout)
    }

    /// Subsets with their parts of the calls, as a balancer has them.
    pub(crate) fn parts(&self) -> Result<Option<Split>, ConfigError> {
        if self.subsets.is_empty() {
            return Ok(None);
        }
        let weight = |subset: &Subset| {
            let own = self.split.iter().find(|share| share.subset.as_ref() == Some(&subset.name));
            own.map_or(0, |share| share.weight)
        };
        // Where a service takes all calls, the parts matter only to calls whose subset is empty.
        let even = self.subsets.iter().all(|subset| weight(subset) == 0);
        let mut split = Split::new();
        for subset in &self.subsets {
            let weight = if even { 1 } else { weight(subset) };
            split = split.with_subset(subset.name.as_str(), subset.select()?, weight);
        }
        Ok(Some(split))
    }

    /// Whether the policy lists the gRPC method at `path` as idempotent.
    pub(crate) fn lists(&self, path: &str) -> bool {
        self.idempotent.iter().any(|method| match method.strip_suffix('*') {
            Some(service) => path.starts_with(service),
            None => path == method,
        })
    }
}
