//! A router applies a layer to each route; all of them share one state.

#![cfg(feature = "http")]
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod common;

use std::convert::Infallible;

use axum::{
    Router,
    body::Body,
    error_handling::HandleErrorLayer,
    http::{Request, StatusCode},
    routing::get,
};
use common::{after_two, breaker};
use seawall_circuit_breaker::{CircuitBreakerLayer, Error, State};
use tower::{ServiceBuilder, ServiceExt};

async fn status(router: &Router, path: &str) -> StatusCode {
    let request = Request::get(path).body(Body::empty()).unwrap();
    router.clone().oneshot(request).await.unwrap().status()
}

#[tokio::test]
async fn all_routes_of_a_router_share_one_breaker() {
    let (breaker, _) = breaker(after_two());
    let refused = |error: Error<Infallible>| async move {
        match error.rejection() {
            Some(_) => StatusCode::SERVICE_UNAVAILABLE,
            None => StatusCode::INTERNAL_SERVER_ERROR,
        }
    };
    let layer = ServiceBuilder::new()
        .layer(HandleErrorLayer::new(refused))
        .layer(CircuitBreakerLayer::new(breaker.clone()).http());
    let router = Router::new()
        .route("/fails", get(|| async { StatusCode::BAD_GATEWAY }))
        .route("/works", get(|| async { "works" }))
        .layer(layer);

    assert_eq!(status(&router, "/works").await, StatusCode::OK);
    for _ in 0..2 {
        assert_eq!(status(&router, "/fails").await, StatusCode::BAD_GATEWAY);
    }
    assert_eq!(breaker.state(), State::Open);
    assert_eq!(status(&router, "/works").await, StatusCode::SERVICE_UNAVAILABLE);
}
