//! Checks that a real agent makes of real servers by itself.

#![cfg(feature = "consul")]
#![allow(clippy::unwrap_used)] // A helper of tests is no test to the lint.

mod real;

use std::{net::Ipv4Addr, time::Duration};

use real::{ask, next, until};
use seawall_core::Health;
use seawall_discovery::{Check, Consul, Lease, Registrar as _, Registration, Resolver as _, Watch};
use seawall_test_support::{ConsulServer, HttpServer};
use tonic::transport::{Server, server::TcpIncoming};
use tonic_health::{ServingStatus, server::HealthReporter};

const EVERY: Duration = Duration::from_secs(1);
const TTL: Duration = Duration::from_secs(60);

async fn register(
    consul: &Consul,
    service: &str,
    checks: impl IntoIterator<Item = Check>,
) -> Lease {
    let registration = Registration::builder(service, "127.0.0.1:1".parse().unwrap());
    let registration = registration.warning_weight(3).weight(9).without_ttl();
    let registration = checks.into_iter().fold(registration, |built, check| built.check(check));
    consul.register(registration.build().unwrap()).await.unwrap()
}

/// A gRPC server with nothing but a health service.
async fn grpc_health() -> (std::net::SocketAddr, HealthReporter) {
    let (reporter, service) = tonic_health::server::health_reporter();
    let incoming = TcpIncoming::bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let address = incoming.local_addr().unwrap();
    tokio::spawn(Server::builder().add_service(service).serve_with_incoming(incoming));
    (address, reporter)
}

/// Sees an instance come, go and come back; `fail` and `heal` are what happens to its server.
async fn passes_fails_and_passes<F: Future, H: Future>(
    mut watch: Watch,
    service: &str,
    fail: impl FnOnce() -> F,
    heal: impl FnOnce() -> H,
) {
    let gone = format!("-{service}-127.0.0.1-1");
    assert_eq!(next(&mut watch).await, ["+1"], "{service} is critical until it was checked");
    fail().await;
    assert_eq!(next(&mut watch).await, [gone], "{service}");
    heal().await;
    assert_eq!(next(&mut watch).await, ["+1"], "{service}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_sees_passing_critical_and_passing_over_http_tcp_and_grpc() {
    let agent = ConsulServer::start().await;
    let consul = Consul::new(&agent.http_url()).unwrap();

    let http = async {
        let server = HttpServer::start().await;
        server.set_path(Some("/ok"));
        let check = Check::http(server.url("/health"), EVERY).timeout(EVERY);
        let _lease = register(&consul, "http", [check]).await;
        let (fail, heal) = (Some("/status/503"), Some("/ok"));
        let watch = consul.watch("http");
        let server = &server;
        let set = |path| async move { server.set_path(path) };
        passes_fails_and_passes(watch, "http", || set(fail), || set(heal)).await;
        // 429 is a warning to Consul.
        let watch = consul.watch("http");
        server.set_path(Some("/status/429"));
        let warns = || watch.current().first().is_some_and(|e| e.health() == Health::Warning);
        until("in warning", warns).await;
        assert_eq!(watch.current()[0].weight(), 3);
    };
    let tcp = async {
        let server = HttpServer::start().await;
        let address = server.address().try_into().unwrap();
        let _lease = register(&consul, "tcp", [Check::tcp(address, EVERY)]).await;
        let watch = consul.watch("tcp");
        let kill = || async { server.kill() };
        passes_fails_and_passes(watch, "tcp", kill, || server.restart()).await;
    };
    let grpc = async {
        let (address, reporter) = grpc_health().await;
        let address = || address.try_into().unwrap();
        reporter.set_service_status("a.B", ServingStatus::Serving).await;
        let whole = Check::grpc(address(), EVERY).id("whole");
        let one = Check::grpc_service(address(), "a.B", EVERY).id("one");
        let _lease = register(&consul, "grpc", [whole, one]).await;
        let watch = consul.watch("grpc");
        let set = |status| reporter.set_service_status("a.B", status);
        let (fail, heal) = (ServingStatus::NotServing, ServingStatus::Serving);
        passes_fails_and_passes(watch, "grpc", || set(fail), || set(heal)).await;
    };
    tokio::join!(http, tcp, grpc);
}

#[tokio::test]
async fn the_worst_of_several_checks_counts_and_each_has_the_id_that_it_was_given() {
    let agent = ConsulServer::start().await;
    let consul = Consul::new(&agent.http_url()).unwrap();
    let (sound, sick) = (HttpServer::start().await, HttpServer::start().await);
    sick.set_path(Some("/status/500"));
    let tcp = Check::tcp(sound.address().try_into().unwrap(), EVERY);
    let registration = Registration::builder("orders", "127.0.0.1:1".parse().unwrap())
        .id("o1")
        .ttl(TTL)
        .check(tcp.starts(Health::Passing))
        .check(Check::http(sound.url("/ok"), EVERY).id("one"))
        .check(Check::http(sick.url("/x"), EVERY).id("two").starts(Health::Passing));
    let lease = consul.register(registration.build().unwrap()).await.unwrap();
    let mut watch = consul.watch("orders");
    let checks = ask(&agent, "/v1/agent/checks");
    for id in ["service:o1:ttl", "service:o1:tcp", "service:o1:one", "service:o1:two"] {
        assert!(checks.contains(&format!("\"{id}\":")), "{id} in {checks}");
    }
    until("told of the sick one", || ask(&agent, "/v1/agent/checks").contains("500")).await;
    until("out", || watch.current().is_empty()).await;
    sick.set_path(Some("/ok"));
    until("in", || watch.current().len() == 1).await;
    // A new weight registers the instance anew, and takes no health from its checks.
    while futures::FutureExt::now_or_never(next(&mut watch)).is_some() {}
    lease.set_weight(5).unwrap();
    assert_eq!(next(&mut watch).await, ["~1"], "it was never taken out");
    assert_eq!(watch.current()[0].weight(), 5);
    lease.shutdown().await.unwrap();
    assert!(!ask(&agent, "/v1/agent/checks").contains("service:o1"));
}

#[tokio::test]
async fn weight_and_health_that_change_at_once_arrive_at_once() {
    let agent = ConsulServer::start().await;
    let consul = Consul::new(&agent.http_url()).unwrap();
    let registration = Registration::builder("orders", "127.0.0.1:1".parse().unwrap()).ttl(TTL);
    let lease = consul.register(registration.warning_weight(2).build().unwrap()).await.unwrap();
    let mut watch = consul.watch("orders");
    assert_eq!(next(&mut watch).await, ["+1"]);
    // Long before the next heartbeat, though Consul keeps the status of a check that it knows.
    lease.set_weight(5).unwrap();
    lease.set_health(Health::Warning);
    let warns = || watch.current()[0].health() == Health::Warning;
    until("in warning", warns).await;
    assert_eq!(watch.current()[0].weight(), 2);
    lease.set_health(Health::Passing);
    until("well", || watch.current()[0].weight() == 5).await;
}
