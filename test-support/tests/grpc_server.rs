//! A real gRPC server answers as its requests say.

#![allow(clippy::unwrap_used)] // A helper of tests is no test to the lint.

use std::time::Duration;

use futures_util::stream;
use seawall_test_support::{EchoClient, EchoRequest, GrpcServer};
use tonic::Code;
use tonic::transport::Channel;

async fn client(server: &GrpcServer) -> EchoClient<Channel> {
    EchoClient::connect(server.url()).await.unwrap()
}

fn request(message: &str) -> EchoRequest {
    EchoRequest { message: message.to_owned(), ..EchoRequest::default() }
}

async fn becomes_idle(server: &GrpcServer) -> bool {
    for _ in 0..500 {
        if server.in_flight() == 0 {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    false
}

#[tokio::test]
async fn a_unary_call_echoes_fails_waits_or_hangs() {
    let server = GrpcServer::start().await;
    let mut client = client(&server).await;

    let echo = client.unary(EchoRequest { payload_bytes: 10_000, ..request("hello") }).await;
    let echo = echo.unwrap().into_inner();
    assert_eq!((echo.message.as_str(), echo.payload.len()), ("hello", 10_000));
    assert_eq!(echo.server, server.address().to_string());

    let failing = EchoRequest {
        code: Code::ResourceExhausted.into(),
        error_message: "full".to_owned(),
        error_metadata: [("grpc-retry-pushback-ms".to_owned(), "20".to_owned())].into(),
        ..EchoRequest::default()
    };
    let status = client.unary(failing).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::ResourceExhausted, "full"));
    assert_eq!(status.metadata().get("grpc-retry-pushback-ms").unwrap(), "20");

    let slow = client.unary(EchoRequest { delay_ms: 300, ..request("slow") });
    tokio::time::timeout(Duration::from_millis(100), slow).await.unwrap_err();
    let hung = client.unary(EchoRequest { hang: true, ..request("hung") });
    tokio::time::timeout(Duration::from_millis(100), hung).await.unwrap_err();
    assert_eq!(server.calls(), 4);
    assert!(becomes_idle(&server).await, "calls that the client dropped end on the server");
}

#[tokio::test]
async fn a_stream_ends_well_or_fails_in_its_trailers_or_hangs() {
    let server = GrpcServer::start().await;
    let mut client = client(&server).await;
    let three = EchoRequest { messages: 3, gap_ms: 1, ..request("three") };

    let mut stream = client.server_stream(three.clone()).await.unwrap().into_inner();
    for number in 0..3 {
        assert_eq!(stream.message().await.unwrap().unwrap().number, number);
    }
    assert_eq!(stream.message().await.unwrap(), None);

    let failing = EchoRequest { trailer_code: Code::DataLoss.into(), ..three.clone() };
    let mut stream = client.server_stream(failing).await.unwrap().into_inner();
    for _ in 0..3 {
        stream.message().await.unwrap().unwrap();
    }
    assert_eq!(stream.message().await.unwrap_err().code(), Code::DataLoss);

    let head = EchoRequest { code: Code::NotFound.into(), ..three.clone() };
    assert_eq!(client.server_stream(head).await.unwrap_err().code(), Code::NotFound);

    let hanging = EchoRequest { hang_after_messages: true, messages: 1, ..three };
    let mut stream = client.server_stream(hanging).await.unwrap().into_inner();
    stream.message().await.unwrap().unwrap();
    assert_eq!(server.in_flight(), 1);
    tokio::time::timeout(Duration::from_millis(50), stream.message()).await.unwrap_err();
    drop(stream);
    assert!(becomes_idle(&server).await);
}

#[tokio::test]
async fn streams_of_requests_are_read() {
    let server = GrpcServer::start().await;
    let mut client = client(&server).await;
    let requests = stream::iter([request("a"), request("b")]);
    let answer = client.client_stream(requests).await.unwrap().into_inner();
    assert_eq!((answer.message.as_str(), answer.number), ("b", 2));

    let requests = stream::iter([
        EchoRequest { messages: 2, ..request("a") },
        EchoRequest { messages: 1, trailer_code: Code::Aborted.into(), ..request("b") },
        EchoRequest { messages: 1, ..request("never") },
    ]);
    let mut stream = client.bidi_stream(requests).await.unwrap().into_inner();
    for message in ["a", "a", "b"] {
        assert_eq!(stream.message().await.unwrap().unwrap().message, message);
    }
    assert_eq!(stream.message().await.unwrap_err().code(), Code::Aborted);
    assert!(becomes_idle(&server).await);
}

#[tokio::test]
async fn a_script_overrides_the_requests() {
    let server = GrpcServer::start().await;
    let mut client = client(&server).await;
    let failing = EchoRequest { code: Code::Unavailable.into(), ..EchoRequest::default() };
    server.set_script(Some(failing));
    assert_eq!(client.unary(request("a")).await.unwrap_err().code(), Code::Unavailable);
    server.set_script(None);
    assert_eq!(client.unary(request("a")).await.unwrap().into_inner().message, "a");
}

#[tokio::test]
async fn a_killed_server_breaks_calls_and_comes_back_at_its_address() {
    let server = GrpcServer::start().await;
    let mut client = client(&server).await;
    let mut other = client.clone();
    let hung =
        tokio::spawn(async move { other.unary(EchoRequest { hang: true, ..request("") }).await });
    while server.in_flight() == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    server.kill();
    hung.await.unwrap().unwrap_err();
    assert_eq!(server.in_flight(), 0);
    client.unary(request("a")).await.unwrap_err();
    server.restart().await;
    client.unary(request("a")).await.unwrap();
}

#[tokio::test]
async fn a_shutdown_lets_calls_end() {
    let server = GrpcServer::start().await;
    let mut client = client(&server).await;
    let slow = EchoRequest { delay_ms: 200, ..request("slow") };
    let call = tokio::spawn(async move { client.unary(slow).await });
    while server.in_flight() == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    server.shutdown().await;
    assert_eq!(call.await.unwrap().unwrap().into_inner().message, "slow");
    EchoClient::connect(server.url()).await.unwrap_err();
}
