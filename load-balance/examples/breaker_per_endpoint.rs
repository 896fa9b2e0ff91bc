//! A breaker in front of each endpoint: `cargo run --example breaker_per_endpoint --features reqwest`.
//!
//! The factory wraps what it makes. The layer asks each breaker before a pick, so that an open one
//! costs no call anything; when it closes again, its endpoint begins slowly. The same with a canary:
//! a header names the subset, all other requests go by the weights.

use std::time::Duration;

use http::Method;
use reqwest::Request;
use seawall_circuit_breaker::{CircuitBreaker, CircuitBreakerLayer, Config as BreakerConfig};
use seawall_core::{
    Endpoint,
    http::{AtBodyEnd, HttpStatus},
};
use seawall_load_balance::{
    BalanceLayer, Config, EndpointSet, MakeEndpoint, Select, SlowStart, Split,
    reqwest::{MakeClient, ReplayHttp},
};
use seawall_test_support::HttpServer;
use tower::{Layer, ServiceBuilder, ServiceExt};

type AnyError = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), AnyError> {
    let (stable, canary, broken) =
        (HttpServer::start().await, HttpServer::start().await, HttpServer::start().await);
    let set = EndpointSet::from_endpoints([
        Endpoint::new("stable", stable.address().try_into()?),
        Endpoint::new("broken", broken.address().try_into()?),
        Endpoint::new("canary", canary.address().try_into()?).with_tags(["canary"]),
    ]);

    let client = MakeClient::new("orders.internal");
    let breaker = BreakerConfig::builder().consecutive_failures(3).build()?;
    let make = move |endpoint: &Endpoint| {
        let breaker = CircuitBreaker::new(breaker.clone());
        let layer = CircuitBreakerLayer::new(breaker).track(AtBodyEnd(HttpStatus::new()));
        Ok::<_, reqwest::Error>(layer.layer(client.make(endpoint)?))
    };

    let split = Split::new().with_subset("canary", Select::tag("canary"), 10).with_subset(
        "stable",
        Select::Rest,
        90,
    );
    // The breakers take bad endpoints out, so that the balancer need not.
    let config = Config::builder()
        .split(split)
        .ejection(None)
        .slow_start(SlowStart::new(Duration::from_secs(30)))
        .build()?;
    let balance = BalanceLayer::with_config(set, config)
        .track(AtBodyEnd(HttpStatus::new()))
        .resend(ReplayHttp)
        .split_by(|request: &Request| {
            request.headers().get("x-subset")?.to_str().ok().map(Into::into)
        })
        .admits();
    let balancer = ServiceBuilder::new().layer(balance).service(make);

    broken.set_path(Some("/status/500"));
    let mut failed = 0;
    for call in 0..100 {
        let mut request = Request::new(Method::GET, "http://orders.internal/ok".parse()?);
        if call % 4 == 0 {
            request.headers_mut().insert("x-subset", "canary".parse()?);
        }
        let response = balancer.clone().oneshot(request).await?;
        failed += u32::from(response.status().is_server_error());
        response.bytes().await?;
    }
    println!("{failed} of 100 calls failed, as many as open a breaker");
    for endpoint in balancer.snapshot().endpoints {
        let (id, state, calls) = (endpoint.id, endpoint.state, endpoint.calls);
        println!("{id}: {state:?}, {calls} calls, {} failures", endpoint.failures);
    }
    // What was wrapped can be looked at.
    for (id, service) in balancer.services() {
        println!("{id}: its breaker is {:?}", service.breaker().state());
    }
    Ok(())
}
