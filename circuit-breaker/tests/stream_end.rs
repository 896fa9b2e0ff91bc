//! Over real connections: what a call counts as depends on how it really ended.

#![cfg(all(feature = "tonic", feature = "reqwest"))]
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod common;

use std::{error::Error as _, time::Duration};

use common::{SECOND, after_two, breaker};
use reqwest_middleware::{ClientBuilder, ClientWithMiddleware};
use seawall_circuit_breaker::{
    CircuitBreaker, CircuitBreakerLayer, CircuitBreakerService, OnDrop, Rejection, State,
    reqwest::{CircuitBreakerMiddleware, rejection},
    tonic::{ChannelLayer, GrpcStatus, StatusService},
};
use seawall_core::{ManualClock, Reason, http::AtBodyEnd};
use seawall_test_support::{EchoClient, EchoRequest, FaultProxy, GrpcServer, HttpServer};
use tonic::{Code, transport::Channel};
use tower::{Layer, Service, ServiceExt};

type Echo = EchoClient<StatusService<CircuitBreakerService<Channel, AtBodyEnd<GrpcStatus>>>>;

fn echo(url: String, breaker: &CircuitBreaker) -> Echo {
    let channel = Channel::from_shared(url).unwrap().connect_lazy();
    EchoClient::new(ChannelLayer::new(breaker.clone()).layer(channel))
}

fn one() -> (CircuitBreaker, ManualClock) {
    breaker(after_two().consecutive_failures(1))
}

fn ok() -> EchoRequest {
    EchoRequest::default()
}

#[tokio::test]
async fn a_generated_client_sees_a_refusal_as_unavailable_with_our_error_as_its_source() {
    let server = GrpcServer::start().await;
    let (breaker, _) = one();
    let mut client = echo(server.url(), &breaker);
    let unavailable = EchoRequest { code: Code::Unavailable.into(), ..ok() };
    assert_eq!(client.unary(unavailable).await.unwrap_err().code(), Code::Unavailable);
    assert_eq!(breaker.state(), State::Open, "a trailers-only error");

    let status = client.unary(ok()).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert_eq!(status.metadata().get("grpc-retry-pushback-ms").unwrap(), "5000");
    let rejection = Rejection::find(&status).unwrap();
    assert_eq!((rejection.reason(), rejection.refused_by()), (Reason::CircuitOpen, Some("orders")));
    assert_eq!(server.calls(), 1, "the refused call was not sent");
}

#[tokio::test]
async fn a_grpc_stream_counts_when_it_ends() {
    let server = GrpcServer::start().await;
    let (breaker, hand) = one();
    let mut client = echo(server.url(), &breaker);
    let fails_late =
        EchoRequest { messages: 3, trailer_code: Code::Internal.into(), ..EchoRequest::default() };
    let mut stream = client.server_stream(fails_late).await.unwrap().into_inner();
    for _ in 0..3 {
        assert!(stream.message().await.unwrap().is_some());
        assert_eq!(breaker.state(), State::Closed);
    }
    assert_eq!(stream.message().await.unwrap_err().code(), Code::Internal);
    assert_eq!(breaker.state(), State::Open);

    hand.advance(5 * SECOND);
    let good = EchoRequest { messages: 2, ..ok() };
    let mut probe = client.server_stream(good).await.unwrap().into_inner();
    assert_eq!(breaker.state(), State::HalfOpen);
    while probe.message().await.unwrap().is_some() {}
    assert_eq!(breaker.state(), State::Closed);
}

#[tokio::test]
async fn a_grpc_stream_that_breaks_is_a_failure() {
    let server = GrpcServer::start().await;
    let proxy = FaultProxy::start(server.address()).await;
    let (breaker, _) = one();
    let mut client = echo(format!("http://{}", proxy.address()), &breaker);
    let endless = EchoRequest { messages: 1_000_000, gap_ms: 5, ..ok() };
    let mut stream = client.server_stream(endless).await.unwrap().into_inner();
    stream.message().await.unwrap();
    proxy.reset();
    while stream.message().await.is_ok() {}
    assert_eq!(breaker.state(), State::Open);
}

#[tokio::test]
async fn a_grpc_stream_that_its_caller_drops_counts_as_asked() {
    let server = GrpcServer::start().await;
    for (policy, state) in [(OnDrop::Ignore, State::Closed), (OnDrop::Failure, State::Open)] {
        let (breaker, _) = breaker(after_two().consecutive_failures(1).on_drop(policy));
        let mut client = echo(server.url(), &breaker);
        let stalls = EchoRequest { messages: 1, hang_after_messages: true, ..ok() };
        let mut stream = client.server_stream(stalls).await.unwrap().into_inner();
        stream.message().await.unwrap();
        drop(stream);
        assert_eq!(breaker.state(), state, "{policy:?}");
    }
}

#[tokio::test]
async fn a_grpc_deadline_is_a_failure() {
    let server = GrpcServer::start().await;
    let (breaker, _) = one();
    let channel = Channel::from_shared(server.url())
        .unwrap()
        .timeout(Duration::from_millis(50))
        .connect_lazy();
    let mut client = EchoClient::new(ChannelLayer::new(breaker.clone()).layer(channel));
    client.unary(EchoRequest { hang: true, ..ok() }).await.unwrap_err();
    assert_eq!(breaker.state(), State::Open);
}

#[tokio::test]
async fn a_dial_that_is_refused_is_a_failure() {
    let server = GrpcServer::start().await;
    server.kill();
    let (breaker, _) = one();
    echo(server.url(), &breaker).unary(ok()).await.unwrap_err();
    assert_eq!(breaker.state(), State::Open);
}

fn client(breaker: &CircuitBreaker) -> ClientWithMiddleware {
    ClientBuilder::new(reqwest::Client::new())
        .with(CircuitBreakerMiddleware::new(breaker.clone()))
        .build()
}

#[tokio::test]
async fn a_reqwest_client_with_middleware_sees_a_refusal_that_a_helper_finds() {
    let server = HttpServer::start().await;
    let (breaker, hand) = one();
    let client = client(&breaker);
    let response = client.get(server.url("/status/503")).send().await.unwrap();
    assert_eq!(breaker.state(), State::Closed, "the body is not over");
    response.bytes().await.unwrap();
    assert_eq!(breaker.state(), State::Open);

    let error = client.get(server.url("/ok")).send().await.unwrap_err();
    assert_eq!(rejection(&error).unwrap().refused_by(), Some("orders"));
    assert_eq!(server.calls(), 1, "the refused call was not sent");

    hand.advance(5 * SECOND);
    let response = client.get(server.url("/ok")).send().await.unwrap();
    assert_eq!(response.url().path(), "/ok");
    assert_eq!(response.text().await.unwrap(), "ok");
    assert_eq!(breaker.state(), State::Closed);
}

#[tokio::test]
async fn an_http_body_that_breaks_is_a_failure_in_both_adapters() {
    let server = HttpServer::start().await;
    for path in ["/reset-after/10", "/close-after/10"] {
        let (breaker, _) = one();
        let response = client(&breaker).get(server.url(path)).send().await.unwrap();
        response.bytes().await.unwrap_err();
        assert_eq!(breaker.state(), State::Open);

        let (breaker, _) = one();
        let inner = reqwest::Client::new();
        let request = inner.get(server.url(path)).build().unwrap();
        let mut service = CircuitBreakerLayer::new(breaker.clone()).http().layer(inner);
        let response = service.ready().await.unwrap().call(request).await.unwrap();
        response.bytes().await.unwrap_err();
        assert_eq!(breaker.state(), State::Open);
    }
}

#[tokio::test]
async fn a_reqwest_time_out_and_a_refused_dial_are_failures() {
    let server = HttpServer::start().await;
    let (breaker, _) = breaker(after_two());
    let client = client(&breaker);
    let patience = Duration::from_millis(50);
    let error = client.get(server.url("/hang")).timeout(patience).send().await.unwrap_err();
    assert!(error.is_timeout());
    assert!(error.source().is_some());
    assert_eq!(breaker.snapshot().consecutive_failures, 1);
    server.kill();
    client.get(server.url("/ok")).send().await.unwrap_err();
    assert_eq!(breaker.state(), State::Open);
}

#[tokio::test]
async fn a_refusal_by_a_middleware_further_in_is_no_failure() {
    let server = HttpServer::start().await;
    let ((outer, _), (inner, _)) = (one(), one());
    inner.force_open();
    let client = ClientBuilder::new(reqwest::Client::new())
        .with(CircuitBreakerMiddleware::new(outer.clone()))
        .with(CircuitBreakerMiddleware::new(inner))
        .build();
    let error = client.get(server.url("/ok")).send().await.unwrap_err();
    assert!(rejection(&error).is_some());
    assert_eq!(outer.state(), State::Closed);
}

#[tokio::test]
async fn an_http_call_that_its_caller_drops_counts_as_its_head_or_as_asked() {
    let server = HttpServer::start().await;
    // Its head is a success, and its body never comes.
    let (breaker, _) = breaker(after_two().consecutive_failures(1).on_drop(OnDrop::Failure));
    let response = client(&breaker).get(server.url("/stall")).send().await.unwrap();
    drop(response);
    assert_eq!(breaker.state(), State::Closed);

    let call = client(&breaker).get(server.url("/hang")).send();
    assert!(tokio::time::timeout(Duration::from_millis(50), call).await.is_err());
    assert_eq!(breaker.state(), State::Open, "dropped before its head");
}

#[tokio::test]
async fn a_refusal_is_found_through_reqwest_retry_which_makes_no_further_call() {
    use reqwest_retry::{RetryTransientMiddleware, policies::ExponentialBackoff};
    let server = HttpServer::start().await;
    let (breaker, _) = one();
    breaker.force_open();
    let policy = ExponentialBackoff::builder()
        .retry_bounds(Duration::from_millis(1), Duration::from_millis(2))
        .build_with_max_retries(2);
    let client = ClientBuilder::new(reqwest::Client::new())
        .with(RetryTransientMiddleware::new_with_policy(policy))
        .with(CircuitBreakerMiddleware::new(breaker))
        .build();
    let error = client.get(server.url("/ok")).send().await.unwrap_err();
    assert_eq!(rejection(&error).unwrap().refused_by(), Some("orders"));
    assert_eq!(server.calls(), 0);
}

#[tokio::test]
async fn each_grpc_method_has_a_breaker_of_its_own() {
    use seawall_circuit_breaker::registry::{ByKey, Registry, grpc_method};
    let server = GrpcServer::start().await;
    let config = after_two().consecutive_failures(1).build().unwrap();
    let breakers = Registry::builder(config).build().unwrap();
    let by_method = ByKey::new(breakers.clone(), grpc_method::<tonic::body::Body>);
    let channel = Channel::from_shared(server.url()).unwrap().connect_lazy();
    let layer = ChannelLayer::with_status(by_method, GrpcStatus::new());
    let mut client = EchoClient::new(layer.layer(channel));
    let unavailable = EchoRequest { code: Code::Unavailable.into(), ..ok() };
    client.unary(unavailable).await.unwrap_err();
    assert!(Rejection::find(&client.unary(ok()).await.unwrap_err()).is_some());
    client.server_stream(ok()).await.unwrap();
    let mut states: Vec<_> = breakers
        .snapshot()
        .into_iter()
        .map(|(key, snapshot)| (key.unwrap().to_string(), snapshot.state))
        .collect();
    states.sort_by(|a, b| a.0.cmp(&b.0));
    let method = |name| format!("/seawall.test.Echo/{name}");
    let expected = [(method("ServerStream"), State::Closed), (method("Unary"), State::Open)];
    assert_eq!(states, expected);
}
