//! The same three lines with each registry: who is there, and what changes.

mod support;

use std::{error::Error, time::Duration};

use futures::StreamExt as _;
use seawall_core::{Change, Endpoint};
use seawall_discovery::{
    Dns, Fallback, File, Fixed, Memory, Merged, Registrar as _, Registration, Resolver,
};
use tokio::time::timeout;

const SECOND: Duration = Duration::from_secs(1);

/// What a client does, whatever the registry.
async fn show(name: &str, registry: &dyn Resolver, service: &str) {
    let mut watch = registry.watch(service);
    // A client just reads on; this one has the next registry to show.
    while let Ok(Some(batch)) = timeout(SECOND / 2, watch.next()).await {
        println!("{name:9} {}", line(&batch));
    }
    println!("{name:9} {}", watch.state());
}

fn line(batch: &[Change]) -> String {
    let words = batch.iter().map(|change| match change {
        Change::Insert(endpoint) => format!("+ {} at {}", endpoint.id(), endpoint.address()),
        Change::Update(endpoint) => format!("~ {} at {}", endpoint.id(), endpoint.address()),
        Change::Remove(id) => format!("- {id}"),
    });
    words.collect::<Vec<_>>().join(", ")
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let registration = Registration::new("orders", "127.0.0.1:50051".parse()?)?;
    let list = [Endpoint::new("listed", "10.0.0.1:80".parse()?)];
    let listed = Fixed::new().with("orders", list)?;

    // In this process, for tests and demonstrations.
    let memory = Memory::new();
    let lease = memory.register(registration.clone()).await?;
    show("memory", &memory, "orders").await;
    lease.shutdown().await?;

    // A list that never changes.
    show("fixed", &listed, "orders").await;

    // A file that is watched.
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("services.json");
    std::fs::write(&path, r#"{"orders": [{"id": "in-the-file", "address": "10.0.0.2:80"}]}"#)?;
    show("file", &File::new(&path)?, "orders").await;

    // Addresses of a name; `_grpc._tcp.orders.internal` would ask for SRV records.
    show("dns", &Dns::builder().port(50_051).build()?, "localhost").await;

    // Consul.
    let (consul, _server) = support::consul().await?;
    let lease = consul.register(registration.clone()).await?;
    show("consul", &consul, "orders").await;

    // Two at once, and one until another has answered.
    show("merged", &Merged::new(consul.clone()).with(listed.clone()), "orders").await;
    show("fallback", &Fallback::new(consul, listed.clone()), "orders").await;
    lease.shutdown().await?;
    Ok(())
}
