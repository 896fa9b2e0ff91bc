//! A server that dies and returns, seen by checks alone: `cargo run --example active_checks`.

use std::{sync::Arc, time::Duration};

use seawall_core::{Endpoint, EndpointId};
use seawall_load_balance::{ActiveChecks, Config, EndpointSet, Observer, Picker, TcpCheck};
use seawall_test_support::HttpServer;

struct Print;

impl Observer for Print {
    fn checked(&self, _: Option<&str>, endpoint: &EndpointId, passing: bool) {
        println!("{endpoint} is {}", if passing { "used" } else { "left out" });
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (one, two) = (HttpServer::start().await, HttpServer::start().await);
    let set = EndpointSet::from_endpoints([
        Endpoint::new("one", one.address().try_into()?),
        Endpoint::new("two", two.address().try_into()?),
    ]);
    let checks =
        ActiveChecks::new(TcpCheck).with_interval(Duration::from_millis(100)).with_gate(true);
    let config = Config::builder().checks(checks).observer(Arc::new(Print)).build()?;
    let mut picker = Picker::with_config(set, config);
    let second = Duration::from_secs(1);
    tokio::time::sleep(second).await;
    println!("killing one");
    one.kill();
    tokio::time::sleep(second).await;
    let picked = picker.pick().ok_or("no endpoint")?;
    println!("a call goes to {}", picked.id());
    println!("restarting one");
    one.restart().await;
    tokio::time::sleep(second).await;
    Ok(())
}
