//! What the `.proto` files of an interface say of its methods.

#![allow(clippy::unwrap_used, reason = "a test")]

use prost::Message;
use seawall::{
    grpc::GrpcClient,
    policy::{CircuitBreaker, Fallback, Policy, Retries, RetryOn, Stale},
};
use seawall_test_support::{EchoClient, EchoRequest, GrpcServer};
use tonic::Code;

const INTERFACE: &str = "
syntax = \"proto3\";
package seawall.test;
message M {}
service Echo {
  rpc Unary(M) returns (M) { option idempotency_level = NO_SIDE_EFFECTS; }
  rpc ServerStream(M) returns (stream M) { option idempotency_level = IDEMPOTENT; }
  rpc ClientStream(stream M) returns (M);
}
";

/// As `protoc --descriptor_set_out` writes it.
fn descriptors() -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("echo.proto"), INTERFACE).unwrap();
    protox::compile(["echo.proto"], [folder.path()]).unwrap().encode_to_vec()
}

fn client(server: &GrpcServer, policy: Policy, descriptors: &[u8]) -> EchoClient<GrpcClient> {
    let retries = Retries::new().attempts(2).retry_on([RetryOn::Unavailable]);
    let breaker = CircuitBreaker::new().failure_threshold(1000);
    let client = seawall::grpc("echo")
        .endpoints([server.address().to_string()])
        .policy(policy.circuit_breaker(breaker).retries(retries))
        .file_descriptor_set(descriptors)
        .build();
    EchoClient::new(client.unwrap())
}

#[tokio::test]
async fn methods_that_may_be_done_twice_are_those_that_say_so() {
    let server = GrpcServer::start().await;
    let mut client = client(&server, Policy::new(), &descriptors());
    let failing = EchoRequest { code: Code::Unavailable as i32, ..Default::default() };
    let calls = |before: u64| server.calls() - before;
    client.unary(failing.clone()).await.unwrap_err();
    assert_eq!(calls(0), 3);
    client.server_stream(failing.clone()).await.unwrap_err();
    assert_eq!(calls(3), 3);
    client.client_stream(futures::stream::iter([failing])).await.unwrap_err();
    assert_eq!(calls(6), 1);
}

#[tokio::test]
async fn responses_of_methods_without_side_effects_are_kept() {
    let server = GrpcServer::start().await;
    let policy = Policy::new().fallback(Fallback::new().stale(Stale::new()));
    let mut client = client(&server, policy, &descriptors());
    let request = EchoRequest { message: "a".into(), messages: 1, ..Default::default() };
    client.unary(request.clone()).await.unwrap();
    let stream = client.server_stream(request.clone()).await.unwrap().into_inner();
    let _: Vec<_> = futures::StreamExt::collect(stream).await;
    server.kill();
    assert_eq!(client.unary(request.clone()).await.unwrap().into_inner().message, "a");
    client.server_stream(request).await.unwrap_err();
}

#[tokio::test]
async fn what_is_no_descriptor_is_refused() {
    let builder = seawall::grpc("echo").endpoints(["a:1"]).file_descriptor_set(b"no descriptor");
    let error = builder.build().unwrap_err().to_string();
    assert!(error.contains("file_descriptor_set"), "{error}");
}
