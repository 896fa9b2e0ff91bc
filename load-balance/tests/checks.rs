//! Active checks of real servers: flapping, refused, hanging; the gate; tasks that end.
#![cfg(all(feature = "tonic", feature = "reqwest"))]
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use common::{endpoint, endpoints, of};
use seawall_core::{Change, Clock, Endpoint};
use seawall_load_balance::{
    ActiveChecks, Check, CheckFuture, Config, EndpointSet, EndpointState, Picker, SlowStart,
    TcpCheck,
    reqwest::{HttpCheck, MakeClient},
    tonic::{GrpcCheck, MakeChannel},
};
use seawall_test_support::HttpServer;

const MILLI: Duration = Duration::from_millis(1);

fn at(id: &str, address: SocketAddr) -> Endpoint {
    Endpoint::new(id, address.try_into().unwrap())
}

fn quick(check: impl Check) -> ActiveChecks {
    ActiveChecks::new(check)
        .with_interval(10 * MILLI)
        .with_timeout(200 * MILLI)
        .with_unhealthy_threshold(2)
        .with_healthy_threshold(2)
}

fn picker(set: EndpointSet, checks: ActiveChecks) -> Picker {
    Picker::with_config(set, Config::builder().checks(checks).build().unwrap())
}

async fn until(picker: &Picker, id: &str, state: EndpointState) {
    let turned = async {
        while of(picker, id).state != state {
            tokio::time::sleep(MILLI).await;
        }
    };
    let turned = tokio::time::timeout(Duration::from_secs(5), turned).await;
    assert!(turned.is_ok(), "{:?} is not {state:?}", of(picker, id));
}

/// Does as it is told, and counts.
#[derive(Clone, Default)]
struct Told {
    well: Arc<AtomicBool>,
    checks: Arc<AtomicUsize>,
}

impl Check for Told {
    fn check(&self, _: &Endpoint) -> CheckFuture {
        self.checks.fetch_add(1, SeqCst);
        let well = self.well.load(SeqCst);
        Box::pin(async move { if well { Ok(()) } else { Err("told so".into()) } })
    }
}

#[tokio::test(start_paused = true)]
async fn a_gate_keeps_a_new_endpoint_out_until_it_passes() {
    let set = endpoints(3);
    let told = Told::default();
    told.well.store(true, SeqCst);
    let checks = ActiveChecks::new(told.clone()).with_gate(true);
    let config = Config::builder().checks(checks).slow_start(SlowStart::new(60_000 * MILLI));
    let mut picker =
        Picker::with_config(set.clone(), config.clock(Clock::tokio()).build().unwrap());
    assert!(picker.snapshot().panicking, "none has passed yet, so that all are used");
    assert!(picker.pick().is_some());
    tokio::time::sleep(MILLI).await;
    assert!(!picker.snapshot().panicking);
    told.well.store(false, SeqCst);
    set.apply([Change::Insert(endpoint("new"))]);
    assert_eq!(of(&picker, "new").state, EndpointState::CheckFailing);
    for _ in 0..200 {
        tokio::time::sleep(20 * MILLI).await;
        assert_ne!(picker.pick().unwrap().id().as_str(), "new");
    }
    told.well.store(true, SeqCst);
    tokio::time::sleep(6000 * MILLI).await;
    let new = of(&picker, "new");
    assert_eq!(new.state, EndpointState::Warming, "one pass opens it, and it begins slowly");
}

#[tokio::test(start_paused = true)]
async fn checks_end_with_the_endpoint_and_with_the_last_clone() {
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let set = endpoints(3);
    let told = Told::default();
    let picker = picker(set.clone(), ActiveChecks::new(told.clone()).with_gate(true));
    tokio::time::sleep(MILLI).await;
    assert_eq!((tasks(), told.checks.load(SeqCst)), (4, 3));
    set.apply([Change::Remove("e000000".into())]);
    set.apply([Change::Update(endpoint("e000001").with_weight(0))]);
    tokio::time::sleep(MILLI).await;
    assert_eq!(tasks(), 2, "one left, one is drained");
    let moved = Endpoint::new("e000002", "127.0.0.1:2".parse().unwrap());
    set.apply([Change::Update(moved)]);
    tokio::time::sleep(MILLI).await;
    assert_eq!((tasks(), told.checks.load(SeqCst)), (2, 4), "it moved: another is checked");
    let clone = picker.clone();
    drop(picker);
    tokio::time::sleep(MILLI).await;
    assert_eq!(tasks(), 2);
    drop(clone);
    tokio::time::sleep(MILLI).await;
    assert_eq!(tasks(), 0);
}

#[tokio::test]
async fn a_flapping_http_server_goes_and_returns() {
    let (flapping, well) = (HttpServer::start().await, HttpServer::start().await);
    let set: EndpointSet =
        [at("flapping", flapping.address()), at("well", well.address())].into_iter().collect();
    let check = HttpCheck::new(MakeClient::new("orders.test"), "http://orders.test/ok");
    let mut picker = picker(set, quick(check));
    for _ in 0..2 {
        flapping.set_path(Some("/status/503"));
        until(&picker, "flapping", EndpointState::CheckFailing).await;
        assert!((0..50).all(|_| picker.pick().unwrap().id().as_str() == "well"));
        flapping.set_path(None);
        until(&picker, "flapping", EndpointState::In).await;
    }
    flapping.set_path(Some("/hang"));
    until(&picker, "flapping", EndpointState::CheckFailing).await;
    assert_eq!(of(&picker, "well").state, EndpointState::In);
}

#[tokio::test]
async fn a_port_that_refuses_fails_and_passes_when_somebody_listens() {
    let server = HttpServer::start().await;
    let picker = picker([at("a", server.address())].into_iter().collect(), quick(TcpCheck));
    server.kill();
    until(&picker, "a", EndpointState::CheckFailing).await;
    assert!(picker.snapshot().panicking);
    server.restart().await;
    until(&picker, "a", EndpointState::In).await;
}

/// A server with the health service of tonic-health.
async fn grpc() -> (SocketAddr, tonic_health::server::HealthReporter) {
    let (reporter, service) = tonic_health::server::health_reporter();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
    let server = tonic::transport::Server::builder().add_service(service);
    tokio::spawn(server.serve_with_incoming(incoming));
    (address, reporter)
}

#[tokio::test]
async fn grpc_health_is_asked_and_watched() {
    use tonic_health::ServingStatus::{NotServing, Serving};
    let check = GrpcCheck::new(MakeChannel::http(), "shop.Orders");
    for check in [check.clone(), check.watching()] {
        let (address, reporter) = grpc().await;
        reporter.set_service_status("shop.Orders", NotServing).await;
        let set = [at("a", address)].into_iter().collect();
        let picker = picker(set, quick(check).with_gate(true));
        assert_eq!(of(&picker, "a").state, EndpointState::CheckFailing);
        for _ in 0..2 {
            reporter.set_service_status("shop.Orders", Serving).await;
            until(&picker, "a", EndpointState::In).await;
            reporter.set_service_status("shop.Orders", NotServing).await;
            until(&picker, "a", EndpointState::CheckFailing).await;
        }
    }
}
