//! How much is tried again, and when, against real servers.

use std::{collections::HashMap, time::Duration};

use seawall::{
    grpc::GrpcClient,
    policy::{Backoff, CircuitBreaker, Policy, Retries, RetryBudget, RetryOn},
};
use seawall_test_support::{EchoClient, EchoRequest, GrpcServer, HttpServer};
use tokio::time::Instant;
use tonic::Code;

fn policy(retries: Retries) -> Policy {
    // The breakers stay out of it.
    let breaker = CircuitBreaker::new().failure_threshold(100_000);
    let retries = retries.retry_on([RetryOn::Unavailable]);
    Policy::new().idempotent(["/seawall.test.Echo/*"]).circuit_breaker(breaker).retries(retries)
}

fn client(servers: &[&GrpcServer], policy: Policy) -> EchoClient<GrpcClient> {
    let addresses = servers.iter().map(|server| server.address().to_string());
    EchoClient::new(
        seawall::grpc("echo").endpoints(addresses).policy(policy).build().expect("it is valid"),
    )
}

fn unavailable(metadata: &[(&str, &str)]) -> EchoRequest {
    let metadata = metadata.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    EchoRequest {
        code: Code::Unavailable as i32,
        error_metadata: metadata.collect::<HashMap<_, _>>(),
        ..EchoRequest::default()
    }
}

#[tokio::test]
async fn a_server_that_only_fails_gets_the_share_of_the_budget_and_no_more() {
    let server = GrpcServer::start().await;
    for percent in [10, 50, 90] {
        let at_once = Backoff::new(Duration::ZERO, Duration::ZERO);
        let budget = RetryBudget::new(percent, 0);
        let retries = Retries::new().attempts(3).backoff(at_once).budget(budget);
        let client = client(&[&server], policy(retries));
        let before = server.calls();
        for _ in 0..200 {
            client.clone().unary(unavailable(&[])).await.unwrap_err();
        }
        let attempts = server.calls() - before;
        assert_eq!(attempts, 200 + 2 * u64::from(percent), "{percent} %");
    }
}

#[tokio::test]
async fn a_server_that_says_never_is_not_asked_again() {
    let server = GrpcServer::start().await;
    let mut client = client(&[&server], policy(Retries::new().attempts(3)));
    client.unary(unavailable(&[("grpc-retry-pushback-ms", "-1")])).await.unwrap_err();
    assert_eq!(server.calls(), 1);
}

#[tokio::test]
async fn the_pause_that_a_server_asks_for_is_kept() {
    let (bad, good) = (GrpcServer::start().await, GrpcServer::start().await);
    bad.set_script(Some(unavailable(&[("grpc-retry-pushback-ms", "200")])));
    let at_once = Backoff::new(Duration::ZERO, Duration::ZERO);
    let client = client(&[&bad, &good], policy(Retries::new().attempts(3).backoff(at_once)));
    while bad.calls() == 0 {
        let begun = Instant::now();
        client.clone().unary(EchoRequest::default()).await.unwrap();
        let paused = begun.elapsed() >= Duration::from_millis(200);
        assert_eq!(paused, bad.calls() > 0);
    }
}

#[tokio::test]
async fn a_pause_beyond_the_deadline_is_the_callers() {
    let server = GrpcServer::start().await;
    let policy = policy(Retries::new().attempts(3)).timeout(Duration::from_secs(5));
    let mut client = client(&[&server], policy);
    let begun = Instant::now();
    let status = client.unary(unavailable(&[("grpc-retry-pushback-ms", "60000")])).await;
    assert_eq!(status.unwrap_err().code(), Code::Unavailable);
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    assert_eq!(server.calls(), 1);
}

#[tokio::test]
async fn a_post_is_done_once_and_one_with_a_key_as_often_as_it_takes() {
    let server = HttpServer::start().await;
    let retries = Retries::new().attempts(2).retry_on([RetryOn::ServerError]);
    let client = seawall::http("users")
        .endpoints([server.address().to_string()])
        .policy(Policy::new().retries(retries))
        .build()
        .unwrap();
    let post = || client.client().post("http://users/status/503").body("order");
    assert_eq!(post().send().await.unwrap().status(), 503);
    assert_eq!(server.calls(), 1);
    assert_eq!(post().header("idempotency-key", "7").send().await.unwrap().status(), 503);
    assert_eq!(server.calls(), 4);
}
