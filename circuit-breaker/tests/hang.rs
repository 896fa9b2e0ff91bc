//! A real server that is stopped in the middle of a probe, and continued.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod common;

use std::{io, time::Duration};

use common::{SECOND, after_two, breaker, fail, succeed};
use seawall_circuit_breaker::State;
use seawall_test_support::RedisServer;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

async fn ping(server: &RedisServer) -> io::Result<()> {
    let mut stream = TcpStream::connect(server.address()).await?;
    stream.write_all(b"PING\r\n").await?;
    let mut answer = [0; 7];
    stream.read_exact(&mut answer).await?;
    assert_eq!(&answer, b"+PONG\r\n");
    Ok(())
}

#[tokio::test]
async fn a_probe_of_a_stopped_process_does_not_hold_the_breaker_half_open() {
    let server = RedisServer::start().await;
    let (breaker, hand) = breaker(after_two());
    fail(&breaker, 2);
    hand.advance(5 * SECOND);

    server.pause();
    let probe = tokio::spawn({
        let (breaker, address) = (breaker.clone(), server.address());
        async move {
            breaker
                .call_async(async move {
                    let mut stream = TcpStream::connect(address).await?;
                    stream.write_all(b"PING\r\n").await?;
                    stream.read_u8().await
                })
                .await
        }
    });
    while breaker.snapshot().probes_in_flight == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(breaker.admit().is_err(), "the probe is out, and hangs");

    hand.advance(10 * SECOND);
    assert!(breaker.admit().is_err());
    assert_eq!(breaker.state(), State::Open, "an overdue probe is a failure");

    server.resume();
    assert!(probe.await.unwrap().is_ok(), "late, and of an older generation");
    assert_eq!(breaker.state(), State::Open);
    hand.advance(5 * SECOND);
    breaker.call_async(ping(&server)).await.unwrap();
    assert_eq!(breaker.state(), State::Closed);
    succeed(&breaker, 1);
}
