//! Each value of `examples/reference-policy.yaml`, and of the manifest that it comes from, against real
//! servers.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use futures::future::join_all;
use seawall::{
    core::{Clock, Endpoint, ManualClock, Reason, Rejection},
    discovery::Fixed,
    grpc::{GrpcBuilder, GrpcClient},
    policy::{Policy, Share, Subset},
};
use seawall_test_support::{EchoClient, EchoRequest, FaultProxy, GrpcServer};
use tokio::time::Instant;
use tonic::Code;

const REFERENCE: &str = include_str!("../../examples/reference-policy.yaml");
const MANIFEST: &str = include_str!("../src/policy/istio/orders.yaml");

const SECOND: Duration = Duration::from_secs(1);

fn reference() -> Policy {
    Policy::from_yaml(REFERENCE).unwrap()
}

/// Istio retries what it is told to; here the methods have to be safe besides.
fn manifest() -> Policy {
    let read = Policy::from_istio(MANIFEST).unwrap();
    assert_eq!(read.ignored, []);
    read.policy.idempotent(["/seawall.test.Echo/*"])
}

/// For servers that are no subset of anything.
fn whole(policy: Policy) -> Policy {
    policy.subsets(Vec::<Subset>::new()).split(Vec::<Share>::new())
}

/// `policy` without the fields that would get in the way of the one that is looked at.
fn without(policy: &Policy, fields: &[&str]) -> Policy {
    let mut map = serde_json::to_value(policy).unwrap();
    fields.iter().for_each(|field| drop(map.as_object_mut().unwrap().remove(*field)));
    serde_json::from_value(map).unwrap()
}

fn pool_of(policy: &Policy) -> serde_json::Value {
    serde_json::to_value(policy).unwrap()["connection_pool"].clone()
}

fn build(builder: GrpcBuilder, policy: Policy) -> (GrpcClient, ManualClock) {
    let (clock, time) = Clock::manual();
    (builder.policy(policy).clock(clock).build().unwrap(), time)
}

fn at<'a>(servers: impl IntoIterator<Item = &'a GrpcServer>) -> GrpcBuilder {
    seawall::grpc("orders").endpoints(servers.into_iter().map(|one| one.address().to_string()))
}

async fn call(client: &GrpcClient, request: EchoRequest) -> Result<String, tonic::Status> {
    let answer = EchoClient::new(client.clone()).unary(request).await?;
    Ok(answer.into_inner().server)
}

fn ok() -> EchoRequest {
    EchoRequest::default()
}

fn failing(code: Code) -> EchoRequest {
    EchoRequest { code: code as i32, ..ok() }
}

fn reason(status: &tonic::Status) -> Option<Reason> {
    Rejection::find(status).map(Rejection::reason)
}

#[tokio::test]
async fn a_hundred_calls_a_second_pass_and_two_hundred_at_once() {
    let server = GrpcServer::start().await;
    let (client, time) = build(at([&server]), whole(reference()));
    let pass = async |want: u64| {
        let before = server.calls();
        for _ in 0..want {
            call(&client, ok()).await.unwrap();
        }
        let status = call(&client, ok()).await.unwrap_err();
        assert_eq!(reason(&status), Some(Reason::LimitReached), "{status:?}");
        assert_eq!(server.calls() - before, want);
    };
    pass(200).await;
    time.advance(SECOND);
    pass(100).await;
    time.advance(SECOND / 2);
    pass(50).await;
    time.advance(9 * SECOND);
    pass(200).await;
}

#[tokio::test]
async fn a_breaker_opens_after_five_failures_for_a_minute_and_closes_after_three_successes() {
    let server = GrpcServer::start().await;
    let (client, time) = build(at([&server]), whole(reference()));
    let state = || client.snapshot().endpoints[0].state;
    for failures in 0..5 {
        assert_eq!((state(), server.calls()), ("closed", failures));
        // No condition of the retries, so that each call is one failure.
        call(&client, failing(Code::Internal)).await.unwrap_err();
    }
    assert_eq!(state(), "open");
    time.advance(60 * SECOND - Duration::from_millis(1));
    let status = call(&client, ok()).await.unwrap_err();
    assert_eq!(reason(&status), Some(Reason::CircuitOpen), "{status:?}");
    assert_eq!(server.calls(), 5);
    time.advance(Duration::from_millis(1));
    for _ in 0..2 {
        call(&client, ok()).await.unwrap();
        assert_eq!(state(), "half_open");
    }
    call(&client, ok()).await.unwrap();
    assert_eq!(state(), "closed");
}

#[tokio::test]
async fn calls_are_tried_three_times_more_from_100_ms_on_when_that_may_help() {
    let server = GrpcServer::start().await;
    let policy = whole(reference());
    let mut waits = Vec::new();
    for (code, attempts) in [
        (Code::Unavailable, 4),
        (Code::DeadlineExceeded, 4),
        (Code::Internal, 1),
        (Code::ResourceExhausted, 1),
        (Code::NotFound, 1),
    ] {
        // One client for each, or its breaker opens.
        let (client, _) = build(at([&server]), policy.clone());
        let (before, begun) = (server.calls(), Instant::now());
        let status = call(&client, failing(code)).await.unwrap_err();
        assert_eq!((status.code(), server.calls() - before), (code, attempts));
        waits.extend((attempts > 1).then(|| begun.elapsed()));
    }
    // Each wait is anything up to 100, 200 and 400 ms: 700 ms in all, and half of that on average.
    assert!(waits.iter().all(|wait| *wait < 3 * SECOND), "{waits:?}");
    assert!(waits.iter().sum::<Duration>() > Duration::from_millis(50), "{waits:?}");
}

/// In paused time: what waits for nothing but the clock takes none.
async fn hangs_for(policy: Policy) -> (Duration, u64, Code) {
    let (a, b) = (GrpcServer::start().await, GrpcServer::start().await);
    let servers = [&a, &b];
    let (client, _) = build(at(servers), without(&whole(policy), &["circuit_breaker"]));
    // Connected while time runs: paused, the time to connect would be over at once.
    while servers.iter().any(|server| server.calls() == 0) {
        call(&client, ok()).await.unwrap();
    }
    let before = a.calls() + b.calls();
    tokio::time::pause();
    let begun = Instant::now();
    let hung = EchoRequest { hang: true, ..ok() };
    let status = call(&client, hung).await.unwrap_err();
    let took = begun.elapsed();
    tokio::time::resume();
    let attempts = tokio::time::timeout(5 * SECOND, async {
        while a.calls() + b.calls() < before + 3 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        a.calls() + b.calls() - before
    });
    (took, attempts.await.unwrap(), status.code())
}

#[tokio::test]
async fn an_attempt_takes_ten_seconds_and_a_call_thirty() {
    for policy in [reference(), manifest()] {
        // Ten calls on a channel would end the connections that are made here.
        let policy = without(&policy, &["connection_pool"]);
        let (took, attempts, code) = hangs_for(policy).await;
        assert_eq!((attempts, code), (3, Code::DeadlineExceeded));
        assert!(took >= 30 * SECOND && took < 30 * SECOND + SECOND / 2, "{took:?}");
    }
}

#[tokio::test]
async fn what_never_reached_a_server_goes_to_another() {
    for policy in [reference(), manifest()] {
        let (dead, live) = (GrpcServer::start().await, GrpcServer::start().await);
        dead.kill();
        // Also where the call is not idempotent: nobody has seen it.
        let policy = whole(policy).idempotent(Vec::<String>::new());
        let (client, _) = build(at([&dead, &live]), policy);
        for _ in 0..20 {
            call(&client, ok()).await.unwrap();
        }
        assert_eq!(live.calls(), 20);
    }
}

/// A server that refuses every stream before it looks at it.
async fn refusing() -> (String, Arc<AtomicU64>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let refused = Arc::new(AtomicU64::new(0));
    let count = refused.clone();
    tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            let count = count.clone();
            tokio::spawn(async move {
                let mut connection = h2::server::handshake(socket).await.unwrap();
                while let Some(Ok((_, mut respond))) = connection.accept().await {
                    count.fetch_add(1, Relaxed);
                    respond.send_reset(h2::Reason::REFUSED_STREAM);
                }
            });
        }
    });
    (address, refused)
}

#[tokio::test]
async fn a_stream_that_was_refused_goes_to_another() {
    for policy in [reference(), manifest()] {
        let (live, (address, refused)) = (GrpcServer::start().await, refusing().await);
        let policy = without(&whole(policy), &["rate_limit"]).idempotent(Vec::<String>::new());
        let addresses = [address, live.address().to_string()];
        let (client, _) = build(seawall::grpc("orders").endpoints(addresses), policy);
        while refused.load(Relaxed) == 0 {
            call(&client, ok()).await.unwrap();
        }
    }
}

#[tokio::test]
async fn three_errors_put_an_endpoint_out_for_30_s_and_never_more_than_half() {
    for policy in [reference(), manifest()] {
        let servers = join_all((0..4).map(|_| GrpcServer::start())).await;
        // Neither breakers nor retries nor the limit in its way.
        let fields = &["circuit_breaker", "rate_limit", "idempotent"];
        let policy = without(&whole(policy), fields);
        let breaker = seawall::policy::CircuitBreaker::new().failure_threshold(1000);
        let (client, time) = build(at(&servers), policy.circuit_breaker(breaker));
        let ejected = || {
            let endpoints = client.snapshot().endpoints;
            endpoints.iter().filter(|endpoint| endpoint.ejected_for.is_some()).count()
        };
        let bad = servers[0].address().to_string();
        servers[0].set_script(Some(failing(Code::Unavailable)));
        let mut errors = 0;
        while ejected() == 0 {
            errors += u32::from(call(&client, ok()).await.is_err());
            assert!(errors <= 3);
        }
        assert_eq!(errors, 3);
        let endpoints = client.snapshot().endpoints;
        let out = endpoints.iter().find(|endpoint| endpoint.id.as_str() == bad).unwrap();
        assert_eq!(out.ejected_for, Some(30 * SECOND));
        let before = servers[0].calls();
        for _ in 0..50 {
            call(&client, ok()).await.unwrap();
        }
        assert_eq!(servers[0].calls(), before, "it is out");
        // When all fail, half of them go on.
        servers.iter().for_each(|server| server.set_script(Some(failing(Code::Unavailable))));
        for _ in 0..100 {
            call(&client, ok()).await.unwrap_err();
        }
        assert_eq!(ejected(), 2);
        servers.iter().for_each(|server| server.set_script(None));
        time.advance(30 * SECOND);
        while servers[0].calls() == before {
            call(&client, ok()).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_channel_makes_ten_calls() {
    for policy in [reference(), manifest()] {
        let server = GrpcServer::start().await;
        let counted = FaultProxy::start(server.address()).await;
        let builder = seawall::grpc("orders").endpoints([counted.address().to_string()]);
        let (client, _) = build(builder, whole(policy));
        for _ in 0..50 {
            call(&client, ok()).await.unwrap();
        }
        assert_eq!(counted.connections(), 5);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_channels_of_a_hundred_calls_each_and_a_hundred_that_wait() {
    assert_eq!(pool_of(&reference()), pool_of(&manifest()));
    let server = GrpcServer::start().await;
    let counted = FaultProxy::start(server.address()).await;
    // A channel that is replaced after ten calls would hold no more than those.
    let mut map = serde_json::to_value(whole(reference())).unwrap();
    map["connection_pool"].as_object_mut().unwrap().remove("max_requests_per_connection");
    let policy = without(&serde_json::from_value(map).unwrap(), &["rate_limit"]);
    let builder = seawall::grpc("orders").endpoints([counted.address().to_string()]);
    let (client, _) = build(builder, policy);
    let call = || {
        let client = client.clone();
        tokio::spawn(async move { call(&client, EchoRequest { hang: true, ..ok() }).await })
    };
    let reaches = async |calls: u64| {
        let reached = async {
            while server.calls() < calls {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(30 * SECOND, reached).await.unwrap();
    };
    let mut calls: Vec<_> = (0..100).map(|_| call()).collect();
    reaches(100).await;
    assert_eq!(counted.connections(), 1);
    calls.extend((100..10_000).map(|_| call()));
    reaches(10_000).await;
    assert_eq!(counted.connections(), 100);
    let more: Vec<_> = (0..105).map(|_| call()).collect();
    let refused = async {
        while more.iter().filter(|call| call.is_finished()).count() < 5 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(10 * SECOND, refused).await.unwrap();
    assert_eq!(server.calls(), 10_000);
    for one in more.into_iter().filter(|call| call.is_finished()) {
        let status = one.await.unwrap().unwrap_err();
        assert_eq!(reason(&status), Some(Reason::Overloaded), "{status:?}");
    }
    calls.iter().for_each(|call| call.abort());
}

#[tokio::test]
async fn calls_are_split_20_to_80() {
    for policy in [reference(), manifest()] {
        let (v1, v2) = (GrpcServer::start().await, GrpcServer::start().await);
        let endpoint = |server: &GrpcServer, version: &str| {
            let address = server.address();
            Endpoint::new(address.to_string(), address.try_into().unwrap())
                .with_metadata("version", version)
        };
        let registry = Fixed::new().with("orders", [endpoint(&v1, "v1"), endpoint(&v2, "v2")]);
        let builder = seawall::grpc("orders").resolver(registry.unwrap());
        let (client, _) = build(builder, without(&policy, &["rate_limit"]));
        for _ in 0..500 {
            call(&client, ok()).await.unwrap();
        }
        // Six standard deviations of a hundred on either side.
        assert!((46..=154).contains(&v1.calls()), "{} of 500", v1.calls());
        assert_eq!(v1.calls() + v2.calls(), 500);
    }
}
