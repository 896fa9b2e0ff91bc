//! What the demo does not start with: one line, and exit code 2.

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use std::net::TcpListener;

use seawall_test_support::RedisServer;
use support::refusal;

/// A place where nothing listens.
fn nowhere() -> String {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    listener.local_addr().unwrap().to_string()
}

#[test]
fn bad_values() {
    for (flags, named) in [
        (&["--duration", "0"][..], "--duration"),
        (&["--duration", "-3"], "--duration"),
        (&["--duration", "1e99"], "--duration"),
        (&["--rps", "0"], "--rps"),
        (&["--rps", "999999999999"], "--rps"),
        (&["--registry", "etcd"], "etcd"),
        (&["--json", "/no/such/folder/figures.json"], "/no/such/folder"),
        (&["--unheard-of"], "--unheard-of"),
    ] {
        let line = refusal(flags);
        assert!(line.contains(named), "{flags:?}: {line}");
    }
}

#[test]
fn a_consul_that_is_not_there() {
    let place = nowhere();
    let line = refusal(&["--registry", "consul", "--consul", &format!("http://{place}")]);
    assert!(line.contains(&place), "{line}");
}

#[test]
fn a_redis_that_is_not_there() {
    let place = nowhere();
    let line = refusal(&["--redis", &format!("redis://{place}")]);
    assert!(line.contains(&place) && line.contains("unreachable"), "{line}");
}

#[tokio::test]
async fn a_redis_that_is_there_has_no_limiter_to_serve_yet() {
    let redis = RedisServer::start().await;
    let line = refusal(&["--redis", &format!("redis://{}", redis.address())]);
    assert!(line.contains("no shared limiter yet"), "{line}");
}
