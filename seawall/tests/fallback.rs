//! What a gRPC caller gets when its call has failed for good.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::time::Duration;

use futures::StreamExt;
use seawall::{
    Answer, Because, Degraded, DegradedFrom, Failed,
    core::{Endpoint, Reason},
    discovery::Fixed,
    grpc::{GrpcBuilder, GrpcClient},
    policy::{Fallback, FallbackService, Policy, Stale, Value},
};
use seawall_test_support::{EchoClient, EchoRequest, EchoResponse, GrpcServer};
use tokio::time::Instant;
use tonic::{Code, Response};

/// A field 1 of type text, which is the message of a reply.
fn encoded(message: &str) -> Vec<u8> {
    let mut bytes = vec![0x0a, u8::try_from(message.len()).expect("it is short")];
    bytes.extend_from_slice(message.as_bytes());
    bytes
}

fn endpoint(server: &GrpcServer) -> Endpoint {
    let address = server.address();
    Endpoint::new(address.to_string(), address.try_into().expect("a socket is an address"))
}

fn at(server: &GrpcServer) -> GrpcBuilder {
    seawall::grpc("echo").endpoints([server.address().to_string()])
}

fn client(builder: GrpcBuilder, policy: Policy) -> EchoClient<GrpcClient> {
    EchoClient::new(builder.policy(policy).build().expect("the policy is valid"))
}

fn hello(message: &str) -> EchoRequest {
    EchoRequest { message: message.into(), ..Default::default() }
}

fn failing() -> EchoRequest {
    EchoRequest { code: Code::Unavailable as i32, ..Default::default() }
}

fn degraded(response: &Response<EchoResponse>) -> Option<&Degraded> {
    response.extensions().get()
}

fn value() -> Policy {
    let value = Value::message(encoded("nobody")).header("x-from", "policy");
    Policy::new().fallback(Fallback::new().value(value))
}

#[tokio::test]
async fn a_value_stands_in_for_a_failed_call_and_is_marked() {
    let server = GrpcServer::start().await;
    let mut client = client(at(&server), value());
    let good = client.unary(hello("hello")).await.unwrap();
    assert!(degraded(&good).is_none());
    let response = client.unary(failing()).await.unwrap();
    let mark = degraded(&response).expect("it is marked");
    assert_eq!(mark.from, DegradedFrom::Value);
    assert!(matches!(mark.because, Because::Answered(14)), "{mark:?}");
    assert_eq!(response.metadata().get("x-from").unwrap(), "policy");
    assert_eq!(response.into_inner().message, "nobody");
    // What the server decided is the caller's to know.
    let refused = EchoRequest { code: Code::NotFound as i32, ..hello("") };
    assert_eq!(client.unary(refused).await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn it_answers_for_the_limit_and_for_the_deadline() {
    let server = GrpcServer::start().await;
    let policy = Policy::from_yaml(
        "{ timeout: 100ms, rate_limit: { limit: 1, period: 1h }, fallback: { value: { message: '' } } }",
    );
    let mut client = client(at(&server), policy.unwrap());
    let slow = EchoRequest { hang: true, ..hello("hello") };
    let late = client.unary(slow).await.unwrap();
    assert!(matches!(degraded(&late).unwrap().because, Because::TimedOut(_)), "{late:?}");
    assert_eq!(late.into_inner(), EchoResponse::default());
    let refused = client.unary(hello("hello")).await.unwrap();
    match &degraded(&refused).unwrap().because {
        Because::Rejected(rejection) => assert_eq!(rejection.reason(), Reason::LimitReached),
        other => panic!("{other:?}"),
    }
    assert_eq!(server.calls(), 1);
}

#[tokio::test]
async fn it_answers_for_servers_that_are_gone() {
    let server = GrpcServer::start().await;
    server.kill();
    let mut client = client(at(&server), value());
    for _ in 0..20 {
        let response = client.unary(hello("hello")).await.unwrap();
        assert_eq!(response.into_inner().message, "nobody");
    }
}

#[tokio::test]
async fn another_service_answers_with_a_deadline_of_its_own() {
    let (main, other) = (GrpcServer::start().await, GrpcServer::start().await);
    let registry = Fixed::new().with("echo", [endpoint(&main)]).unwrap();
    let registry = registry.with("replica", [endpoint(&other)]).unwrap();
    let fallback = Fallback::new()
        .service(FallbackService::new("replica").timeout(Duration::from_millis(400)))
        .value(Value::message(encoded("nobody")));
    let policy = Policy::new().timeout(Duration::from_millis(150)).fallback(fallback);
    let mut client = client(seawall::grpc("echo").resolver(registry), policy);
    // The call runs out of its time, and the replica takes longer than that.
    main.set_script(Some(EchoRequest { hang: true, ..hello("") }));
    other.set_script(Some(EchoRequest { delay_ms: 250, ..hello("replica") }));
    let mut request = tonic::Request::new(hello("hello"));
    request.set_timeout(Duration::from_millis(100));
    let response = client.unary(request).await.unwrap();
    assert_eq!(degraded(&response).unwrap().from, DegradedFrom::Service("replica".into()));
    assert_eq!(response.into_inner().server, other.address().to_string());
    // It has no longer than its deadline, and then the value comes.
    other.set_script(Some(EchoRequest { hang: true, ..hello("") }));
    let begun = Instant::now();
    let response = client.unary(hello("hello")).await.unwrap();
    assert_eq!(degraded(&response).unwrap().from, DegradedFrom::Value);
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(550) && took < Duration::from_secs(5), "{took:?}");
}

#[tokio::test]
async fn the_last_good_response_to_the_same_request_is_given() {
    let server = GrpcServer::start().await;
    let policy = Policy::new()
        .idempotent(["/seawall.test.Echo/*"])
        .fallback(Fallback::new().stale(Stale::new().vary(["x-tenant"])));
    let channel = at(&server).policy(policy).build().unwrap();
    let mut client = EchoClient::new(channel.clone());
    let of = |message: &str, tenant: &'static str| {
        let mut request = tonic::Request::new(hello(message));
        request.metadata_mut().insert("x-tenant", tenant.parse().unwrap());
        request
    };
    client.unary(of("a", "red")).await.unwrap();
    client.unary(of("b", "red")).await.unwrap();
    let stream = client.server_stream(EchoRequest { messages: 3, ..hello("many") }).await.unwrap();
    let before: Vec<_> = stream.into_inner().map(Result::unwrap).collect().await;
    server.kill();
    for message in ["a", "b"] {
        let response = client.unary(of(message, "red")).await.unwrap();
        let mark = degraded(&response).unwrap();
        assert!(matches!(mark.from, DegradedFrom::Stale { .. }), "{mark:?}");
        assert_eq!(response.into_inner().message, message);
    }
    let stream = client.server_stream(EchoRequest { messages: 3, ..hello("many") }).await.unwrap();
    let after: Vec<_> = stream.into_inner().map(Result::unwrap).collect().await;
    assert_eq!(after, before);
    // Nobody gets what another one asked for, nor the answer to another question.
    assert_eq!(client.unary(of("a", "blue")).await.unwrap_err().code(), Code::Unavailable);
    assert_eq!(client.unary(of("c", "red")).await.unwrap_err().code(), Code::Unavailable);
    // Another policy keeps what is known.
    let policy = channel.policy().timeout(Duration::from_secs(9));
    channel.apply(policy).unwrap();
    assert_eq!(client.unary(of("a", "red")).await.unwrap().into_inner().message, "a");
}

#[tokio::test]
async fn what_may_not_be_done_twice_is_not_answered_from_memory() {
    let server = GrpcServer::start().await;
    let policy = Policy::new().fallback(Fallback::new().stale(Stale::new()));
    let mut client = client(at(&server), policy);
    client.unary(hello("order")).await.unwrap();
    server.kill();
    client.unary(hello("order")).await.unwrap_err();
}

#[tokio::test]
async fn a_function_sees_the_call_and_may_have_no_answer() {
    let server = GrpcServer::start().await;
    let builder = at(&server).fallback(async |failed: Failed| {
        assert_eq!(failed.path, "/seawall.test.Echo/Unary");
        let limit = matches!(failed.because, Because::Answered(14));
        limit.then(|| Answer::new(encoded("made up")))
    });
    let channel = builder.build().unwrap();
    let mut client = EchoClient::new(channel.clone());
    let response = client.unary(failing()).await.unwrap();
    assert_eq!(degraded(&response).unwrap().from, DegradedFrom::Function);
    assert_eq!(response.into_inner().message, "made up");
    let internal = EchoRequest { code: Code::Internal as i32, ..hello("") };
    assert_eq!(client.unary(internal).await.unwrap_err().code(), Code::Internal);
    let fallbacks = channel.snapshot().fallbacks;
    assert_eq!((fallbacks.function, fallbacks.none, fallbacks.value), (1, 1, 0));
}

#[tokio::test]
async fn each_route_has_its_own() {
    let server = GrpcServer::start().await;
    let policy = Policy::from_yaml(
        "
idempotent: [/seawall.test.Echo/*]
fallback: { value: { message: '' } }
routes:
  - match: [{ path: /seawall.test.Echo/ServerStream }]
    fallback: null
",
    );
    let mut client = client(at(&server), policy.unwrap());
    let response = client.unary(failing()).await.unwrap();
    assert_eq!(degraded(&response).unwrap().from, DegradedFrom::Value);
    assert_eq!(client.server_stream(failing()).await.unwrap_err().code(), Code::Unavailable);
}

#[tokio::test]
async fn a_value_for_http_is_refused() {
    let policy = Policy::from_yaml("fallback: { value: { body: '[]' } }").unwrap();
    let error = seawall::grpc("echo").endpoints(["a:1"]).policy(policy).build().unwrap_err();
    assert!(error.to_string().contains("`fallback.value.message` is absent"), "{error}");
}
