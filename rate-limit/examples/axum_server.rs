//! An axum server that limits its callers by their address:
//! `cargo run --example axum_server --features axum,reqwest`.

use std::net::{IpAddr, SocketAddr};

use axum::{Router, routing::get};
use seawall_rate_limit::{KeyedLimiter, Quota, key::Peer, server::ServerLayer};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Behind a proxy, `ForwardedFor::trusting(1)` takes the place of `Peer`.
    let limiter = KeyedLimiter::<IpAddr>::new(Quota::per_minute(3), 10_000)?;
    let app = Router::new()
        .route("/", get(|| async { "hello" }))
        .layer(ServerLayer::new(limiter.by(Peer)));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/", listener.local_addr()?);
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, app).await });

    println!("five requests from one address, 3 a minute:");
    for request in 1..=5 {
        let response = reqwest::get(&url).await?;
        println!("request {request}: {}", response.status());
        for name in ["ratelimit-policy", "ratelimit", "retry-after"] {
            if let Some(value) = response.headers().get(name) {
                println!("  {name}: {}", value.to_str()?);
            }
        }
    }
    Ok(())
}
