//! What the caller of a generated client sees when a layer of ours refuses.

#![cfg(feature = "tonic")]
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::{
    error::Error as StdError,
    future::{Ready, ready},
    task::{Context, Poll},
    time::Duration,
};

use seawall_core::{
    BoxError, Classify, Error, Outcome, Reason, Rejection, Retry,
    tonic::{GrpcStatus, StatusService, error_status, rejection_status},
};
use seawall_test_support::{EchoClient, EchoRequest, GrpcServer};
use tonic::{Code, Status, body::Body, transport::Channel};
use tonic_types::StatusExt;
use tower_service::Service;

/// A layer of ours that is closed.
#[derive(Clone)]
struct Refuses(Rejection);

impl Service<http::Request<Body>> for Refuses {
    type Response = http::Response<Body>;
    type Error = Error<tonic::transport::Error>;
    type Future = Ready<Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: http::Request<Body>) -> Self::Future {
        ready(Err(self.0.clone().into()))
    }
}

async fn refused(rejection: &Rejection) -> Status {
    let mut client = EchoClient::new(StatusService::new(Refuses(rejection.clone())));
    client.unary(EchoRequest::default()).await.unwrap_err()
}

fn pushback(status: &Status) -> Option<&str> {
    status.metadata().get("grpc-retry-pushback-ms").map(|value| value.to_str().unwrap())
}

#[tokio::test]
async fn each_reason_has_its_code() {
    for (reason, code) in [
        (Reason::CircuitOpen, Code::Unavailable),
        (Reason::NoEndpoint, Code::Unavailable),
        (Reason::LimitReached, Code::ResourceExhausted),
        (Reason::Overloaded, Code::ResourceExhausted),
        (Reason::DeadlineExceeded, Code::DeadlineExceeded),
    ] {
        let status = refused(&Rejection::new(reason)).await;
        assert_eq!(status.code(), code, "{reason:?}");
        assert_eq!(pushback(&status), None);
        assert!(status.details().is_empty());
    }
}

#[tokio::test]
async fn a_wait_travels_as_pushback_and_as_retry_info() {
    let rejection = Rejection::new(Reason::LimitReached)
        .by("orders")
        .retry(Retry::After(Duration::from_micros(1_500_300)));
    let status = refused(&rejection).await;
    assert_eq!(status.message(), "rate limit is reached (orders), retry after 1.5003s");
    assert_eq!(pushback(&status), Some("1501"), "rounded up");
    let delay = status.get_details_retry_info().unwrap().retry_delay;
    assert_eq!(delay, Some(Duration::from_micros(1_500_300)));
    let details = status.check_error_details().unwrap();
    assert_eq!(details.retry_info().unwrap().retry_delay, delay);
}

#[tokio::test]
async fn a_refusal_for_ever_is_a_negative_pushback() {
    let status = refused(&Rejection::new(Reason::LimitReached).retry(Retry::Never)).await;
    assert_eq!(pushback(&status), Some("-1"));
    assert!(status.details().is_empty(), "a delay would ask for a retry");
}

#[tokio::test]
async fn the_longest_wait_fits() {
    let status =
        refused(&Rejection::new(Reason::CircuitOpen).retry(Retry::After(Duration::MAX))).await;
    assert_eq!(pushback(&status), Some("2147483647"));
    assert!(status.get_details_retry_info().is_some());
    let status =
        refused(&Rejection::new(Reason::CircuitOpen).retry(Retry::After(Duration::ZERO))).await;
    assert_eq!(pushback(&status), Some("0"));
}

#[tokio::test]
async fn the_rejection_is_found_behind_the_status() {
    let rejection = Rejection::new(Reason::CircuitOpen).by("orders");
    let status = refused(&rejection).await;
    assert_eq!(Rejection::find(&status), Some(&rejection));
    let inner = status.source().unwrap();
    assert!(inner.is::<Error<tonic::transport::Error>>(), "the layer's own error is the source");
    let judged = Classify::<(), _>::classify(&GrpcStatus::new(), Err(&status));
    assert_eq!(judged, Outcome::Ignored, "a refusal says nothing about the server");
    assert_eq!(Rejection::find(&rejection_status(&rejection)), Some(&rejection));
}

#[tokio::test]
async fn a_servers_status_passes_through_as_it_is() {
    let server = GrpcServer::start().await;
    let client = || {
        let channel = Channel::from_shared(server.url()).unwrap().connect_lazy();
        EchoClient::new(StatusService::new(channel))
    };
    let request = EchoRequest {
        code: Code::ResourceExhausted.into(),
        error_message: "slow down".into(),
        error_metadata: [("grpc-retry-pushback-ms".into(), "70".into())].into(),
        ..EchoRequest::default()
    };
    let status = client().unary(request).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::ResourceExhausted, "slow down"));
    assert_eq!(pushback(&status), Some("70"));
    assert_eq!(Rejection::find(&status), None);
    server.kill();
    let status = client().unary(EchoRequest::default()).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert_eq!(Rejection::find(&status), None);
}

#[test]
fn a_status_in_a_layers_error_keeps_its_code_and_metadata() {
    let mut status = Status::aborted("again");
    status.metadata_mut().insert("x-kept", "1".parse().unwrap());
    let layered: BoxError = Error::Inner(status).into();
    let status = error_status(layered);
    assert_eq!((status.code(), status.message()), (Code::Aborted, "again"));
    assert_eq!(status.metadata().get("x-kept").unwrap(), "1");
}
