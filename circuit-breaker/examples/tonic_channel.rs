//! A breaker around a tonic channel: `cargo run --example tonic_channel --features tonic`.
//!
//! With a client that `tonic-build` generated, `OrdersClient::new(channel)` takes the place of the
//! generic client here.

use http::uri::PathAndQuery;
use seawall_circuit_breaker::{CircuitBreaker, Config, Rejection, tonic::ChannelLayer};
use tonic::{Request, client::Grpc, transport::Channel};
use tower::Layer;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let breaker = CircuitBreaker::builder(Config::builder().consecutive_failures(2).build()?)
        .named("orders")
        .build();
    // Nobody listens there.
    let channel = Channel::from_static("http://127.0.0.1:9").connect_lazy();
    let mut client = Grpc::new(ChannelLayer::new(breaker).layer(channel));

    for call in 1..=4 {
        client.ready().await?;
        let path = PathAndQuery::from_static("/shop.Orders/List");
        let codec = tonic_prost::ProstCodec::<(), ()>::default();
        let Err(status) = client.unary(Request::new(()), path, codec).await else {
            println!("call {call}: answered");
            continue;
        };
        match Rejection::find(&status) {
            Some(rejection) => println!("call {call}: not sent, {rejection}"),
            None => println!("call {call}: sent, {:?}: {}", status.code(), status.message()),
        }
    }
    Ok(())
}
