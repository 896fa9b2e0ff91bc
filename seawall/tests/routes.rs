//! Calls that a policy treats otherwise than the rest.

use std::time::Duration;

use seawall::{
    core::Endpoint, discovery::Fixed, grpc::GrpcClient, http::HttpClient, policy::Policy,
};
use seawall_test_support::{EchoClient, EchoRequest, GrpcServer, HttpServer};
use tonic::Code;

fn endpoint(server: &HttpServer, tag: &str) -> Endpoint {
    let address = server.address();
    Endpoint::new(address.to_string(), address.try_into().expect("a socket is an address"))
        .with_tags([tag])
}

fn client(registry: Fixed, policy: &str) -> HttpClient {
    let policy = Policy::from_yaml(policy).expect("the policy reads");
    seawall::http("users").resolver(registry).policy(policy).build().expect("it builds")
}

async fn get(client: &HttpClient, path: &str) {
    let url = format!("http://users{path}");
    // The servers know none of these paths: what counts is who was asked.
    client.client().get(url).send().await.unwrap_or_else(|error| panic!("{path}: {error:?}"));
}

#[tokio::test]
async fn versions_of_an_interface_go_to_services_of_their_own_and_a_path_is_split() {
    let (old, new) = (HttpServer::start().await, HttpServer::start().await);
    let registry = Fixed::new()
        .with("users-old", [endpoint(&old, "-")])
        .unwrap()
        .with("users-new", [endpoint(&new, "-")])
        .unwrap()
        .with("users", [endpoint(&new, "-")])
        .unwrap();
    let client = client(
        registry,
        "
routes:
  - match: [{ path: /api/v1/users* }]
    service: users-old
  - match: [{ path: /api/v2/users* }]
    service: users-new
  - match: [{ path: /api/users, method: GET }]
    split: [{ service: users-old, weight: 20 }, { service: users-new, weight: 80 }]
",
    );
    for _ in 0..10 {
        get(&client, "/api/v1/users/7").await;
    }
    assert_eq!((old.calls(), new.calls()), (10, 0));
    for _ in 0..10 {
        get(&client, "/api/v2/users").await;
    }
    assert_eq!((old.calls(), new.calls()), (10, 10));
    for _ in 0..500 {
        get(&client, "/api/users").await;
    }
    // Six standard deviations of a hundred on either side.
    let share = old.calls() - 10;
    assert!((46..=154).contains(&share), "{share} of 500");
    let services: Vec<_> = client.snapshot().endpoints.into_iter().map(|e| e.service).collect();
    assert_eq!(services, ["users", "users-old", "users-new"]);
}

#[tokio::test]
async fn calls_are_split_among_subsets_and_a_route_may_name_one() {
    let (canary, stable) = (HttpServer::start().await, HttpServer::start().await);
    let registry = Fixed::new()
        .with("users", [endpoint(&canary, "canary"), endpoint(&stable, "stable")])
        .unwrap();
    let client = client(
        registry,
        "
subsets: [{ name: canary, tag: canary }, { name: stable, rest: true }]
split: [{ subset: canary, weight: 20 }, { subset: stable, weight: 80 }]
routes: [{ match: [{ path: /beta/* }], subset: canary }]
",
    );
    for _ in 0..20 {
        get(&client, "/beta/x").await;
    }
    assert_eq!((canary.calls(), stable.calls()), (20, 0));
    for _ in 0..500 {
        get(&client, "/ok").await;
    }
    let share = canary.calls() - 20;
    assert!((46..=154).contains(&share), "{share} of 500");

    // Other parts, without a new client.
    let mut policy = client.policy();
    policy = policy.split([seawall::policy::Share::of_subset("stable", 1)]);
    client.apply(policy).unwrap();
    let before = canary.calls();
    for _ in 0..50 {
        get(&client, "/ok").await;
    }
    assert_eq!(canary.calls(), before);
}

#[tokio::test]
async fn a_grpc_method_has_a_time_out_and_a_limit_of_its_own() {
    let server = GrpcServer::start().await;
    let policy = Policy::from_yaml(
        "
timeout: 5s
routes:
  - match: [{ path: /seawall.test.Echo/Unary }]
    timeout: 100ms
    rate_limit: { limit: 2, period: 1h }
",
    );
    let channel: GrpcClient = seawall::grpc("echo")
        .endpoints([server.address().to_string()])
        .policy(policy.unwrap())
        .build()
        .unwrap();
    let mut client = EchoClient::new(channel);
    let slow = EchoRequest { message: "hello".into(), delay_ms: 2_000, ..Default::default() };
    let begun = tokio::time::Instant::now();
    let status = client.unary(slow.clone()).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert!(begun.elapsed() < Duration::from_secs(2));
    let _ = client.unary(slow.clone()).await;
    assert_eq!(client.unary(slow).await.unwrap_err().code(), Code::ResourceExhausted);
}

#[tokio::test]
async fn another_service_needs_a_resolver() {
    let policy = Policy::from_yaml("routes: [{ match: [{ path: / }], service: other }]").unwrap();
    let built = seawall::http("users").endpoints(["127.0.0.1:1"]).policy(policy).build();
    let error = built.unwrap_err().to_string();
    assert!(error.contains("`service` is other"), "{error}");
}
