//! A reqwest client as a tower service, with one limit for each host:
//! `cargo run --example reqwest_tower --features reqwest`.

use axum::{Router, routing::get};
use reqwest::{Client, Method, Request};
use seawall_rate_limit::{KeyedLimiter, Quota, RateLimitLayer};
use tower::{ServiceBuilder, ServiceExt};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut urls = Vec::new();
    for _ in 0..2 {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        urls.push(format!("http://{}/", listener.local_addr()?));
        let app = Router::new().route("/", get(|| async { "hello" }));
        tokio::spawn(async move { axum::serve(listener, app).await });
    }

    let limiter = KeyedLimiter::<String>::new(Quota::per_minute(2), 1_000)?.named("hosts");
    let by_host = limiter.by(|request: &Request| Some(request.url().authority().to_owned()));
    let client = ServiceBuilder::new().layer(RateLimitLayer::new(by_host)).service(Client::new());

    println!("three requests to each of two servers, 2 a minute to each:");
    for url in &urls {
        for call in 1..=3 {
            let request = Request::new(Method::GET, url.parse()?);
            match client.clone().oneshot(request).await {
                Ok(response) => println!("{url} request {call}: {}", response.status()),
                Err(error) => println!("{url} request {call}: {error}"),
            }
        }
    }
    Ok(())
}
