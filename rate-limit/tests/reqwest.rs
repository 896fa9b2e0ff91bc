//! A reqwest client behind a limiter, over a real connection.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]
#![cfg(feature = "reqwest")]

use std::time::Duration;

use reqwest::{Client, Method, Request};
use reqwest_middleware::ClientBuilder;
use seawall_core::{Rejection, reqwest::rejection};
use seawall_rate_limit::{Quota, RateLimitLayer, RateLimiter, reqwest::RateLimitMiddleware};
use seawall_test_support::HttpServer;
use tower::{Layer, ServiceExt};

#[tokio::test]
async fn the_middleware_refuses_before_anything_is_sent() {
    let server = HttpServer::start().await;
    let limiter = RateLimiter::new(Quota::per_hour(1)).unwrap().named("orders");
    let client = ClientBuilder::new(Client::new()).with(RateLimitMiddleware::new(limiter)).build();
    let response = client.get(server.url("/ok")).send().await.unwrap();
    assert_eq!(response.text().await.unwrap(), "ok");

    let error = client.get(server.url("/ok")).send().await.unwrap_err();
    let refused = rejection(&error).unwrap();
    assert_eq!(refused.refused_by(), Some("orders"));
    assert!(refused.retry_after() > Some(Duration::from_secs(3_590)));
    assert_eq!(server.calls(), 1);
}

#[tokio::test]
async fn the_middleware_waits_for_its_turn() {
    let server = HttpServer::start().await;
    let limiter = RateLimiter::new(Quota::per_second(20).burst(1)).unwrap();
    let middleware = RateLimitMiddleware::new(limiter).wait_up_to(Duration::from_secs(5));
    let client = ClientBuilder::new(Client::new()).with(middleware).build();
    let start = tokio::time::Instant::now();
    for _ in 0..4 {
        client.get(server.url("/ok")).send().await.unwrap();
    }
    assert!(start.elapsed() >= Duration::from_millis(150), "{:?}", start.elapsed());
    assert_eq!(server.calls(), 4);
}

#[tokio::test]
async fn the_layer_goes_around_a_client_as_it_is() {
    let server = HttpServer::start().await;
    let limiter = RateLimiter::new(Quota::per_hour(1)).unwrap();
    let service = RateLimitLayer::new(limiter).layer(Client::new());
    let request = || Request::new(Method::GET, server.url("/ok").parse().unwrap());
    let response = service.clone().oneshot(request()).await.unwrap();
    assert_eq!(response.status(), 200);
    let error = service.oneshot(request()).await.unwrap_err();
    assert!(Rejection::find(&error).is_some());
    assert_eq!(server.calls(), 1);
}
