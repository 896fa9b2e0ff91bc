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
        ("retries: { retry_on: [retriable-status-codes] }", "retries.retriable_status_codes"),
        ("retries: { retriable_status_codes: [409] }", "retries.retriable_status_codes"),
        (
            "retries: { retry_on: [retriable-status-codes], retriable_status_codes: [200] }",
            "retries.retriable_status_codes",
        ),
        ("rate_limit: { limit: 10, reserve: 10 }", "rate_limit.reserve"),
        (
            "rate_limit: { limit: 10, shared: { url: nowhere, on_failure: open } }",
            "rate_limit.shared.url",
        ),
        (
            "rate_limit: { limit: 10, shared: { url: 'env:SEAWALL_NO_SUCH', on_failure: open } }",
            "rate_limit.shared.url",
        ),
        (
            "rate_limit: { limit: 10, shared: { url: redis://a, on_failure: { local: 101 } } }",
            "rate_limit.shared.on_failure",
        ),
        // A variable that is set, to what is no address.
        (
            "rate_limit: { limit: 10, shared: { url: 'env:PATH', on_failure: open } }",
            "rate_limit.shared.url",
        ),
        ("idempotent: [Get]", "idempotent"),
        ("connection_pool: { max_requests: 1000001 }", "connection_pool.max_requests"),
        ("fallback: {}", "fallback"),
        ("fallback: { service: { name: a, timeout: 0s } }", "fallback.service.timeout"),
        ("fallback: { stale: { max_bytes: 1 } }", "fallback.stale.max_bytes"),
        ("fallback: { stale: { vary: [a b] } }", "fallback.stale.vary"),
        ("fallback: { value: { message: '?' } }", "fallback.value.message"),
        ("fallback: { value: { status: 99 } }", "fallback.value.status"),
        ("rate_limit: { limit: 1, period: 0s }", "rate_limit.period"),
        ("outlier_detection: { consecutive_errors: 0 }", "outlier_detection.consecutive_errors"),
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
fn a_route_may_hedge_in_the_other_way() {
    let policy = Policy::from_yaml(
        "
hedge: { delay: 20ms, budget: { percent: 7 } }
routes:
  - match: [{ path: /a }]
    hedge: { percentile: 95 }
  - match: [{ path: /b }]
    hedge: { budget: { percent: 9 } }
  - match: [{ path: /c }]
    hedge: null
",
    )
    .unwrap();
    policy.check().unwrap();
    let hedge = |path| policy.at("GET", path).unwrap().hedge;
    let base = Hedge::new().after(Duration::from_millis(20));
    let (seven, nine) = (RetryBudget::new(7, 1), RetryBudget::new(9, 1));
    assert_eq!(hedge("/"), Some(base.budget(seven)));
    assert_eq!(hedge("/a"), Some(Hedge::new().after_percentile(95.0).budget(seven)));
    assert_eq!(hedge("/b"), Some(base.budget(nine)));
    assert_eq!(hedge("/c"), None);
}

#[test]
fn every_setting_is_explained_for_the_calls_that_it_is_for() {
    let policy = Policy::from_yaml(
        "
timeout: 2s
deadline_header: x-left-ms
retries: { retry_on: [retriable-status-codes], retriable_status_codes: [409], budget: { percent: 30 } }
hedge: { percentile: 95, budget: { percent: 7 } }
fallback: { service: { name: replica, timeout: 500ms }, stale: { max_age: 10m }, value: { body: x } }
rate_limit: { limit: 10, reserve: 3 }
throttle: {}
connection_pool: { max_connections: 4, max_requests: 200, max_requests_per_connection: 10 }
circuit_breaker: { scope: method }
routes:
  - name: slow
    match: [{ path: /slow }]
    hedge: { delay: 20ms }
    fallback: null
    deadline_header: null
    priority: sheddable
",
    )
    .unwrap();
    let text = policy.explain().to_string();
    let (all, slow) = text.split_once("slow: any method /slow").unwrap();
    for says in [
        "told in x-left-ms how many milliseconds",
        "after: retriable-status-codes, 409.",
        "Retries are at most 30 % of the calls and 10 a second.",
        "sent after the 95 % latency, of at most 7 % of the calls and 1 a second.",
        "the service replica is asked for up to 500ms, then the last good response is given, up to 10m",
        "then a fixed value.",
        "calls that may be shed leave 3 over",
        "a part of them is not sent: by the defaults.",
        "Its priority is critical",
        "up to 4 channels (HTTP: calls under way), up to 200 calls under way, 1024 that wait,",
        "and 10 calls on a channel, which is then replaced.",
        "It shares a breaker for each method",
    ] {
        assert!(all.contains(says), "{says}\n{text}");
    }
    for says in [
        "A call takes at most 2s",
        "sent after 20ms, of at most 7 % of the calls and 1 a second.",
        "Where it has failed for good, the caller sees that.",
        "Its priority is sheddable",
        "Retries are at most 30 %",
    ] {
        assert!(slow.contains(says), "{says}\n{text}");
    }
    assert!(!slow.contains("x-left-ms"), "{text}");
}

#[test]
fn text_that_is_no_policy_is_refused() {
    for text in ["timeout: 2", "timeout: soon", "rate_limit: { limit: 0 }", "retries: []", "x: 1"] {
        Policy::from_yaml(text).expect_err(text);
    }
}

#[test]
fn what_does_not_read_is_refused_with_its_path() {
    for (text, path, says) in [
        ("retries: { backoff: { bse: 1s } }", "retries.backoff", "unknown field `bse`"),
        (
            "circuit_breaker: { scope: path }",
            "circuit_breaker",
            "`endpoint`, `method` or `service`",
        ),
        ("throttle: { k: { critical: 0.5 } }", "throttle", "critical"),
        ("rate_limit: { limit: 1, shared: { url: redis://a } }", "rate_limit.shared", "on_failure"),
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
    // Nothing of the other policy is left, down to single fields.
    let base = Policy::from_yaml(
        "
retries: { per_try_timeout: 9s, retry_on: [retriable-status-codes], retriable_status_codes: [409] }
hedge: { delay: 1ms }
rate_limit: { limit: 10, burst: 20, reserve: 3 }
throttle: { window: 1m, k: { critical: 2 }, padding: 3 }
fallback: { service: { name: a }, stale: { vary: [x-tenant] }, value: { body: x, status: 203 } }
",
    );
    let own = Policy::from_yaml(
        "
hedge: { percentile: 90 }
rate_limit: { limit: 5 }
throttle: {}
fallback: { stale: {}, value: { message: '' } }
",
    )
    .unwrap();
    let route = Route::new([Match::path("/*")]).policy(&own);
    let all = base.unwrap().routes([route]);
    assert_eq!(all.at("GET", "/").unwrap(), own);
    let again = Policy::from_yaml(&yaml_serde::to_string(&all).unwrap()).unwrap();
    assert_eq!(again.at("GET", "/").unwrap(), own);
    assert_eq!(policy.at("POST", "/abc").unwrap().timeout, Some(Duration::from_secs(1)));
}
