//! Policies that pick endpoints otherwise, while calls are running.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::time::Duration;

use futures::future::join_all;
use seawall::{
    core::{Clock, Endpoint},
    discovery::Fixed,
    grpc::GrpcClient,
    policy::Policy,
};
use seawall_test_support::{EchoClient, EchoRequest, FaultProxy, GrpcServer, HttpServer};
use tonic::Code;

fn policy(text: &str) -> Policy {
    Policy::from_yaml(text).unwrap()
}

fn hello() -> EchoRequest {
    EchoRequest { message: "hello".into(), ..Default::default() }
}

async fn call(client: &GrpcClient, request: EchoRequest) -> Result<String, tonic::Status> {
    Ok(EchoClient::new(client.clone()).unary(request).await?.into_inner().server)
}

#[tokio::test]
async fn connections_streams_and_counts_stay_when_endpoints_are_picked_otherwise() {
    let (a, b) = (GrpcServer::start().await, GrpcServer::start().await);
    let proxies = [FaultProxy::start(a.address()).await, FaultProxy::start(b.address()).await];
    let addresses = proxies.iter().map(|proxy| proxy.address().to_string());
    let client = seawall::grpc("echo").endpoints(addresses);
    let client = client.policy(policy("load_balance: { policy: round_robin }")).build().unwrap();
    for _ in 0..10 {
        call(&client, hello()).await.unwrap();
    }
    let open = EchoRequest { messages: 1000, gap_ms: 5, ..hello() };
    let stream = EchoClient::new(client.clone()).server_stream(open).await.unwrap();
    let mut stream = stream.into_inner();
    stream.message().await.unwrap().unwrap();
    let calls = || client.snapshot().endpoints.iter().map(|e| e.calls).sum::<u64>();
    assert_eq!(calls(), 11);
    let mut made = 11;
    for text in [
        "load_balance: { policy: { peak_ewma: { decay: 5s } } }",
        "load_balance: { policy: random, slow_start: { window: 1m } }",
        "outlier_detection: { consecutive_errors: 3 }",
        "{ timeout: 9s, outlier_detection: { consecutive_errors: 3 } }",
        "{}",
    ] {
        client.apply(policy(text)).unwrap();
        assert_eq!(calls(), made, "{text}");
        join_all((0..20).map(|_| call(&client, hello()))).await.into_iter().for_each(|called| {
            called.unwrap();
        });
        made += 20;
        stream.message().await.unwrap().unwrap();
    }
    assert_eq!(calls(), made);
    let connections = proxies.iter().map(FaultProxy::connections).sum::<u64>();
    assert_eq!(connections, 2, "one for each endpoint, from beginning to end");
    // The stream is a call of this client still, whichever balancer it began with.
    let drained = tokio::time::timeout(Duration::from_millis(50), client.shutdown());
    drained.await.unwrap_err();
    drop(stream);
    tokio::time::timeout(Duration::from_secs(5), client.shutdown()).await.unwrap().unwrap();
}

#[tokio::test]
async fn ejections_last_as_long_as_there_is_a_rule_for_them() {
    let (bad, good) = (GrpcServer::start().await, GrpcServer::start().await);
    bad.set_script(Some(EchoRequest { code: Code::Unavailable as i32, ..hello() }));
    let (clock, time) = Clock::manual();
    let servers = [&bad, &good].map(|server| server.address().to_string());
    let text = "outlier_detection: { consecutive_errors: 1, base_ejection_time: 30s }";
    let client = seawall::grpc("echo").endpoints(servers.clone()).policy(policy(text));
    let client = client.clock(clock).build().unwrap();
    let out = |client: &GrpcClient| {
        let endpoints = client.snapshot().endpoints;
        endpoints.into_iter().find(|e| e.id.as_str() == servers[0]).unwrap().ejected_for
    };
    while out(&client).is_none() {
        let _ = call(&client, hello()).await;
    }
    time.advance(Duration::from_secs(10));
    // Another rule, for the next time.
    client.apply(policy("outlier_detection: { consecutive_errors: 9 }")).unwrap();
    assert_eq!(out(&client), Some(Duration::from_secs(20)));
    let before = bad.calls();
    for _ in 0..20 {
        call(&client, hello()).await.unwrap();
    }
    assert_eq!(bad.calls(), before);
    client.apply(policy("")).unwrap();
    assert_eq!(out(&client), None);
}

#[tokio::test]
async fn an_open_breaker_stays_open_whoever_picks() {
    let server = GrpcServer::start().await;
    let breaker = "circuit_breaker: { failure_threshold: 1, open_wait: 1h }";
    let client = seawall::grpc("echo").endpoints([server.address().to_string()]);
    let client = client.policy(policy(breaker)).build().unwrap();
    let failing = EchoRequest { code: Code::Unavailable as i32, ..hello() };
    call(&client, failing).await.unwrap_err();
    client.apply(policy(&format!("{{ {breaker}, load_balance: {{ policy: random }} }}"))).unwrap();
    assert_eq!(client.snapshot().endpoints[0].state, "open");
    call(&client, hello()).await.unwrap_err();
    assert_eq!(server.calls(), 1);
}

#[tokio::test]
async fn subsets_come_and_go() {
    let (canary, stable) = (HttpServer::start().await, HttpServer::start().await);
    let endpoint = |server: &HttpServer, tag: &str| {
        let address = server.address();
        Endpoint::new(address.to_string(), address.try_into().unwrap()).with_tags([tag])
    };
    let registry = Fixed::new()
        .with("users", [endpoint(&canary, "canary"), endpoint(&stable, "stable")])
        .unwrap();
    let client = seawall::http("users").resolver(registry).build().unwrap();
    let get = async || {
        for _ in 0..20 {
            client.client().get("http://users/ok").send().await.unwrap();
        }
        (canary.calls(), stable.calls())
    };
    let before = get().await;
    assert!(before.0 > 0 && before.1 > 0, "{before:?}");
    let split = "
subsets: [{ name: canary, tag: canary }, { name: stable, rest: true }]
split: [{ subset: canary, weight: 0 }, { subset: stable, weight: 100 }]
";
    client.apply(policy(split)).unwrap();
    assert_eq!(get().await, (before.0, before.1 + 20));
    client.apply(policy(&split.replace("weight: 0", "weight: 1000000"))).unwrap();
    assert!(get().await.0 >= before.0 + 19);
    client.apply(policy("")).unwrap();
    let (canary, stable) = get().await;
    assert!(stable > before.1 + 20, "{canary}, {stable}");
}

#[tokio::test]
async fn endpoints_are_connected_before_their_calls_where_the_policy_says_so() {
    let (a, b) = (GrpcServer::start().await, GrpcServer::start().await);
    let proxies = [FaultProxy::start(a.address()).await, FaultProxy::start(b.address()).await];
    let addresses = proxies.iter().map(|proxy| proxy.address().to_string());
    let client = seawall::grpc("echo").endpoints(addresses);
    let client = client.policy(policy("load_balance: { warm_up: 5s }")).build().unwrap();
    call(&client, hello()).await.unwrap();
    let both = async {
        while proxies.iter().any(|proxy| proxy.connections() == 0) {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), both).await.expect("both are connected");
    assert_eq!(a.calls() + b.calls(), 1);
    for _ in 0..20 {
        call(&client, hello()).await.unwrap();
    }
    // The first call had nobody to go to but one that was not connected yet.
    let connections = proxies.iter().map(FaultProxy::connections).sum::<u64>();
    assert!(connections <= 3, "{connections}");
}
