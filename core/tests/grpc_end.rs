//! A gRPC call ends where its status stands, whatever the generated client does with the body.

#![cfg(feature = "tonic")]
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod support;

use std::time::Duration;

use http::{Request, Uri};
use http_body_util::{BodyExt, Full};
use seawall_core::{
    Outcome,
    http::{AtBodyEnd, Replay, ReplayRequest},
    tonic::{GrpcStatus, StatusService},
};
use seawall_test_support::{EchoClient, EchoRequest, FaultProxy, Faults, GrpcServer};
use support::{Answered, Dropped, FAILURE, IGNORED, Recorder, SUCCESS, Tracked, eventually};
use tonic::{Code, body::Body, transport::Channel};
use tower_service::Service;

type Client = EchoClient<StatusService<Tracked<Channel, AtBodyEnd<GrpcStatus>>>>;

fn channel(url: &str) -> Channel {
    Channel::from_shared(url.to_owned()).unwrap().connect_lazy()
}

fn client(url: &str) -> (Client, Recorder) {
    client_of(channel(url))
}

fn client_of(channel: Channel) -> (Client, Recorder) {
    let (service, recorder) = Tracked::new(channel, AtBodyEnd(GrpcStatus::new()));
    (EchoClient::new(StatusService::new(service)), recorder)
}

fn code(code: Code) -> EchoRequest {
    EchoRequest { code: code.into(), ..EchoRequest::default() }
}

fn messages(messages: u32) -> EchoRequest {
    EchoRequest { messages, ..EchoRequest::default() }
}

#[tokio::test]
async fn a_unary_call_succeeds_at_its_trailers() {
    let server = GrpcServer::start().await;
    let (mut client, recorder) = client(&server.url());
    client.unary(EchoRequest::default()).await.unwrap();
    recorder.assert_told(&[Answered, SUCCESS]);
}

#[tokio::test]
async fn a_unary_error_ends_at_its_head_and_its_code_decides() {
    let server = GrpcServer::start().await;
    for (sent, told) in [
        (Code::Unavailable, FAILURE),
        (Code::Internal, FAILURE),
        (Code::Unknown, FAILURE),
        (Code::DataLoss, FAILURE),
        (Code::DeadlineExceeded, FAILURE),
        (Code::NotFound, SUCCESS),
        (Code::InvalidArgument, SUCCESS),
        (Code::PermissionDenied, SUCCESS),
        (Code::ResourceExhausted, SUCCESS),
        (Code::Cancelled, IGNORED),
    ] {
        let (mut client, recorder) = client(&server.url());
        let status = client.unary(code(sent)).await.unwrap_err();
        assert_eq!(status.code(), sent);
        recorder.assert_told(&[Answered, told]);
    }
}

#[tokio::test]
async fn a_stream_that_is_drained_succeeds_before_it_is_dropped() {
    let server = GrpcServer::start().await;
    let (mut client, recorder) = client(&server.url());
    let mut stream = client.server_stream(messages(3)).await.unwrap().into_inner();
    for _ in 0..3 {
        assert_eq!(recorder.in_flight(), 1);
        stream.message().await.unwrap().unwrap();
    }
    assert!(stream.message().await.unwrap().is_none());
    // tonic stopped at the trailers and still holds the body.
    recorder.assert_told(&[Answered, SUCCESS]);
    drop(stream);
    recorder.assert_told(&[Answered, SUCCESS]);
}

#[tokio::test]
async fn a_stream_that_fails_in_its_trailers_is_a_failure() {
    let server = GrpcServer::start().await;
    for (sent, told) in [(Code::Unavailable, FAILURE), (Code::NotFound, SUCCESS)] {
        let (mut client, recorder) = client(&server.url());
        let request = EchoRequest { trailer_code: sent.into(), ..messages(2) };
        let mut stream = client.server_stream(request).await.unwrap().into_inner();
        let status = loop {
            match stream.message().await {
                Ok(message) => assert!(message.is_some()),
                Err(status) => break status,
            }
        };
        assert_eq!(status.code(), sent);
        recorder.assert_told(&[Answered, told]);
    }
}

#[tokio::test]
async fn a_stream_that_the_caller_drops_half_way_is_abandoned() {
    let server = GrpcServer::start().await;
    let (mut client, recorder) = client(&server.url());
    let request = EchoRequest { hang_after_messages: true, ..messages(1) };
    let mut stream = client.server_stream(request).await.unwrap().into_inner();
    stream.message().await.unwrap().unwrap();
    drop(stream);
    recorder.assert_told(&[Answered, Dropped]);
    eventually(|| server.in_flight() == 0).await;
}

#[tokio::test]
async fn a_stream_that_nobody_reads_was_never_answered() {
    let server = GrpcServer::start().await;
    let (mut client, recorder) = client(&server.url());
    drop(client.server_stream(messages(1)).await.unwrap());
    recorder.assert_told(&[Dropped]);
}

#[tokio::test]
async fn a_call_that_the_caller_drops_before_its_head_is_abandoned() {
    let server = GrpcServer::start().await;
    let (mut client, recorder) = client(&server.url());
    let hang = client.unary(EchoRequest { hang: true, ..EchoRequest::default() });
    let reached = eventually(|| server.in_flight() == 1);
    tokio::select! {
        _ = hang => panic!("answered"),
        () = reached => {}
    }
    recorder.assert_told(&[Dropped]);
}

#[tokio::test]
async fn a_connection_that_breaks_in_mid_stream_is_a_failure() {
    let server = GrpcServer::start().await;
    let proxy = FaultProxy::start(server.address()).await;
    for broken in ["reset", "killed"] {
        let (mut client, recorder) = client(&format!("http://{}", proxy.address()));
        let request = EchoRequest { hang_after_messages: true, ..messages(1) };
        let mut stream = client.server_stream(request).await.unwrap().into_inner();
        stream.message().await.unwrap().unwrap();
        if broken == "reset" {
            proxy.reset()
        } else {
            server.kill()
        }
        stream.message().await.unwrap_err();
        recorder.assert_told(&[Answered, FAILURE]);
    }
}

#[tokio::test]
async fn a_connection_that_breaks_before_the_head_is_a_failure() {
    let server = GrpcServer::start().await;
    let (mut client, recorder) = client(&server.url());
    let mut other = client.clone();
    other.unary(EchoRequest::default()).await.unwrap();
    let (answer, ()) =
        tokio::join!(client.unary(EchoRequest { hang: true, ..EchoRequest::default() }), async {
            eventually(|| server.in_flight() == 1).await;
            server.kill();
        });
    answer.unwrap_err();
    assert_eq!(recorder.in_flight(), 0);
    assert_eq!(recorder.told(), [Answered, SUCCESS, FAILURE]);
}

#[tokio::test]
async fn a_dial_that_is_refused_is_a_failure() {
    let server = GrpcServer::start().await;
    server.kill();
    let (mut client, recorder) = client(&server.url());
    assert_eq!(client.unary(EchoRequest::default()).await.unwrap_err().code(), Code::Unavailable);
    recorder.assert_told(&[FAILURE]);
}

#[tokio::test]
async fn tonics_own_time_out_is_a_failure() {
    let server = GrpcServer::start().await;
    let endpoint = Channel::from_shared(server.url()).unwrap().timeout(Duration::from_millis(30));
    let (mut client, recorder) = client_of(endpoint.connect_lazy());
    let hang = EchoRequest { hang: true, ..EchoRequest::default() };
    assert_eq!(client.unary(hang).await.unwrap_err().code(), Code::Cancelled);
    recorder.assert_told(&[FAILURE]);
}

#[tokio::test]
async fn a_time_out_of_the_request_is_a_failure() {
    let server = GrpcServer::start().await;
    let (mut client, recorder) = client(&server.url());
    let mut request = tonic::Request::new(EchoRequest { hang: true, ..EchoRequest::default() });
    request.set_timeout(Duration::from_millis(30));
    assert_eq!(client.unary(request).await.unwrap_err().code(), Code::Cancelled);
    recorder.assert_told(&[FAILURE]);
}

#[tokio::test]
async fn a_black_hole_ends_as_an_abandoned_call_when_the_caller_gives_up() {
    let server = GrpcServer::start().await;
    let proxy = FaultProxy::start(server.address()).await;
    let (mut client, recorder) = client(&format!("http://{}", proxy.address()));
    let request = EchoRequest { gap_ms: 5, ..messages(1_000_000) };
    let mut stream = client.server_stream(request).await.unwrap().into_inner();
    stream.message().await.unwrap().unwrap();
    proxy.set_both(Faults::BLACK_HOLE);
    let patience = Duration::from_millis(50);
    while tokio::time::timeout(patience, stream.message()).await.is_ok() {}
    drop(stream);
    recorder.assert_told(&[Answered, Dropped]);
}

/// A message of no fields in gRPC's framing.
const EMPTY_MESSAGE: &[u8] = &[0; 5];

fn unary(url: &str) -> Request<Full<bytes::Bytes>> {
    let uri: Uri = format!("{url}/seawall.test.Echo/Unary").parse().unwrap();
    Request::post(uri)
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Full::from(EMPTY_MESSAGE))
        .unwrap()
}

#[tokio::test]
async fn a_request_whose_dial_was_refused_is_sent_to_another_server() {
    let (dead, live) = (GrpcServer::start().await, GrpcServer::start().await);
    dead.kill();
    let replay = ReplayRequest::new(unary(&live.url()));

    let first = replay.attempt().unwrap().map(Body::new);
    let mut refused = channel(&dead.url());
    std::future::poll_fn(|cx| refused.poll_ready(cx)).await.unwrap();
    refused.call(first).await.unwrap_err();

    let second = replay.attempt().expect("nothing of it was sent").map(Body::new);
    let mut accepted = channel(&live.url());
    std::future::poll_fn(|cx| accepted.poll_ready(cx)).await.unwrap();
    let answer = accepted.call(second).await.unwrap().into_body().collect().await.unwrap();
    assert_eq!(answer.trailers().unwrap()["grpc-status"], "0");
    assert_eq!(live.calls(), 1);
}

#[tokio::test]
async fn a_request_that_one_server_saw_is_sent_to_another() {
    let (first, second) = (GrpcServer::start().await, GrpcServer::start().await);
    first.set_script(Some(code(Code::Unavailable)));
    let replay = Replay::new(Full::<bytes::Bytes>::from(EMPTY_MESSAGE));
    for (server, status) in [(&first, "14"), (&second, "0")] {
        let body = Body::new(replay.attempt().expect("all of it is kept"));
        let mut channel = channel(&server.url());
        std::future::poll_fn(|cx| channel.poll_ready(cx)).await.unwrap();
        let (head, answer) =
            channel.call(unary(&server.url()).map(|_| body)).await.unwrap().into_parts();
        let answer = answer.collect().await.unwrap();
        let seen = head
            .headers
            .get("grpc-status")
            .or(answer.trailers().and_then(|t| t.get("grpc-status")));
        assert_eq!(seen.unwrap(), status);
    }
    assert_eq!((first.calls(), second.calls()), (1, 1));
}

#[tokio::test]
async fn a_generated_clients_result_can_be_judged_too() {
    use seawall_core::Classify;
    let server = GrpcServer::start().await;
    let mut client = EchoClient::new(channel(&server.url()));
    let judge = GrpcStatus::new();
    let ok = client.unary(EchoRequest::default()).await;
    assert_eq!(judge.classify(ok.as_ref()), Outcome::Success);
    let missing = client.unary(code(Code::NotFound)).await;
    assert_eq!(judge.classify(missing.as_ref()), Outcome::Success);
    // The server's own CANCELLED says nothing; that of a connection that died in the call does.
    let cancelled = client.unary(code(Code::Cancelled)).await;
    assert_eq!(judge.classify(cancelled.as_ref()), Outcome::Ignored);
    let (died, ()) =
        tokio::join!(client.unary(EchoRequest { hang: true, ..EchoRequest::default() }), async {
            eventually(|| server.in_flight() == 1).await;
            server.kill();
        });
    assert_eq!(judge.classify(died.as_ref()), Outcome::Failure, "{died:?}");
}
