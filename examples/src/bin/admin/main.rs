//! Two clients to look at while they run: a live page, metrics, and actions with a token.
//!
//! ```console
//! $ cargo run -p seawall-examples --bin admin
//! ```
//!
//! Three servers answer in this process, of which one falls ill from time to time. Open the page, give
//! it the token that is printed, and take a server away.

mod servers;

use std::{net::SocketAddr, time::Duration};

use clap::Parser;
use seawall::{admin::Admin, http::HttpClient, policy::Policy};
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::servers::Servers;

/// Serves a page of two clients that call three servers.
#[derive(Parser)]
#[command(name = "admin")]
struct Args {
    /// Where the page is
    #[arg(long, default_value = "127.0.0.1:9901")]
    address: SocketAddr,
    /// Ends after so many seconds; runs on unless given
    #[arg(long)]
    seconds: Option<u64>,
    /// Those who have it may act
    #[arg(long, default_value = "seawall-example-token")]
    token: String,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args = Args::parse();
    let servers = Servers::start(3).await?;
    let policy = Policy::from_yaml(include_str!("../../../admin-policy.yaml"))?;
    let client = |name: &str, policy: Policy| {
        seawall::http(name).endpoints(servers.addresses()).policy(policy).build()
    };
    let orders = client("orders", policy)?;
    let users = client("users", Policy::new())?;
    let admin = Admin::new().http(&orders).http(&users).token(&args.token)?;

    println!("the page: http://{}/", args.address);
    println!("the token: {}", args.token);
    let run = async {
        tokio::select! {
            () = load(&orders, "http://orders/", Duration::from_millis(4)) => Ok(()),
            () = load(&users, "http://users/", Duration::from_millis(25)) => Ok(()),
            () = servers.fall_ill() => Ok(()),
            served = admin.serve(args.address) => served,
        }
    };
    match args.seconds {
        None => run.await?,
        Some(seconds) => match timeout(Duration::from_secs(seconds), run).await {
            Ok(ended) => ended?,
            Err(_) => println!("{} calls were answered", servers.calls()),
        },
    }
    Ok(())
}

/// A call each `pause`, for ever.
async fn load(client: &HttpClient, url: &str, pause: Duration) {
    let mut ticks = interval(pause);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let request = client.client().get(url);
        // What a call ends in is on the page.
        tokio::spawn(async move { drop(request.send().await) });
    }
}
