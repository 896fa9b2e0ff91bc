//! What a client does so that its calls survive.

mod check;
mod circuit_breaker;
mod connection_pool;
mod effect;
mod explain;
mod fallback;
mod hedge;
mod istio;
mod load_balance;
mod rate_limit;
mod read;
mod retry;
mod retry_budget;
mod route;
#[cfg(feature = "schema")]
mod schema;
mod settings;
mod subset;
#[cfg(test)]
mod tests;
mod throttle;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub(crate) use check::Transport;
pub use circuit_breaker::{CircuitBreaker, Scope};
pub(crate) use connection_pool::Bounds;
pub use connection_pool::ConnectionPool;
pub use explain::Explanation;
pub use fallback::{Fallback, FallbackService, Stale, Value};
pub use hedge::Hedge;
pub use istio::{FromIstio, Ignored};
pub use load_balance::{LoadBalance, OutlierDetection};
pub use rate_limit::{OnFailure, RateLimit, Shared};
pub use read::PolicyError;
pub use retry::{Backoff, Retries, RetryOn};
pub use retry_budget::RetryBudget;
pub use route::{Match, Route};
pub use seawall_circuit_breaker::throttle::Priority;
pub use subset::{Share, Subset};
pub use throttle::Throttle;

/// Everything that a resilient client does, as one value.
///
/// The words are those of Istio's `DestinationRule` and `VirtualService` where these have one.
/// Durations are texts such as `"250ms"`; a field that is not known is refused.
///
/// | field | default | why |
/// |---|---|---|
/// | `timeout` | none | only the caller knows how long an answer is worth waiting for; a stream may last for hours |
/// | `retries` | 2, of what never reached a server | nothing is done twice that the server may have done once |
/// | `hedge` | none | it costs the servers more, and only the caller knows whether the tail matters |
/// | `fallback` | none | only the caller knows what is better than an error |
/// | `idempotent` | nothing for gRPC; `GET`, `HEAD`, `OPTIONS`, `TRACE`, `PUT`, `DELETE` for HTTP | RFC 9110, section 9.2.2 |
/// | `rate_limit` | none | a limit is a promise to somebody, and nobody has made one |
/// | `throttle` | none | a server that refuses without being overloaded would be asked too little |
/// | `priority` | `critical` | only the caller knows what nobody misses |
/// | `circuit_breaker` | one per endpoint, with the breaker's own defaults | calls go elsewhere while a server fails |
/// | `outlier_detection` | none | the breakers do as much, and return sooner |
/// | `load_balance` | power of two choices on calls in flight, 5 s for the first endpoint | the least known load balances well without any tuning |
/// | `connection_pool` | one channel for gRPC, no limits | only the owner of a server knows how much of it is a client's |
/// | `subsets`, `split` | none | all endpoints serve alike until somebody says otherwise |
/// | `routes` | none | all calls are alike until somebody says otherwise |
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use seawall::policy::{Policy, Retries, RetryOn};
///
/// let by_hand = Policy::new().timeout(Duration::from_secs(2)).retries(
///     Retries::new().attempts(3).per_try_timeout(Duration::from_millis(250)),
/// );
/// let from_text = Policy::from_yaml("{ timeout: 2s, retries: { attempts: 3, per_try_timeout: 250ms } }")?;
/// assert_eq!(from_text, by_hand);
///
/// let error = Policy::from_yaml("retries: { atempts: 3 }").unwrap_err();
/// assert!(error.to_string().contains("atempts"), "{error}");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// How long a call may take in all, to the end of its response. None unless set: only the
    /// caller knows how long an answer is worth waiting for.
    #[cfg_attr(feature = "schema", schemars(with = "Option<schema::Time>"))]
    #[serde(with = "seawall_core::duration::option", skip_serializing_if = "Option::is_none")]
    pub(crate) timeout: Option<Duration>,
    /// Tells HTTP servers in this header how many milliseconds are left.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) deadline_header: Option<String>,
    /// What is tried again. Two retries unless set, of what never reached a server: nothing is
    /// done twice that the server may have done once.
    pub(crate) retries: Retries,
    /// When a second attempt is sent beside the first. Never unless set: it costs the servers more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) hedge: Option<Hedge>,
    /// What a caller gets when its call has failed for good. The failure unless set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) fallback: Option<Fallback>,
    /// gRPC methods that may be done twice: `/package.Service/Method` or `/package.Service/*`. None
    /// unless set; of HTTP those that RFC 9110 calls so.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) idempotent: Vec<String>,
    /// How many calls may be made. Any number unless set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rate_limit: Option<RateLimit>,
    /// When calls are held back because servers refuse them. Never unless set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) throttle: Option<Throttle>,
    /// How critical calls are that do not say it themselves.
    #[cfg_attr(feature = "schema", schemars(with = "schema::PriorityName"))]
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) priority: Priority,
    /// When an endpoint is left alone: after five failures in a row, for five seconds, unless set.
    pub(crate) circuit_breaker: CircuitBreaker,
    /// When an endpoint is taken out of the set beside its breaker. Never unless set: the breakers
    /// do as much, and return sooner.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) outlier_detection: Option<OutlierDetection>,
    /// How endpoints are picked. The less loaded of two unless set.
    pub(crate) load_balance: LoadBalance,
    /// How many connections and calls each endpoint may have. One channel for gRPC and no limits
    /// unless set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) connection_pool: Option<ConnectionPool>,
    /// Named parts of the endpoints.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) subsets: Vec<Subset>,
    /// How calls of no route are divided among subsets or services.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) split: Vec<Share>,
    /// Calls that are treated otherwise; the first one that matches counts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) routes: Vec<Route>,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl Policy {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// How long a call may take in all: waits, attempts and retries together, and the body of the
    /// response, which ends with DEADLINE_EXCEEDED where it takes longer.
    ///
    /// A shorter time that a gRPC caller sets for its own call (`grpc-timeout`) counts in its place.
    /// Each attempt tells its server what is left. Streams end with it too: a route of long streams
    /// has none.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Tells HTTP servers in this header how many milliseconds are left of the timeout, anew on each
    /// attempt, as `grpc-timeout` tells gRPC servers. None unless set: HTTP has no such header.
    #[must_use]
    pub fn deadline_header(mut self, name: impl Into<String>) -> Self {
        self.deadline_header = Some(name.into());
        self
    }

    /// What is tried again, and how often.
    #[must_use]
    pub fn retries(mut self, retries: Retries) -> Self {
        self.retries = retries;
        self
    }

    /// When a second attempt is sent before the first one has answered.
    #[must_use]
    pub fn hedge(mut self, hedge: Hedge) -> Self {
        self.hedge = Some(hedge);
        self
    }

    /// What a caller gets when its call has failed for good; the failure unless set.
    #[must_use]
    pub fn fallback(mut self, fallback: Fallback) -> Self {
        self.fallback = Some(fallback);
        self
    }

    /// Calls that may be done twice, in addition to the HTTP methods that always may: gRPC methods as
    /// `/package.Service/Method`, or `/package.Service/*` for all of a service.
    #[must_use]
    pub fn idempotent<T: Into<String>>(mut self, methods: impl IntoIterator<Item = T>) -> Self {
        self.idempotent = methods.into_iter().map(Into::into).collect();
        self
    }

    /// How many calls may be made.
    #[must_use]
    pub fn rate_limit(mut self, limit: RateLimit) -> Self {
        self.rate_limit = Some(limit);
        self
    }

    /// When calls are held back because their servers refuse them.
    #[must_use]
    pub fn throttle(mut self, throttle: Throttle) -> Self {
        self.throttle = Some(throttle);
        self
    }

    /// How critical calls are that do not say it themselves; critical unless set. When the rate limit
    /// or the throttle is tight, those go first that may be shed.
    ///
    /// A call says it with a [`Priority`] in its extensions: `request.extensions_mut().insert(..)` of a
    /// `tonic::Request`, `with_extension(..)` of a `reqwest_middleware::RequestBuilder`.
    #[must_use]
    pub fn priority(mut self, priority: Priority) -> Self {
        self.priority = priority;
        self
    }

    /// When an endpoint is left alone.
    #[must_use]
    pub fn circuit_breaker(mut self, breaker: CircuitBreaker) -> Self {
        self.circuit_breaker = breaker;
        self
    }

    /// When an endpoint that keeps failing is taken out of the set.
    #[must_use]
    pub fn outlier_detection(mut self, detection: OutlierDetection) -> Self {
        self.outlier_detection = Some(detection);
        self
    }

    /// How endpoints are picked.
    #[must_use]
    pub fn load_balance(mut self, load_balance: LoadBalance) -> Self {
        self.load_balance = load_balance;
        self
    }

    /// How many connections and calls each endpoint may have.
    #[must_use]
    pub fn connection_pool(mut self, pool: ConnectionPool) -> Self {
        self.connection_pool = Some(pool);
        self
    }

    /// Names parts of the endpoints, for [`split`](Self::split) and routes.
    #[must_use]
    pub fn subsets(mut self, subsets: impl IntoIterator<Item = Subset>) -> Self {
        self.subsets = subsets.into_iter().collect();
        self
    }

    /// Divides the calls of no route among subsets, or among services.
    #[must_use]
    pub fn split(mut self, split: impl IntoIterator<Item = Share>) -> Self {
        self.split = split.into_iter().collect();
        self
    }

    /// Calls that are treated otherwise; the first one that matches counts.
    #[must_use]
    pub fn routes(mut self, routes: impl IntoIterator<Item = Route>) -> Self {
        self.routes = routes.into_iter().collect();
        self
    }
}
