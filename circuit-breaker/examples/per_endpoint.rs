//! One breaker for each server: `cargo run --example per_endpoint`.

use std::io::{Error, ErrorKind};

use seawall_circuit_breaker::{
    Config,
    registry::{Registry, RegistryLayer},
};
use tower::{Layer, Service, ServiceExt, service_fn};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let config = Config::builder().consecutive_failures(2).build()?;
    let breakers: Registry<String> =
        Registry::builder(config).named(|server: &String| server.as_str().into()).build()?;
    let layer = RegistryLayer::new(breakers.clone(), |server: &String| server.clone());
    let mut service = layer.layer(service_fn(|server: String| async move {
        if server == "sick" { Err(Error::from(ErrorKind::ConnectionRefused)) } else { Ok("hello") }
    }));

    for _ in 0..3 {
        for server in ["sick", "well"] {
            match service.ready().await?.call(server.to_owned()).await {
                Ok(answer) => println!("{server}: {answer}"),
                Err(error) => println!("{server}: {error}"),
            }
        }
    }
    for (server, snapshot) in breakers.snapshot() {
        println!("{server} is {}", snapshot.state);
    }
    Ok(())
}
