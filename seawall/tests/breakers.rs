//! What one breaker is for, with real servers.

#![allow(clippy::unwrap_used, reason = "a test")]

use seawall::{
    core::{Reason, Rejection},
    policy::Policy,
};
use seawall_test_support::{EchoClient, EchoRequest, GrpcServer, HttpServer};
use tonic::Code;

fn policy(scope: &str) -> Policy {
    let text = format!("circuit_breaker: {{ scope: {scope}, failure_threshold: 3, timeout: 1h }}");
    Policy::from_yaml(&text).unwrap()
}

fn failing() -> EchoRequest {
    EchoRequest { code: Code::Unavailable as i32, ..Default::default() }
}

#[tokio::test]
async fn a_method_that_fails_is_refused_on_all_endpoints_and_others_go_on() {
    let (a, b) = (GrpcServer::start().await, GrpcServer::start().await);
    let addresses = [a.address().to_string(), b.address().to_string()];
    let channel = seawall::grpc("echo").endpoints(addresses).policy(policy("method"));
    let channel = channel.build().unwrap();
    let mut client = EchoClient::new(channel.clone());
    for _ in 0..3 {
        client.unary(failing()).await.unwrap_err();
    }
    let status = client.unary(EchoRequest::default()).await.unwrap_err();
    let refused = Rejection::find(&status).unwrap();
    assert_eq!(refused.reason(), Reason::CircuitOpen);
    assert_eq!(refused.refused_by(), Some("echo /seawall.test.Echo/Unary"));
    assert_eq!(a.calls() + b.calls(), 3);
    let stream = client.server_stream(EchoRequest { messages: 1, ..Default::default() }).await;
    stream.unwrap().into_inner().message().await.unwrap().unwrap();

    let snapshot = channel.snapshot();
    let states: Vec<_> = snapshot.methods.iter().map(|m| (&*m.method, m.state)).collect();
    let echo = ["/seawall.test.Echo/ServerStream", "/seawall.test.Echo/Unary"];
    assert_eq!(states, [(echo[0], "closed"), (echo[1], "open")]);
    // A new policy opens nothing that is closed, and the other way round.
    channel.apply(policy("method").timeout(std::time::Duration::from_secs(9))).unwrap();
    assert_eq!(channel.snapshot().methods[1].state, "open");
    channel.apply(policy("endpoint")).unwrap_err();
}

#[tokio::test]
async fn the_paths_of_an_http_route_are_one_method() {
    let server = HttpServer::start().await;
    let text = "
circuit_breaker: { scope: method, failure_threshold: 3, timeout: 1h }
routes: [{ match: [{ path: /status/* }] }]
";
    let client = seawall::http("users").endpoints([server.address().to_string()]);
    let client = client.policy(Policy::from_yaml(text).unwrap()).build().unwrap();
    let get = async |path: &str| client.client().get(format!("http://users{path}")).send().await;
    for path in ["/status/500", "/status/501", "/status/502"] {
        get(path).await.unwrap();
    }
    get("/status/200").await.unwrap_err();
    assert_eq!(get("/ok").await.unwrap().status(), 200);
    let states: Vec<_> =
        client.snapshot().methods.into_iter().map(|method| (method.method, method.state)).collect();
    assert_eq!(states, [("/status/*".into(), "open"), ("other calls".into(), "closed")]);
}

#[tokio::test]
async fn a_service_has_one_breaker_and_a_refusal_is_not_tried_again() {
    let (a, b) = (GrpcServer::start().await, GrpcServer::start().await);
    let addresses = [a.address().to_string(), b.address().to_string()];
    let channel = seawall::grpc("echo").endpoints(addresses).policy(policy("service"));
    let mut client = EchoClient::new(channel.build().unwrap());
    for _ in 0..3 {
        client.unary(failing()).await.unwrap_err();
    }
    let begun = tokio::time::Instant::now();
    for _ in 0..100 {
        let status = client.unary(EchoRequest::default()).await.unwrap_err();
        assert_eq!(Rejection::find(&status).unwrap().reason(), Reason::CircuitOpen);
    }
    // With the waits before retries it would take seconds.
    assert!(begun.elapsed() < std::time::Duration::from_secs(1), "{:?}", begun.elapsed());
    assert_eq!(a.calls() + b.calls(), 3);
}
