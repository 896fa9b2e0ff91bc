//! One ramp for endpoints that are back, whatever took them out, with real servers.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::time::Duration;

use seawall::{grpc::GrpcClient, policy::Policy};
use seawall_test_support::{EchoClient, EchoRequest, GrpcServer};
use tokio::time::{sleep, timeout};
use tonic::Code;

fn client(servers: [&GrpcServer; 2], policy: &str) -> GrpcClient {
    let addresses = servers.map(|server| server.address().to_string());
    let policy = Policy::from_yaml(policy).unwrap();
    seawall::grpc("echo").endpoints(addresses).policy(policy).build().unwrap()
}

async fn call(client: &GrpcClient, times: usize) {
    for _ in 0..times {
        // The server that fails is not retried elsewhere.
        let _ = EchoClient::new(client.clone()).unary(EchoRequest::default()).await;
    }
}

/// What `until` says of the first server, which is called meanwhile.
async fn wait(client: &GrpcClient, server: &GrpcServer, until: impl Fn(&str, bool) -> bool) {
    let id = server.address().to_string();
    let there = async {
        loop {
            call(client, 5).await;
            let snapshot = client.snapshot();
            let endpoint = snapshot.endpoints.iter().find(|e| e.id.as_str() == id).unwrap();
            if until(endpoint.state, endpoint.ejected_for.is_some()) {
                return;
            }
            sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(Duration::from_secs(10), there).await.unwrap();
}

async fn share_when_back(policy: &str, out: impl Fn(&str, bool) -> bool) -> u64 {
    let (back, other) = (GrpcServer::start().await, GrpcServer::start().await);
    let client = client([&back, &other], policy);
    call(&client, 40).await;
    assert!(back.calls() >= 8, "in the beginning nobody is slow: {}", back.calls());
    back.set_script(Some(EchoRequest { code: Code::Unavailable as i32, ..Default::default() }));
    wait(&client, &back, &out).await;
    back.set_script(None);
    wait(&client, &back, |state, ejected| state == "closed" && !ejected).await;
    let before = back.calls();
    call(&client, 400).await;
    back.calls() - before
}

/// A tenth of its share, which is a half: 20 of 400 calls. Without the ramp it would be 200.
const FEW: std::ops::RangeInclusive<u64> = 1..=60;

#[tokio::test]
async fn an_endpoint_whose_breaker_closes_begins_slowly() {
    let policy = "
circuit_breaker: { failure_threshold: 3, open_wait: 50ms }
load_balance: { slow_start: { window: 1h } }
";
    let share = share_when_back(policy, |state, _| state == "open").await;
    assert!(FEW.contains(&share), "{share} of 400");
}

#[tokio::test]
async fn an_endpoint_that_returns_from_ejection_begins_slowly() {
    let policy = "
circuit_breaker: { failure_threshold: 1000 }
outlier_detection: { consecutive_errors: 3, base_ejection_time: 50ms, max_ejection_percent: 50 }
load_balance: { slow_start: { window: 1h } }
";
    let share = share_when_back(policy, |_, ejected| ejected).await;
    assert!(FEW.contains(&share), "{share} of 400");
}

#[test]
fn two_ramps_are_refused() {
    let policy = "
circuit_breaker: { ramp: { linear: { time: 30s } } }
load_balance: { slow_start: { window: 30s } }
";
    let error = Policy::from_yaml(policy).and_then(|policy| Ok(policy.check()?)).unwrap_err();
    assert!(error.to_string().contains("circuit_breaker.ramp"), "{error}");
    Policy::from_yaml("circuit_breaker: { ramp: { linear: { time: 30s } } }").unwrap();
}
