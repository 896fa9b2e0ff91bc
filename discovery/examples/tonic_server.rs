//! A tonic server that is in Consul exactly while it can be called, with gRPC health from its lease.
//!
//! Uses the Consul of `CONSUL_HTTP_ADDR`, or starts one. Stops at ctrl-c, or by itself after its
//! demonstration.

mod support;

use std::{error::Error, time::Duration};

use seawall_discovery::{Check, Registration, Resolver as _, ServerHealth, Serving, Watch};
use tokio::{net::TcpListener, time::sleep};
use tonic::transport::{Channel, Server, server::TcpIncoming};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let (consul, _server) = support::consul().await?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;

    let registration = Registration::builder("greeter", address.try_into()?)
        // Consul asks grpc.health.v1.Health for itself, beside the heartbeats.
        .check(Check::grpc(address.try_into()?, SECOND))
        .build()?;
    let watch = consul.watch("greeter");
    let serving = Serving::new(consul, registration).propagation(SECOND / 2);
    let health: ServerHealth = serving.health();

    let ready = async { println!("server: listening on {address}") };
    let signal = async {
        tokio::select! {
            () = demonstrate(&watch) => {}
            _ = tokio::signal::ctrl_c() => {}
        }
        println!("server: told to stop");
    };
    serving
        .run(ready, signal, |stop| {
            // Your own services are added beside it.
            let router = Server::builder().add_service(health.grpc());
            router.serve_with_incoming_shutdown(TcpIncoming::from(listener), stop)
        })
        .await?;
    println!("server: drained and gone; consul knows {} of it", watch.current().len());
    Ok(())
}

/// A client that finds the server and asks for its health.
async fn demonstrate(watch: &Watch) {
    let found = match watch.ready(5 * SECOND).await {
        Ok(found) => found,
        Err(error) => return println!("client: {error}"),
    };
    println!("client: consul knows {} at {}", found[0].id(), found[0].address());
    let url = format!("http://{}", found[0].address());
    match Channel::from_shared(url).map(|endpoint| endpoint.connect_lazy()) {
        Ok(channel) => {
            let checked = HealthClient::new(channel).check(HealthCheckRequest::default()).await;
            println!("client: health is {:?}", checked.map(|answer| answer.into_inner().status()));
        }
        Err(error) => println!("client: {error}"),
    }
    sleep(SECOND).await;
}
