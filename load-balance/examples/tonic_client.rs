//! Two servers, one of which does not listen: `cargo run --example tonic_client --features tonic`.
//!
//! `EchoClient` is one that `tonic-build` generated; any other is made with the channel as well.

use seawall_core::Endpoint;
use seawall_load_balance::{EndpointSet, tonic::balance};
use seawall_test_support::{EchoClient, EchoRequest, GrpcServer};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let server = GrpcServer::start().await;
    let set = EndpointSet::from_endpoints([
        Endpoint::new("dead", "127.0.0.1:9".parse()?),
        Endpoint::new("live", server.address().try_into()?),
    ]);
    let channel = balance(set);
    let mut client = EchoClient::new(channel.clone());
    for call in 1..=8 {
        let request = EchoRequest::default();
        match client.unary(request).await {
            Ok(_) => println!("call {call}: answered"),
            Err(status) => println!("call {call}: {status}"),
        }
    }
    for endpoint in channel.inner().snapshot().endpoints {
        let (id, state, calls) = (endpoint.id, endpoint.state, endpoint.calls);
        println!("{id}: {state:?}, {calls} calls, {} failures", endpoint.failures);
    }
    // An empty set is UNAVAILABLE, and never hangs.
    channel.inner().set().replace([]);
    if let Err(status) = client.unary(EchoRequest::default()).await {
        println!("empty set: {:?}, {}", status.code(), status.message());
    }
    Ok(())
}
