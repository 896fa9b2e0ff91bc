//! A limiter around a reqwest client: `cargo run --example reqwest_client --features reqwest`.

use std::time::{Duration, SystemTime};

use axum::{Router, routing::get};
use reqwest_middleware::ClientBuilder;
use seawall_core::reqwest::rejection;
use seawall_rate_limit::{Quota, RateLimiter, reqwest::RateLimitMiddleware};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/", listener.local_addr()?);
    let app = Router::new().route("/", get(|| async { "in stock" }));
    tokio::spawn(async move { axum::serve(listener, app).await });

    // Two at once and five a second; who would wait longer than 0.5 s is refused.
    let limiter = RateLimiter::new(Quota::per_second(5).burst(2))?.named("stock");
    let client = ClientBuilder::new(reqwest::Client::new())
        .with(RateLimitMiddleware::new(limiter).wait_up_to(Duration::from_millis(500)))
        .build();

    println!("six requests at once, 5 a second with a burst of 2:");
    let start = SystemTime::now();
    let calls = (1..=6).map(|call| {
        let (client, url) = (client.clone(), &url);
        async move {
            let result = client.get(url).send().await;
            let at = start.elapsed().unwrap_or_default().as_millis();
            match result {
                Ok(response) => println!("request {call}: {} after {at} ms", response.status()),
                Err(error) => match rejection(&error) {
                    Some(rejection) => println!("request {call}: not sent, {rejection}"),
                    None => println!("request {call}: {error}"),
                },
            }
        }
    });
    futures::future::join_all(calls).await;
    Ok(())
}
