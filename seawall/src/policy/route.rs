//! Calls that are treated otherwise than the rest.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Policy, PolicyError, Share};

/// What belongs to the endpoints, which calls of all routes share.
const SHARED: &[&str] = &[
    "circuit_breaker",
    "outlier_detection",
    "load_balance",
    "connection_pool",
    "subsets",
    "routes",
];

/// What may be absent in a setting: a policy that is taken whole leaves nothing of it as it was.
const OPTIONAL: &[&str] = &[
    "retries/per_try_timeout",
    "retries/retriable_status_codes",
    "hedge/delay",
    "hedge/percentile",
    "rate_limit/burst",
    "rate_limit/reserve",
    "rate_limit/shared",
    "throttle/window",
    "throttle/k",
    "throttle/padding",
    "throttle/on_drop",
    "fallback/service",
    "fallback/stale",
    "fallback/stale/vary",
    "fallback/value",
    "fallback/value/message",
    "fallback/value/status",
    "fallback/value/headers",
    "fallback/value/body",
];

/// Calls that are treated otherwise than the rest: by another time-out, other retries, another limit,
/// or by other servers. The first route of a policy that matches a call is its route.
///
/// Whatever of the policy is not said here is as in the policy, down to single fields:
/// `retries: { attempts: 0 }` keeps the conditions, and `timeout: null` takes the time-out away.
/// What belongs to the endpoints (breakers, balancing, pools) is the same for all routes.
///
/// ```
/// use std::time::Duration;
/// use seawall::policy::Policy;
///
/// let policy = Policy::from_yaml("
/// timeout: 2s
/// retries: { attempts: 3, per_try_timeout: 500ms }
/// routes:
///   - match: [{ path: /orders.v1.Orders/Export }]
///     timeout: 30s
///     retries: { attempts: 0 }
///   - match: [{ path: /api/v1/*, method: GET }]
///     service: users-old
/// ")?;
/// let export = policy.at("POST", "/orders.v1.Orders/Export")?;
/// assert_eq!(export, Policy::from_yaml(
///     "{ timeout: 30s, retries: { attempts: 0, per_try_timeout: 500ms } }")?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Route {
    /// What it is called in explanations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    #[serde(rename = "match")]
    pub(crate) matches: Vec<Match>,
    /// The service that its calls go to, in place of the client's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) service: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) subset: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) split: Vec<Share>,
    #[serde(flatten)]
    pub(crate) overrides: Map<String, Value>,
}

/// Which calls.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Match {
    /// A path, or what a path begins with and `*`; that of a gRPC method is
    /// `/package.Service/Method`.
    pub(crate) path: String,
    /// An HTTP method; any unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) method: Option<String>,
}

impl Match {
    /// Calls of this path, or of all paths that begin as it does where it ends in `*`.
    pub fn path(path: impl Into<String>) -> Self {
        Self { path: path.into(), method: None }
    }

    /// Of these, calls of one HTTP method.
    #[must_use]
    pub fn method(mut self, method: impl Into<String>) -> Self {
        self.method = Some(method.into());
        self
    }

    pub(crate) fn matches(&self, method: &str, path: &str) -> bool {
        let fits = match self.path.strip_suffix('*') {
            Some(begin) => path.starts_with(begin),
            None => path == self.path,
        };
        fits && self.method.as_deref().is_none_or(|own| own == method)
    }
}

impl Route {
    /// Calls that any of `matches` names.
    pub fn new(matches: impl IntoIterator<Item = Match>) -> Self {
        Self { matches: matches.into_iter().collect(), ..Self::default() }
    }

    /// What it is called in explanations.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Sends its calls to another service, which the client's resolver finds.
    #[must_use]
    pub fn service(mut self, service: impl Into<String>) -> Self {
        self.service = Some(service.into());
        self
    }

    /// Sends its calls to a subset of the endpoints.
    #[must_use]
    pub fn subset(mut self, subset: impl Into<String>) -> Self {
        self.subset = Some(subset.into());
        self
    }

    /// Divides its calls.
    #[must_use]
    pub fn split(mut self, split: impl IntoIterator<Item = Share>) -> Self {
        self.split = split.into_iter().collect();
        self
    }

    /// Takes what concerns single calls from `policy`, all of it: time-out, retries, limit.
    #[must_use]
    pub fn policy(mut self, policy: &Policy) -> Self {
        let mut all = policy.to_map();
        // What is absent in this policy is not to be found in the other one either.
        for field in [
            "timeout",
            "rate_limit",
            "idempotent",
            "hedge",
            "deadline_header",
            "fallback",
            "throttle",
            "priority",
        ] {
            all.entry(field).or_insert(Value::Null);
        }
        let mut whole = Value::Object(all);
        for path in OPTIONAL {
            if let Some((parent, field)) = path.rsplit_once('/')
                && let Some(Value::Object(parent)) =
                    parent.split('/').try_fold(&mut whole, |value, name| value.get_mut(name))
            {
                parent.entry(field).or_insert(Value::Null);
            }
        }
        let Value::Object(mut all) = whole else { return self };
        all.retain(|field, _| !SHARED.contains(&field.as_str()) && field != "split");
        self.overrides = all;
        self
    }

    pub(crate) fn matches(&self, method: &str, path: &str) -> bool {
        self.matches.iter().any(|own| own.matches(method, path))
    }

    /// What it is called in explanations and paths of errors.
    pub(crate) fn title(&self, at: usize) -> String {
        self.name.clone().unwrap_or_else(|| format!("routes[{at}]"))
    }
}

impl Policy {
    /// What applies to a call of this HTTP method and path: the policy, as its first route that
    /// matches changes it. Routes, subsets and split are not part of it.
    ///
    /// # Errors
    ///
    /// When the route has a field that is not known.
    pub fn at(&self, method: &str, path: &str) -> Result<Self, PolicyError> {
        match self.routes.iter().position(|route| route.matches(method, path)) {
            Some(at) => self.of_route(at),
            None => Ok(self.without_routes()),
        }
    }

    /// The policy of calls that no route matches.
    pub(crate) fn without_routes(&self) -> Self {
        Self { routes: Vec::new(), subsets: Vec::new(), split: Vec::new(), ..self.clone() }
    }

    pub(crate) fn of_route(&self, at: usize) -> Result<Self, PolicyError> {
        let overrides = &self.routes[at].overrides;
        let path = format!("routes[{at}]");
        if let Some(field) = overrides.keys().find(|field| SHARED.contains(&field.as_str())) {
            let message = "belongs to the endpoints, which all routes share: say it at the top, \
                           or give the route a `service` of its own";
            return Err(PolicyError::new(format!("{path}.{field}"), message));
        }
        let mut all = Value::Object(self.without_routes().to_map());
        let overrides = Value::Object(overrides.clone());
        // Of these two there is one: a route that names the other one means that.
        for (named, other) in [("delay", "percentile"), ("percentile", "delay")] {
            if overrides["hedge"].get(named).is_some_and(|value| !value.is_null())
                && let Some(hedge) = all.get_mut("hedge").and_then(Value::as_object_mut)
            {
                hedge.remove(other);
            }
        }
        merge(&mut all, &overrides);
        serde_path_to_error::deserialize(all).map_err(|error| PolicyError::at(error).within(&path))
    }

    fn to_map(&self) -> Map<String, Value> {
        match serde_json::to_value(self) {
            Ok(Value::Object(map)) => map,
            // A policy is a map of texts, numbers and lists.
            _ => Map::new(),
        }
    }
}

/// Puts `above` over `below`, field by field.
fn merge(below: &mut Value, above: &Value) {
    match (below, above) {
        (Value::Object(below), Value::Object(above)) => {
            for (field, value) in above {
                if value.is_null() {
                    below.remove(field);
                } else {
                    merge(below.entry(field.clone()).or_insert(Value::Null), value);
                }
            }
        }
        (below, Value::Object(_)) => {
            *below = Value::Object(Map::new());
            merge(below, above);
        }
        (below, above) => *below = above.clone(),
    }
}
