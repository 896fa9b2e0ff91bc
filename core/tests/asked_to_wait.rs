//! A guard hears how long the callee asked to be left alone, before it hears of the end.

#![cfg(all(feature = "tonic", feature = "reqwest"))]
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod support;

use std::time::Duration;

use reqwest::Client;
use seawall_core::{
    AtResult, Classify, Reason, Rejection, Retry, Track,
    http::{AtBodyEnd, HttpStatus},
    tonic::{GrpcStatus, StatusService, pushback, rejection_status},
};
use seawall_test_support::{EchoClient, EchoRequest, GrpcServer, HttpServer};
use support::{Answered, FAILURE, IGNORED, Recorder, RetryAfter, SUCCESS, Told, Tracked};
use tonic::{Code, Status, transport::Channel};
use tower_service::Service;

const SECOND: Duration = Duration::from_secs(1);

async fn get(url: String) -> Recorder {
    let (mut service, recorder) = Tracked::new(Client::new(), AtBodyEnd(HttpStatus::new()));
    let request = Client::new().get(url).build().unwrap();
    service.call(request).await.unwrap().bytes().await.unwrap();
    recorder
}

#[tokio::test]
async fn an_http_refusal_asks_by_its_header() {
    let server = HttpServer::start().await;
    for (path, told) in [
        ("/status/503/7", &[RetryAfter(7 * SECOND), Answered, FAILURE][..]),
        ("/status/429/2", &[RetryAfter(2 * SECOND), Answered, IGNORED]),
        ("/status/503", &[Answered, FAILURE]),
        // "Not before" of something else, as of a redirection.
        ("/status/301/2", &[Answered, SUCCESS]),
    ] {
        get(server.url(path)).await.assert_told(told);
    }
}

/// A call to a server that fails with this metadata, in its head or after one message.
async fn call(key: &str, value: &str, in_trailers: bool) -> Vec<Told> {
    let server = GrpcServer::start().await;
    let channel = Channel::from_shared(server.url()).unwrap().connect_lazy();
    let (service, recorder) = Tracked::new(channel, AtBodyEnd(GrpcStatus::new()));
    let mut client = EchoClient::new(StatusService::new(service));
    let code = i32::from(Code::Unavailable);
    let request = EchoRequest {
        code: if in_trailers { 0 } else { code },
        trailer_code: if in_trailers { code } else { 0 },
        messages: 1,
        error_metadata: [(key.to_owned(), value.to_owned())].into(),
        ..EchoRequest::default()
    };
    let mut stream = match client.server_stream(request).await {
        Ok(response) => response.into_inner(),
        Err(_) => return recorder.told(),
    };
    stream.message().await.unwrap();
    stream.message().await.unwrap_err();
    recorder.told()
}

#[tokio::test]
async fn a_grpc_failure_asks_by_its_pushback_wherever_its_status_stands() {
    let pushback = "grpc-retry-pushback-ms";
    let told = call(pushback, "2500", false).await;
    assert_eq!(told, [RetryAfter(2 * SECOND + SECOND / 2), Answered, FAILURE]);
    let told = call(pushback, "2500", true).await;
    assert_eq!(told, [Answered, RetryAfter(2 * SECOND + SECOND / 2), FAILURE]);
    let told = call(pushback, "-1", true).await;
    assert_eq!(told, [Answered, FAILURE], "never is no wait");
    let told = call("retry-after", "3", true).await;
    assert_eq!(told, [Answered, FAILURE], "that is no word of gRPC");
}

#[test]
fn the_status_of_a_generated_client_asks_by_its_retry_info() {
    let refused = Rejection::new(Reason::LimitReached).retry(Retry::After(3 * SECOND));
    let mut headers = http::HeaderMap::new();
    rejection_status(&refused).add_header(&mut headers).unwrap();
    headers.remove("grpc-retry-pushback-ms").unwrap();
    let received = Status::from_header_map(&headers).unwrap();

    let recorder = Recorder::default();
    let result: Result<(), Status> = Err(received);
    AtResult(GrpcStatus::new()).track(result, recorder.admit()).unwrap_err();
    // RESOURCE_EXHAUSTED is an answer, and it asks for a rest.
    recorder.assert_told(&[Answered, RetryAfter(3 * SECOND), SUCCESS]);
    assert_eq!(pushback(&headers), Retry::After(3 * SECOND));
}

#[test]
fn a_refusal_of_ours_is_no_word_of_the_callees() {
    let refused = Rejection::new(Reason::LimitReached).retry(Retry::After(3 * SECOND));
    let result: Result<(), Status> = Err(rejection_status(&refused));
    assert_eq!(GrpcStatus::new().retry_after(result.as_ref()), None);
}
