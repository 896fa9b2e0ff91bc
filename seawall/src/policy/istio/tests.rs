use std::{num::NonZeroU32, time::Duration};

use super::*;
use crate::policy::{
    ConnectionPool, Match, OutlierDetection, Retries, RetryOn, Route, Share, Subset,
};

const MANIFEST: &str = include_str!("orders.yaml");

#[test]
fn the_manifest_works_as_written() {
    let read = Policy::from_istio(MANIFEST).unwrap();
    let second = Duration::from_secs(1);
    let expected = Policy::new()
        .timeout(30 * second)
        .retries(Retries::new().attempts(3).per_try_timeout(10 * second).retry_on([
            RetryOn::GatewayError,
            RetryOn::ConnectFailure,
            RetryOn::RefusedStream,
        ]))
        .outlier_detection(
            OutlierDetection::new()
                .consecutive_errors(3)
                .base_ejection_time(30 * second)
                .max_ejection_percent(50),
        )
        .connection_pool(ConnectionPool {
            max_connections: NonZeroU32::new(100),
            max_requests: None,
            max_pending_requests: Some(100),
            max_requests_per_connection: NonZeroU32::new(10),
        })
        .subsets([Subset::labelled("v1", "version", "v1"), Subset::labelled("v2", "version", "v2")])
        .split([Share::of_subset("v1", 20), Share::of_subset("v2", 80)]);
    assert_eq!(read.policy, expected);
    assert_eq!(read.ignored, [], "all of it");
    let honoured = "VirtualService/orders: spec.http[0].route[1].weight".to_owned();
    assert!(read.honoured.contains(&honoured), "{read}");
}

#[test]
fn routes_become_routes_and_the_rest_is_named_with_a_reason() {
    let read = Policy::from_istio(
        "
kind: VirtualService
metadata: { name: users }
spec:
  hosts: [users]
  gateways: [mesh]
  http:
    - name: old
      match: [{ uri: { prefix: /api/v1 }, method: { exact: GET } }]
      route: [{ destination: { host: users-old, port: { number: 80 } } }]
      timeout: 0s
    - match: [{ headers: { x-beta: { exact: 'yes' } } }]
      route: [{ destination: { host: users-beta } }]
    - match: [{ uri: { exact: /api } }]
      route:
        - { destination: { host: users-old }, weight: 20 }
        - { destination: { host: users }, weight: 80 }
    - route: [{ destination: { host: users } }]
      timeout: 2s
      retries: { attempts: 1, retryOn: '5xx,retriable-status-codes,425,retriable-4xx' }
      fault: { abort: { httpStatus: 500 } }
    - route: [{ destination: { host: nobody } }]
",
    )
    .unwrap();
    let plain = Policy::new();
    let expected = Policy::new()
        .timeout(Duration::from_secs(2))
        .retries(
            Retries::new()
                .attempts(1)
                .retry_on([RetryOn::ServerError])
                .retriable_status_codes([425]),
        )
        .routes([
            Route::new([Match::path("/api/v1*").method("GET")])
                .policy(&plain)
                .named("old")
                .service("users-old"),
            Route::new([Match::path("/api")])
                .policy(&plain)
                .split([Share::of_service("users-old", 20), Share::of_service("users", 80)]),
        ]);
    assert_eq!(read.policy, expected);
    assert_eq!(read.policy.at("GET", "/api/v1/7").unwrap(), plain);
    let ignored = read.to_string();
    for path in [
        "spec.gateways",
        "spec.http[0].route[0].destination.port",
        "spec.http[1].match[0]",
        "spec.http[1]:",
        "retryOn: `retriable-4xx`",
        "spec.http[3].fault",
        "spec.http[4]",
    ] {
        let line = ignored.lines().any(|line| line.starts_with("ignored") && line.contains(path));
        assert!(line, "{path}\n{ignored}");
    }
}

#[test]
fn a_rule_alone_sets_balancing() {
    let read = Policy::from_istio(
        "
kind: DestinationRule
metadata: { name: a }
spec:
  host: a
  trafficPolicy:
    loadBalancer: { simple: ROUND_ROBIN, warmupDurationSecs: 30s }
    outlierDetection: { consecutive5xxErrors: 0, minHealthPercent: 20 }
    tls: { mode: SIMPLE }
  subsets: [{ name: v1, labels: { version: v1 } }]
---
",
    )
    .unwrap();
    let same = Policy::from_yaml(
        "
load_balance: { policy: round_robin, slow_start: { window: 30s }, panic_threshold: 20 }
outlier_detection: {}
",
    );
    assert_eq!(read.policy, same.unwrap());
    let ignored: Vec<_> = read.ignored.iter().map(|ignored| ignored.path.as_str()).collect();
    let expected = ["DestinationRule/a: spec.trafficPolicy.tls", "DestinationRule: subset v1"];
    assert_eq!(ignored, expected);
}

#[test]
fn what_is_no_manifest_or_contradicts_itself_is_refused() {
    for (text, says) in [
        ("", "neither"),
        ("kind: Gateway", "`Gateway`"),
        ("{kind: VirtualService}\n---\n{kind: VirtualService}", "second"),
        (
            "{kind: VirtualService, spec: {http: [{timeout: 1s, retries: {perTryTimeout: 2s}}]}}",
            "retries.per_try_timeout",
        ),
        ("{kind: VirtualService, spec: {http: [{timeout: soon}]}}", "spec.http[0].timeout"),
        (
            "{kind: VirtualService, spec: {hosts: [a], http: [{route: [{destination: \
             {host: a, subset: v9}}]}]}}",
            "v9",
        ),
    ] {
        let error = Policy::from_istio(text).expect_err(text).to_string();
        assert!(error.contains(says), "{text}: {error}");
    }
}
