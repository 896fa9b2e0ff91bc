//! A breaker in plain threads, without a runtime: `cargo run --example sync_calls`.
//!
//! The callee is a TCP port that nobody listens to.

use std::{
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use seawall_circuit_breaker::{CircuitBreaker, Config, Error};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let config =
        Config::builder().consecutive_failures(3).open_wait(Duration::from_millis(200)).build()?;
    let breaker = CircuitBreaker::builder(config).named("database").build();
    let address: SocketAddr = "127.0.0.1:9".parse()?;

    for call in 1..=6 {
        match breaker.call(|| TcpStream::connect_timeout(&address, Duration::from_millis(100))) {
            Ok(_) => println!("call {call}: connected"),
            Err(Error::Rejected(rejection)) => println!("call {call}: not made, {rejection}"),
            Err(error) => println!("call {call}: made, {error}"),
        }
    }
    println!("{:#?}", breaker.snapshot());
    Ok(())
}
