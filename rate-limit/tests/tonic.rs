//! A tonic channel behind a limiter, over a real connection.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]
#![cfg(feature = "tonic")]

use std::{error::Error as _, time::Duration};

use seawall_core::Rejection;
use seawall_rate_limit::{Quota, RateLimiter, tonic::ChannelLayer};
use seawall_test_support::{EchoClient, EchoRequest, GrpcServer};
use tonic::{Code, transport::Channel};
use tower::ServiceBuilder;

async fn channel(server: &GrpcServer) -> Channel {
    Channel::from_shared(server.url()).unwrap().connect().await.unwrap()
}

#[tokio::test]
async fn a_refused_call_is_resource_exhausted_says_when_and_never_reaches_the_server() {
    let server = GrpcServer::start().await;
    let limiter = RateLimiter::new(Quota::per_hour(1)).unwrap().named("orders");
    let channel =
        ServiceBuilder::new().layer(ChannelLayer::new(limiter)).service(channel(&server).await);
    let mut client = EchoClient::new(channel);
    client.unary(EchoRequest::default()).await.unwrap();

    let status = client.unary(EchoRequest::default()).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    let pushback = status.metadata().get("grpc-retry-pushback-ms").unwrap();
    let millis: u64 = pushback.to_str().unwrap().parse().unwrap();
    assert!((3_590_000..=3_600_000).contains(&millis), "{millis}");
    let rejection = Rejection::find(status.source().unwrap()).unwrap();
    assert_eq!(rejection.refused_by(), Some("orders"));
    assert!(rejection.retry_after() > Some(Duration::from_secs(3_590)));
    assert_eq!(server.calls(), 1);
}

#[tokio::test]
async fn a_call_waits_for_its_turn() {
    let server = GrpcServer::start().await;
    let limiter = RateLimiter::new(Quota::per_second(20).burst(1)).unwrap();
    let layer = ChannelLayer::new(limiter).wait_up_to(Duration::from_secs(5));
    let channel = ServiceBuilder::new().layer(layer).service(channel(&server).await);
    let start = tokio::time::Instant::now();
    let calls = (0..4).map(|_| {
        let mut client = EchoClient::new(channel.clone());
        async move { client.unary(EchoRequest::default()).await }
    });
    for answer in futures::future::join_all(calls).await {
        answer.unwrap();
    }
    assert!(start.elapsed() >= Duration::from_millis(150), "{:?}", start.elapsed());
    assert_eq!(server.calls(), 4);
}
