//! A Consul to try things on.

use std::error::Error;

use seawall_discovery::Consul;
use seawall_test_support::ConsulServer;

/// The Consul that the environment names, or one that is started for this program and ends with it.
pub(crate) async fn consul() -> Result<(Consul, Option<ConsulServer>), Box<dyn Error>> {
    if std::env::var_os("CONSUL_HTTP_ADDR").is_some() {
        let consul = Consul::from_env()?.build()?;
        consul.ping().await?;
        println!("consul: that of CONSUL_HTTP_ADDR");
        return Ok((consul, None));
    }
    let server = ConsulServer::builder().try_start().await?;
    println!("consul: one of our own at {}, for as long as this runs", server.http_url());
    Ok((Consul::new(&server.http_url())?, Some(server)))
}
