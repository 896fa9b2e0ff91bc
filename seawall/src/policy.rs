//! What a client does so that its calls survive.

mod circuit_breaker;
mod explain;
mod hedge;
mod istio;
mod load_balance;
mod rate_limit;
mod read;
mod retry;
mod retry_budget;
mod route;
mod settings;
mod subset;

use std::time::Duration;

use http::HeaderName;
use seawall_core::ConfigError;
use seawall_load_balance::Split;
use serde::{Deserialize, Serialize};

pub use circuit_breaker::{CircuitBreaker, Scope};
pub use explain::Explanation;
pub use hedge::Hedge;
pub use istio::{FromIstio, Ignored};
pub use load_balance::{LoadBalance, OutlierDetection};
pub use rate_limit::RateLimit;
pub use read::PolicyError;
pub use retry::{Backoff, Retries, RetryOn};
pub use retry_budget::RetryBudget;
pub use route::{Match, Route};
pub use subset::{Share, Subset};

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
/// | `idempotent` | nothing for gRPC; `GET`, `HEAD`, `OPTIONS`, `TRACE`, `PUT`, `DELETE` for HTTP | RFC 9110, section 9.2.2 |
/// | `rate_limit` | none | a limit is a promise to somebody, and nobody has made one |
/// | `circuit_breaker` | one per endpoint, with the breaker's own defaults | calls go elsewhere while a server fails |
/// | `outlier_detection` | none | the breakers do as much, and return sooner |
/// | `load_balance` | power of two choices on calls in flight, 5 s for the first endpoint | the least known load balances well without any tuning |
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
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    #[serde(with = "seawall_core::duration::option", skip_serializing_if = "Option::is_none")]
    pub(crate) timeout: Option<Duration>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) deadline_header: Option<String>,
    pub(crate) retries: Retries,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) hedge: Option<Hedge>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) idempotent: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rate_limit: Option<RateLimit>,
    pub(crate) circuit_breaker: CircuitBreaker,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) outlier_detection: Option<OutlierDetection>,
    pub(crate) load_balance: LoadBalance,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) subsets: Vec<Subset>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) split: Vec<Share>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) routes: Vec<Route>,
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
        if let Some(detection) = &self.outlier_detection {
            detection.check().map_err(|error| error.within("outlier_detection"))?;
        }
        self.circuit_breaker.check().map_err(|error| error.within("circuit_breaker"))?;
        self.load_balance.config().map_err(|error| error.within("load_balance"))?;
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

    pub(crate) fn deadline_header_name(&self) -> Result<Option<HeaderName>, ConfigError> {
        let Some(name) = &self.deadline_header else {
            return Ok(None);
        };
        let parsed = name.parse();
        parsed
            .map(Some)
            .map_err(|_| ConfigError::new("deadline_header", name, "an HTTP header name"))
    }

    /// How old an attempt is that a time-out of ours gave up. The time-outs are outside the breaker
    /// and the balancer, and drop the calls that they give up on; a call that is dropped earlier was
    /// given up by its caller, who has reasons of its own. Of several routes the shortest counts.
    pub(crate) fn abandoned_after(&self) -> Option<Duration> {
        let routes = (0..self.routes.len()).filter_map(|at| self.of_route(at).ok()?.shortest());
        routes.chain(self.shortest()).min().map(|limit| limit.mul_f64(0.9))
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

    /// Refuses `new` where it changes what is fixed when a client is built.
    pub(crate) fn check_change(&self, new: &Self) -> Result<(), ConfigError> {
        let fixed = [
            ("load_balance", self.load_balance == new.load_balance),
            ("outlier_detection", self.outlier_detection == new.outlier_detection),
            ("subsets", self.subsets == new.subsets),
            (
                "circuit_breaker.scope",
                self.circuit_breaker.is_shared() == new.circuit_breaker.is_shared(),
            ),
        ];
        match fixed.iter().find(|(_, same)| !same) {
            None => Ok(()),
            Some((field, _)) => {
                let want = "as it was: it is fixed when a client is built";
                Err(ConfigError::new(*field, "changed", want))
            }
        }
    }

    /// Whether the policy lists the gRPC method at `path` as idempotent.
    pub(crate) fn lists(&self, path: &str) -> bool {
        self.idempotent.iter().any(|method| match method.strip_suffix('*') {
            Some(service) => path.starts_with(service),
            None => path == method,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_policy_reads_as_it_is_written() {
        let text = "
timeout: 2s
retries:
  attempts: 3
  per_try_timeout: 250ms
  retry_on: [connect-failure, 5xx, reset, unavailable]
  backoff: { base: 10ms, max: 100ms }
  budget: { percent: 25, min_per_second: 5 }
hedge: { percentile: 95, budget: { percent: 5 } }
idempotent: [/orders.v1.Orders/Get, /stock.v1.Stock/*]
rate_limit: { limit: 100, burst: 200, wait: 50ms }
circuit_breaker: { failure_threshold: 5, success_threshold: 3, timeout: 1m, max_requests: 2 }
outlier_detection: { consecutive_errors: 3, base_ejection_time: 30s, max_ejection_percent: 50 }
load_balance: { wait_for_endpoints: 1s }
";
        let policy = Policy::from_yaml(text).unwrap();
        policy.check().unwrap();
        assert_eq!(policy.timeout, Some(Duration::from_secs(2)));
        let breaker = CircuitBreaker::new().failure_threshold(5).success_threshold(3);
        let breaker = breaker.max_requests(2).open_wait(Duration::from_secs(60));
        assert_eq!(
            format!("{:?}", policy.circuit_breaker.config_with(None)),
            format!("{:?}", breaker.config_with(None)),
        );
        assert!(policy.lists("/orders.v1.Orders/Get"));
        assert!(!policy.lists("/orders.v1.Orders/Create"));
        assert!(policy.lists("/stock.v1.Stock/Count"));

        let again = yaml_serde::to_string(&policy).unwrap();
        assert_eq!(Policy::from_yaml(&again).unwrap(), policy, "{again}");
    }

    #[test]
    fn what_cannot_be_is_refused_with_its_path() {
        for (text, field) in [
            ("timeout: 0s", "timeout"),
            ("deadline_header: a b", "deadline_header"),
            ("retries: { per_try_timeout: 0s }", "retries.per_try_timeout"),
            ("{ timeout: 1s, retries: { per_try_timeout: 2s } }", "retries.per_try_timeout"),
            ("retries: { attempts: 1000 }", "retries.attempts"),
            ("retries: { backoff: { base: 2s, max: 1s } }", "retries.backoff.max"),
            ("retries: { budget: { percent: 101 } }", "retries.budget.percent"),
            ("hedge: { percentile: 100 }", "hedge.percentile"),
            ("hedge: { percentile: 90, delay: 1ms }", "hedge.percentile"),
            ("hedge: { budget: { percent: 101 } }", "hedge.budget.percent"),
            ("idempotent: [Get]", "idempotent"),
            ("rate_limit: { limit: 1, period: 0s }", "rate_limit.period"),
            (
                "outlier_detection: { consecutive_errors: 0 }",
                "outlier_detection.consecutive_errors",
            ),
            ("subsets: [{ name: a, tag: a }]", "split"),
            ("split: [{ subset: a, weight: 1 }]", "split[0].subset"),
            ("split: [{ service: a, weight: 0 }]", "split"),
            ("split: [{ weight: 1 }]", "split[0]"),
            ("{ subsets: [{ name: a }], split: [{ subset: a, weight: 1 }] }", "subsets.a"),
            ("routes: [{ match: [] }]", "routes[0].match"),
            ("routes: [{ match: [{ path: users }] }]", "routes[0].match.path"),
            ("routes: [{ match: [{ path: /a }], subset: b }]", "routes[0].subset"),
            (
                "routes: [{ match: [{ path: /a }], retries: { attempts: 101 } }]",
                "routes[0].retries.attempts",
            ),
            (
                "{ timeout: 1s, routes: [{ match: [{ path: /a }], \
                 retries: { per_try_timeout: 2s } }] }",
                "routes[0].retries.per_try_timeout",
            ),
        ] {
            let error = Policy::from_yaml(text).unwrap().check().expect_err(text);
            assert_eq!(error.field(), field, "{error}");
        }
    }

    #[test]
    fn text_that_is_no_policy_is_refused() {
        for text in
            ["timeout: 2", "timeout: soon", "rate_limit: { limit: 0 }", "retries: []", "x: 1"]
        {
            Policy::from_yaml(text).expect_err(text);
        }
    }

    #[test]
    fn what_does_not_read_is_refused_with_its_path() {
        for (text, path, says) in [
            ("retries: { backoff: { bse: 1s } }", "retries.backoff", "unknown field `bse`"),
            ("circuit_breaker: { scope: method }", "circuit_breaker", "`endpoint` or `service`"),
            ("circuit_breaker: { probes: 0 }", "circuit_breaker", "`probes` is 0"),
            ("circuit_breaker: { on_drop: failure }", "circuit_breaker", "`on_drop`"),
            ("circuit_breaker: { timeout: 1s, open_wait: 2s }", "circuit_breaker", "absent beside"),
            ("load_balance: { max_picks: 9 }", "load_balance", "`max_picks` is 9"),
            ("load_balance: { ejection: {} }", "load_balance", "`outlier_detection`"),
            ("load_balance: { polcy: p2c }", "load_balance", "unknown field `polcy`"),
            ("routes: [{ match: [{ pth: / }] }]", "routes[0].match[0]", "unknown field `pth`"),
            ("routes: [{ match: [], tmeout: 1s }]", "routes[0]", "unknown field `tmeout`"),
            ("routes: [{ match: [], retries: { a: 1 } }]", "routes[0].retries", "unknown field"),
            ("routes: [{ match: [], load_balance: {} }]", "routes[0].load_balance", "endpoints"),
        ] {
            let error = Policy::from_yaml(text).expect_err(text);
            assert!(error.path().starts_with(path), "{path}: {}, {error}", error.path());
            assert!(error.to_string().contains(says), "{text}: {error}");
        }
    }

    #[test]
    fn yaml_toml_and_json_say_the_same() {
        let yaml = "
timeout: 2s
retries: { attempts: 1, retry_on: [5xx] }
routes: [{ match: [{ path: /a }], timeout: 1s }]
";
        let toml = "
timeout = \"2s\"
retries = { attempts = 1, retry_on = [\"5xx\"] }
[[routes]]
match = [{ path = \"/a\" }]
timeout = \"1s\"
";
        let json = r#"{"timeout": "2s", "retries": {"attempts": 1, "retry_on": ["5xx"]},
                       "routes": [{"match": [{"path": "/a"}], "timeout": "1s"}]}"#;
        let policy = Policy::from_yaml(yaml).unwrap();
        assert_eq!(Policy::from_toml(toml).unwrap(), policy);
        assert_eq!(Policy::from_json(json).unwrap(), policy);
        assert_eq!(Policy::from_toml("timeout = 2").unwrap_err().path(), "timeout");
    }

    #[test]
    fn a_breaker_goes_by_any_rule_of_its_crate() {
        let policy = Policy::from_yaml(
            "circuit_breaker: { failure_rate: 0.5, window: { time: 10s }, minimum_calls: 20 }",
        );
        let config = format!("{:?}", policy.unwrap().circuit_breaker.config_with(None).unwrap());
        let same = seawall_circuit_breaker::Config::builder()
            .failure_rate(0.5)
            .window(seawall_circuit_breaker::Window::Time(Duration::from_secs(10)))
            .minimum_calls(20)
            .open_wait(Duration::from_secs(5))
            .probes(1)
            .successes_to_close(1)
            .on_drop(seawall_circuit_breaker::OnDrop::Ignore);
        assert_eq!(config, format!("{:?}", same.build().unwrap()));
    }

    #[test]
    fn a_route_built_in_code_takes_a_policy_whole() {
        let own = Policy::new().retries(Retries::new().attempts(0));
        let route = Route::new([Match::path("/a*").method("GET")]).policy(&own);
        let all = Retries::new().per_try_timeout(Duration::from_millis(500));
        let policy = Policy::new().timeout(Duration::from_secs(1)).retries(all).routes([route]);
        policy.check().unwrap();
        assert_eq!(policy.at("GET", "/abc").unwrap(), own);
        assert_eq!(policy.at("POST", "/abc").unwrap().timeout, Some(Duration::from_secs(1)));
    }
}
