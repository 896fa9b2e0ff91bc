//! A breaker around a reqwest client: `cargo run --example reqwest_client --features reqwest`.

use reqwest_middleware::ClientBuilder;
use seawall_circuit_breaker::{
    CircuitBreaker, Config,
    reqwest::{CircuitBreakerMiddleware, rejection},
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let breaker = CircuitBreaker::builder(Config::builder().consecutive_failures(2).build()?)
        .named("stock")
        .build();
    let client = ClientBuilder::new(reqwest::Client::new())
        .with(CircuitBreakerMiddleware::new(breaker))
        .build();

    for call in 1..=4 {
        // Nobody listens there.
        match client.get("http://127.0.0.1:9/items").send().await {
            Ok(response) => println!("call {call}: {}", response.status()),
            Err(error) => match rejection(&error) {
                Some(rejection) => println!("call {call}: not sent, {rejection}"),
                None => println!("call {call}: sent, {error}"),
            },
        }
    }
    Ok(())
}
