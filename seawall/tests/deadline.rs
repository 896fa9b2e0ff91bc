//! The deadline of a call: told to the servers, and kept to the end of the body.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, StatusCode},
    response::{IntoResponse, Response},
};
use seawall::policy::{CircuitBreaker, Policy, Retries, RetryOn};
use seawall_test_support::{EchoClient, EchoRequest, GrpcServer};
use tokio::time::Instant;
use tonic::Code;

const MILLI: Duration = Duration::from_millis(1);

type Seen = Arc<Mutex<Vec<HeaderMap>>>;

/// Fails every call, in the ways of gRPC and HTTP at once.
async fn fail(State(seen): State<Seen>, request: Request) -> Response {
    tokio::time::sleep(20 * MILLI).await;
    seen.lock().unwrap().push(request.headers().clone());
    let mut response = StatusCode::OK.into_response();
    if request.headers().contains_key("grpc-timeout") {
        response.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
        response.headers_mut().insert("grpc-status", HeaderValue::from_static("14"));
    } else {
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    }
    response
}

async fn failing_server() -> (String, Seen) {
    let seen = Seen::default();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let router = Router::new().fallback(fail).with_state(seen.clone());
    tokio::spawn(async move { axum::serve(listener, router).await });
    (address, seen)
}

fn policy() -> Policy {
    Policy::new()
        .timeout(Duration::from_secs(10))
        .deadline_header("x-time-left-ms")
        .idempotent(["/seawall.test.Echo/*"])
        .circuit_breaker(CircuitBreaker::new().failure_threshold(1000))
        .retries(Retries::new().attempts(2).retry_on([RetryOn::Unavailable]))
}

/// What each attempt said, in milliseconds: less each time, by what the one before took.
fn assert_shrinks(left: &[u64], from: u64) {
    assert_eq!(left.len(), 3, "{left:?}");
    assert!(left[0] <= from && left[0] > from - 2000, "{left:?}");
    assert!(left.windows(2).all(|two| two[0] >= two[1] + 15), "{left:?}");
}

fn told(seen: &Seen, header: &str, unit: &str) -> Vec<u64> {
    let headers = std::mem::take(&mut *seen.lock().unwrap());
    let told = headers.iter().map(|headers| headers[header].to_str().unwrap());
    told.map(|text| text.strip_suffix(unit).unwrap().parse().unwrap()).collect()
}

#[tokio::test]
async fn each_attempt_tells_a_grpc_server_what_is_left() {
    let (address, seen) = failing_server().await;
    let client = seawall::grpc("echo").endpoints([address]).policy(policy()).build().unwrap();
    let mut client = EchoClient::new(client);
    client.unary(EchoRequest::default()).await.unwrap_err();
    let left: Vec<_> = told(&seen, "grpc-timeout", "u").iter().map(|us| us / 1000).collect();
    assert_shrinks(&left, 10_000);

    let mut sooner = tonic::Request::new(EchoRequest::default());
    sooner.set_timeout(Duration::from_secs(5));
    client.unary(sooner).await.unwrap_err();
    let left: Vec<_> = told(&seen, "grpc-timeout", "u").iter().map(|us| us / 1000).collect();
    assert_shrinks(&left, 5_000);
}

#[tokio::test]
async fn each_attempt_tells_an_http_server_what_is_left_where_a_header_is_named() {
    let (address, seen) = failing_server().await;
    let client = seawall::http("echo").endpoints([address]).policy(policy()).build().unwrap();
    client.client().get("http://echo/").send().await.unwrap();
    assert_shrinks(&told(&seen, "x-time-left-ms", ""), 10_000);
}

#[tokio::test]
async fn a_stream_ends_with_the_deadline_and_lets_go_of_its_endpoint() {
    let server = GrpcServer::start().await;
    let policy = Policy::new().timeout(200 * MILLI);
    let address = server.address().to_string();
    let channel = seawall::grpc("echo").endpoints([address]).policy(policy).build().unwrap();
    let request = EchoRequest { messages: 2, hang_after_messages: true, ..Default::default() };
    let begun = Instant::now();
    let stream = EchoClient::new(channel.clone()).server_stream(request).await;
    let mut stream = stream.unwrap().into_inner();
    for _ in 0..2 {
        stream.message().await.unwrap().unwrap();
    }
    let status = stream.message().await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status:?}");
    assert!(begun.elapsed() >= 200 * MILLI && begun.elapsed() < Duration::from_secs(5));
    assert_eq!(channel.snapshot().endpoints[0].in_flight, 0);
}

#[tokio::test]
async fn a_page_ends_with_the_deadline() {
    let body = || {
        let first = futures::stream::iter([Ok::<_, std::io::Error>("begun")]);
        let rest = futures::stream::pending();
        axum::body::Body::from_stream(futures::StreamExt::chain(first, rest))
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let router = Router::new().fallback(async move || body());
    tokio::spawn(async move { axum::serve(listener, router).await });

    let policy = Policy::new().timeout(200 * MILLI);
    let client = seawall::http("pages").endpoints([address]).policy(policy).build().unwrap();
    let response = client.client().get("http://pages/").send().await.unwrap();
    let reading = tokio::time::timeout(Duration::from_secs(5), response.text());
    let mut error: &dyn std::error::Error = &reading.await.unwrap().unwrap_err();
    while let Some(source) = error.source() {
        error = source;
    }
    assert_eq!(error.to_string(), "no response within 200ms");
    assert_eq!(client.snapshot().endpoints[0].in_flight, 0);
}
