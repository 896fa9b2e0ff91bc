//! What a policy may say.

use seawall_core::ConfigError;

use super::{Policy, subset};

/// How calls are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    /// By tonic's channels.
    Grpc,
    /// By reqwest's clients.
    Http,
}

impl Policy {
    /// Refuses what no client can do.
    ///
    /// # Errors
    ///
    /// The first field whose value is out of its range, with its path.
    pub fn check(&self) -> Result<(), ConfigError> {
        if self.timeout.is_some_and(|timeout| timeout.is_zero()) {
            return Err(ConfigError::new("timeout", "0s", "above 0s"));
        }
        self.deadline_header_name()?;
        self.retries.check(self.timeout).map_err(|error| error.within("retries"))?;
        if let Some(hedge) = &self.hedge {
            hedge.check().map_err(|error| error.within("hedge"))?;
        }
        if let Some(fallback) = &self.fallback {
            fallback.check().map_err(|error| match error.field() {
                "fallback" => error,
                _ => error.within("fallback"),
            })?;
        }
        for method in &self.idempotent {
            let parts = method.strip_prefix('/').and_then(|rest| rest.split_once('/'));
            if parts.is_none_or(|(service, method)| service.is_empty() || method.is_empty()) {
                let want = "`/package.Service/Method` or `/package.Service/*`";
                return Err(ConfigError::new("idempotent", method, want));
            }
        }
        if let Some(limit) = &self.rate_limit {
            limit.check().map_err(|error| error.within("rate_limit"))?;
        }
        if let Some(throttle) = &self.throttle {
            throttle.config().map_err(|error| error.within("throttle"))?;
        }
        if let Some(detection) = &self.outlier_detection {
            detection.check().map_err(|error| error.within("outlier_detection"))?;
        }
        self.circuit_breaker.check().map_err(|error| error.within("circuit_breaker"))?;
        if let Some(pool) = &self.connection_pool {
            pool.check().map_err(|error| error.within("connection_pool"))?;
        }
        self.load_balance.config().map_err(|error| error.within("load_balance"))?;
        if self.load_balance.has_slow_start() && self.circuit_breaker.has_ramp() {
            let want = "absent beside `load_balance.slow_start`, which an endpoint enters when its \
                        breaker closes";
            return Err(ConfigError::new("circuit_breaker.ramp", "present", want));
        }
        self.check_ways()
    }

    /// Refuses routes, subsets and splits that lead nowhere.
    fn check_ways(&self) -> Result<(), ConfigError> {
        for (at, subset) in self.subsets.iter().enumerate() {
            subset.select().map_err(|error| error.within("subsets"))?;
            if self.subsets[..at].iter().any(|other| other.name == subset.name) {
                let field = format!("subsets[{at}].name");
                return Err(ConfigError::new(field, &subset.name, "another name than the others"));
            }
        }
        if !self.subsets.is_empty() && self.split.is_empty() {
            let want = "the part of each subset in the calls that no route matches";
            return Err(ConfigError::new("split", "absent beside `subsets`", want));
        }
        subset::check_split(&self.split, &self.subsets)?;
        for (at, route) in self.routes.iter().enumerate() {
            let within = |error: ConfigError| error.within(&format!("routes[{at}]"));
            if route.matches.is_empty() {
                return Err(within(ConfigError::new("match", "empty", "at least one path")));
            }
            if let Some(wrong) = route.matches.iter().find(|m| !m.path.starts_with('/')) {
                let want = "a path that begins with `/`";
                return Err(within(ConfigError::new("match.path", &wrong.path, want)));
            }
            if !route.split.is_empty() && (route.service.is_some() || route.subset.is_some()) {
                let want = "absent beside `service` or `subset`";
                return Err(within(ConfigError::new("split", "present", want)));
            }
            if let Some(subset) = &route.subset {
                if route.service.is_some() {
                    let want = "absent beside `service`: subsets are parts of the client's own";
                    return Err(within(ConfigError::new("subset", subset, want)));
                }
                subset::check_subset(subset, &self.subsets).map_err(within)?;
            }
            subset::check_split(&route.split, &self.subsets).map_err(within)?;
            let effective = self.of_route(at).map_err(|error| {
                ConfigError::new(error.path().to_owned(), "refused", error.to_string())
            })?;
            effective.check().map_err(within)?;
        }
        Ok(())
    }

    /// Refuses what a transport cannot do.
    pub(crate) fn check_for(&self, transport: Transport) -> Result<(), ConfigError> {
        if let Some(pool) = &self.connection_pool {
            pool.check_for(transport).map_err(|error| error.within("connection_pool"))?;
        }
        let routes =
            (0..self.routes.len()).filter_map(|at| Some((Some(at), self.of_route(at).ok()?)));
        for (at, policy) in routes.chain([(None, self.without_routes())]) {
            let Some(value) = policy.fallback.and_then(|fallback| fallback.value) else { continue };
            value.check_for(transport).map_err(|error| {
                let error = error.within("fallback.value");
                at.map_or_else(
                    || error.clone(),
                    |at| error.clone().within(&format!("routes[{at}]")),
                )
            })?;
        }
        Ok(())
    }

    /// Refuses `new` where it changes what is fixed when a client is built.
    pub(crate) fn check_change(&self, new: &Self) -> Result<(), ConfigError> {
        if self.circuit_breaker.scope_of() == new.circuit_breaker.scope_of() {
            return Ok(());
        }
        // What one breaker counted cannot be divided among several, nor the other way round.
        let want = "as it was: it is fixed when a client is built";
        Err(ConfigError::new("circuit_breaker.scope", "changed", want))
    }

    /// Whether the endpoints of `service` are picked by `new` as they are now.
    pub(crate) fn balances_as(&self, new: &Self, service: &str) -> bool {
        self.load_balance == new.load_balance
            && self.outlier_detection == new.outlier_detection
            && self.subsets == new.subsets
            && (self.outlier_detection.is_none()
                || self.abandoned_after(service) == new.abandoned_after(service))
    }
}
