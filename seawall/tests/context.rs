//! What a caller says of its trace goes out with each attempt.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::sync::{Arc, Mutex};

use axum::{Router, extract::Request, http::HeaderMap, http::StatusCode};
use seawall::policy::{Policy, Retries, RetryOn};
use seawall_test_support::{EchoClient, EchoRequest};

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// Fails every call of either kind, and says which headers it saw.
async fn failing_server() -> (String, Arc<Mutex<Vec<HeaderMap>>>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (listener, told) =
        (tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap(), seen.clone());
    let address = listener.local_addr().unwrap().to_string();
    let router = Router::new().fallback(async move |request: Request| {
        told.lock().unwrap().push(request.headers().clone());
        (StatusCode::SERVICE_UNAVAILABLE, [("content-type", "text/plain")])
    });
    tokio::spawn(async move { axum::serve(listener, router).await });
    (address, seen)
}

fn policy() -> Policy {
    let retries = Retries::new().attempts(2).retry_on([RetryOn::ServerError, RetryOn::Unavailable]);
    Policy::new().idempotent(["/seawall.test.Echo/*"]).retries(retries)
}

fn assert_told(seen: &Mutex<Vec<HeaderMap>>) {
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), 3, "{seen:?}");
    for headers in &*seen {
        assert_eq!(headers["traceparent"], PARENT);
        assert_eq!(headers["tracestate"], "a=b");
    }
}

#[tokio::test]
async fn each_attempt_of_an_http_call_carries_its_trace() {
    let (address, seen) = failing_server().await;
    let client = seawall::http("users").endpoints([address]).policy(policy()).build().unwrap();
    let request = client.client().get("http://users/").header("traceparent", PARENT);
    request.header("tracestate", "a=b").send().await.unwrap();
    assert_told(&seen);
}

#[tokio::test]
async fn each_attempt_of_a_grpc_call_carries_its_trace() {
    let (address, seen) = failing_server().await;
    let client = seawall::grpc("echo").endpoints([address]).policy(policy()).build().unwrap();
    let mut request = tonic::Request::new(EchoRequest::default());
    request.metadata_mut().insert("traceparent", PARENT.parse().unwrap());
    request.metadata_mut().insert("tracestate", "a=b".parse().unwrap());
    EchoClient::new(client).unary(request).await.unwrap_err();
    assert_told(&seen);
}
