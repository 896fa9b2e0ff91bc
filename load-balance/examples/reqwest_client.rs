//! Two servers, one of which does not listen: `cargo run --example reqwest_client --features reqwest`.

use seawall_core::Endpoint;
use seawall_load_balance::{
    Config, EndpointSet,
    reqwest::{BalanceMiddleware, MakeClient, balance},
};
use seawall_test_support::HttpServer;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let server = HttpServer::start().await;
    let set = EndpointSet::from_endpoints([
        Endpoint::new("dead", "127.0.0.1:9".parse()?),
        Endpoint::new("live", server.address().try_into()?),
    ]);
    let balancer = balance(set, MakeClient::new("orders.internal"), Config::builder())?;
    let client = reqwest_middleware::ClientBuilder::new(reqwest::Client::new())
        .with(BalanceMiddleware::new(balancer.clone()))
        .build();
    for call in 1..=8 {
        let response = client.get("http://orders.internal/ok").send().await?;
        println!("call {call}: {} from {}", response.status(), response.url());
    }
    for endpoint in balancer.snapshot().endpoints {
        let (id, state, calls) = (endpoint.id, endpoint.state, endpoint.calls);
        println!("{id}: {state:?}, {calls} calls, {} failures", endpoint.failures);
    }
    Ok(())
}
