//! Bytes that are no answer at all: each call ends once, and nothing panics.

#![cfg(all(feature = "tonic", feature = "reqwest"))]
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod support;

use std::{net::SocketAddr, time::Duration};

use seawall_core::{
    http::{AtBodyEnd, HttpStatus},
    tonic::{GrpcStatus, StatusService},
};
use seawall_test_support::{EchoClient, EchoRequest, Rng};
use support::{FAILURE, Tracked};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use tonic::transport::Channel;
use tower_service::Service;

/// Bytes in place of an answer: noise, or the beginning of something that HTTP would be.
fn noise(rng: &mut Rng, start: &[u8]) -> Vec<u8> {
    let mut bytes = start.to_vec();
    bytes.extend((0..rng.usize(..200)).map(|_| rng.u8(..)));
    bytes
}

/// A server that answers each connection with the next of these, then closes it.
async fn raw_server(answers: Vec<Vec<u8>>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        for answer in answers {
            let Ok((mut stream, _)) = listener.accept().await else { return };
            let _ = stream.read(&mut [0; 4096]).await;
            let _ = stream.write_all(&answer).await;
            let _ = stream.shutdown().await;
        }
    });
    address
}

#[tokio::test]
async fn noise_from_an_http_server_ends_each_call_once() {
    let mut rng = Rng::new();
    let starts: [&[u8]; 5] = [
        b"",
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
    ];
    let answers: Vec<_> = (0..100).map(|i| noise(&mut rng, starts[i % starts.len()])).collect();
    let rounds = answers.len();
    let url = format!("http://{}/", raw_server(answers).await);
    for _ in 0..rounds {
        let client = reqwest::Client::builder()
            .pool_max_idle_per_host(0)
            .retry(reqwest::retry::never())
            .timeout(Duration::from_secs(5))
            .build()
            .unwrap();
        let (mut service, recorder) = Tracked::new(client.clone(), AtBodyEnd(HttpStatus::new()));
        let failed = match service.call(client.get(&url).build().unwrap()).await {
            Ok(response) => response.bytes().await.is_err(),
            Err(_) => true,
        };
        assert_eq!(recorder.outcome() == FAILURE, failed, "{:?}", recorder.told());
    }
}

#[tokio::test]
async fn noise_from_a_grpc_server_ends_each_call_once() {
    let mut rng = Rng::new();
    // An empty SETTINGS frame, then perhaps the head of a HEADERS frame of stream 1.
    let settings: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
    let head: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 100, 1, 4, 0, 0, 0, 1];
    let starts = [&b""[..], settings, head];
    let answers: Vec<_> = (0..60).map(|i| noise(&mut rng, starts[i % starts.len()])).collect();
    let rounds = answers.len();
    let address = raw_server(answers).await;
    for _ in 0..rounds {
        let endpoint = Channel::from_shared(format!("http://{address}")).unwrap();
        let channel = endpoint.timeout(Duration::from_secs(5)).connect_lazy();
        let (service, recorder) = Tracked::new(channel, AtBodyEnd(GrpcStatus::new()));
        let mut client = EchoClient::new(StatusService::new(service));
        client.unary(EchoRequest::default()).await.unwrap_err();
        assert_eq!(recorder.outcome(), FAILURE, "{:?}", recorder.told());
    }
}
