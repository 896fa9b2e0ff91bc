//! A client that learns the limit of its server, beside one that does not:
//! `cargo run --example learn_client --features reqwest`.

use std::time::{Duration, SystemTime};

use axum::{Router, routing::get};
use reqwest::{Client, Method, Request, Response};
use seawall_rate_limit::{
    Quota, RateLimiter,
    learn::{LearnLayer, Learned},
    server::ServerLayer,
};
use tower::{Layer, Service, ServiceExt};

/// A server that takes 5 requests a second.
async fn serve() -> Result<String, Box<dyn std::error::Error>> {
    let limiter = RateLimiter::new(Quota::per_second(5))?;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/", listener.local_addr()?);
    let app: Router =
        Router::new().route("/", get(|| async { "hello" })).layer(ServerLayer::new(limiter));
    tokio::spawn(async move { axum::serve(listener, app).await });
    Ok(url)
}

async fn twelve<S>(name: &str, service: S) -> Result<(), Box<dyn std::error::Error>>
where
    S: Service<Request, Response = Response, Error: std::error::Error + 'static> + Clone,
{
    let url = serve().await?;
    let start = SystemTime::now();
    let (mut answered, mut refused) = (0, 0);
    for _ in 0..12 {
        let request = Request::new(Method::GET, url.parse()?);
        let response = service.clone().oneshot(request).await?;
        if response.status() == 429 { refused += 1 } else { answered += 1 }
    }
    let millis = start.elapsed()?.as_millis();
    println!("{name}: {answered} answered, {refused} refused with 429, in {millis} ms");
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("twelve requests to a server that takes 5 a second:");
    twelve("as it is", Client::new()).await?;
    let learn = LearnLayer::new(Learned::new()).wait_up_to(Duration::from_secs(5));
    twelve("learning", learn.layer(Client::new())).await
}
