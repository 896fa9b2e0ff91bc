//! Over real connections: an open breaker waits as long as the server asked it to.

#![cfg(all(feature = "tonic", feature = "reqwest"))]
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod common;

use std::{
    convert::Infallible,
    future::{Ready, ready},
    task::{Context, Poll},
    time::Duration,
};

use common::{SECOND, breaker};
use reqwest_middleware::ClientBuilder;
use seawall_circuit_breaker::{
    CircuitBreaker, CircuitBreakerLayer, Config, OpenWait, reqwest::CircuitBreakerMiddleware,
    tonic::ChannelLayer,
};
use seawall_core::{Reason, Rejection, Retry, tonic::rejection_status};
use seawall_test_support::{EchoClient, EchoRequest, GrpcServer, HttpServer};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use tonic::{
    Code, Status,
    body::Body,
    server::NamedService,
    transport::{Channel, Server, server::TcpIncoming},
};
use tower::{Layer, Service, ServiceExt};

/// Opens at the first failure, and then waits a second, or as long as it was told.
fn obedient() -> CircuitBreaker {
    let wait = OpenWait::constant(SECOND).from_server(SECOND, 60 * SECOND);
    breaker(Config::builder().consecutive_failures(1).open_wait(wait)).0
}

fn wait(breaker: &CircuitBreaker) -> Option<Duration> {
    breaker.snapshot().next_probe_in
}

async fn get(breaker: &CircuitBreaker, url: &str) {
    let client = ClientBuilder::new(reqwest::Client::new())
        .with(CircuitBreakerMiddleware::new(breaker.clone()))
        .build();
    client.get(url).send().await.unwrap().bytes().await.unwrap();
}

#[tokio::test]
async fn retry_after_in_seconds_is_how_long_a_reqwest_client_waits() {
    let server = HttpServer::start().await;
    for (path, expected) in
        [("/status/503/7", 7 * SECOND), ("/status/503/3600", 60 * SECOND), ("/status/503", SECOND)]
    {
        let by_middleware = obedient();
        get(&by_middleware, &server.url(path)).await;
        assert_eq!(wait(&by_middleware), Some(expected), "{path}");

        let by_layer = obedient();
        let inner = reqwest::Client::new();
        let request = inner.get(server.url(path)).build().unwrap();
        let service = CircuitBreakerLayer::new(by_layer.clone()).http().layer(inner);
        service.oneshot(request).await.unwrap().bytes().await.unwrap();
        assert_eq!(wait(&by_layer), Some(expected), "{path}");
    }
}

#[tokio::test]
async fn retry_after_as_a_date_counts_from_the_date_of_the_response() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = [0; 1_024];
        let _ = stream.read(&mut request).await.unwrap();
        let answer = "HTTP/1.1 503 Service Unavailable\r\n\
                      date: Fri, 31 Dec 1999 23:59:29 GMT\r\n\
                      retry-after: Fri, 31 Dec 1999 23:59:59 GMT\r\n\
                      content-length: 0\r\n\r\n";
        stream.write_all(answer.as_bytes()).await.unwrap();
    });
    let breaker = obedient();
    get(&breaker, &url).await;
    assert_eq!(wait(&breaker), Some(30 * SECOND));
    server.await.unwrap();
}

#[tokio::test]
async fn pushback_is_how_long_a_generated_client_waits_wherever_it_stands() {
    let server = GrpcServer::start().await;
    let unavailable = i32::from(Code::Unavailable);
    for (in_trailers, millis, expected) in [
        (false, "2500", SECOND * 5 / 2),
        (true, "2500", SECOND * 5 / 2),
        (true, "-1", SECOND),
        (true, "soon", SECOND),
    ] {
        let breaker = obedient();
        let channel = Channel::from_shared(server.url()).unwrap().connect_lazy();
        let mut client = EchoClient::new(ChannelLayer::new(breaker.clone()).layer(channel));
        let request = EchoRequest {
            messages: 1,
            code: if in_trailers { 0 } else { unavailable },
            trailer_code: unavailable,
            error_metadata: [("grpc-retry-pushback-ms".to_owned(), millis.to_owned())].into(),
            ..EchoRequest::default()
        };
        if let Ok(stream) = client.server_stream(request).await {
            let mut stream = stream.into_inner();
            assert!(stream.message().await.unwrap().is_some());
            stream.message().await.unwrap_err();
        }
        assert_eq!(wait(&breaker), Some(expected), "{millis}, in trailers: {in_trailers}");
    }
}

/// Answers every call with UNAVAILABLE and a `google.rpc.RetryInfo` of 12 s.
#[derive(Clone)]
struct Overloaded;

impl NamedService for Overloaded {
    const NAME: &'static str = "seawall.test.Echo";
}

impl Service<http::Request<Body>> for Overloaded {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<http::Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: http::Request<Body>) -> Self::Future {
        let refusal = Rejection::new(Reason::CircuitOpen).retry(Retry::After(12 * SECOND));
        let mut status: Status = rejection_status(&refusal);
        status.metadata_mut().remove("grpc-retry-pushback-ms").unwrap();
        ready(Ok(status.into_http()))
    }
}

#[tokio::test]
async fn retry_info_is_how_long_a_generated_client_waits() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = Server::builder().add_service(Overloaded);
    let server = tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));
    let breaker = obedient();
    let channel = Channel::from_shared(url).unwrap().connect_lazy();
    let mut client = EchoClient::new(ChannelLayer::new(breaker.clone()).layer(channel));
    let status = client.unary(EchoRequest::default()).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert_eq!(wait(&breaker), Some(12 * SECOND));
    server.abort();
}
