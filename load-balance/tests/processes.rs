//! Servers in processes of their own, which are killed and stopped by signals.
//!
//! This file is its own server: a process of it that finds an address in the environment serves
//! there, in place of testing.
#![cfg(all(feature = "tonic", feature = "reqwest"))]
#![allow(clippy::unwrap_used, reason = "tests")]

use std::{
    env,
    net::{SocketAddr, TcpListener},
    process::{Command, Stdio},
    time::Duration,
};

use http::Method;
use reqwest::Request;
use seawall_core::Endpoint;
use seawall_load_balance::{
    ActiveChecks, Balancer, BalancerSnapshot, Config, ConfigBuilder, Ejection, EndpointSet,
    EndpointState, Picker,
    reqwest::{HttpCheck, MakeClient, balance},
    tonic::{MakeChannel, balance_with},
};
use seawall_test_support::{Child, EchoClient, EchoRequest, GrpcServer, HttpServer};
use tokio::time::timeout;
use tower::ServiceExt;

const GRPC: &str = "SEAWALL_TEST_SERVES_GRPC";
const HTTP: &str = "SEAWALL_TEST_SERVES_HTTP";

/// Long for a loopback connection, short for a test.
const PATIENCE: Duration = Duration::from_millis(100);

#[tokio::test]
async fn serve() {
    let address = |name| env::var(name).ok().map(|text| text.parse::<SocketAddr>().unwrap());
    if let Some(address) = address(GRPC) {
        let _server = GrpcServer::start_at(address).await;
        std::future::pending::<()>().await;
    }
    if let Some(address) = address(HTTP) {
        let _server = HttpServer::start_at(address).await;
        std::future::pending::<()>().await;
    }
}

async fn start(protocol: &str) -> (Child, SocketAddr) {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", "serve"]).env(protocol, address.to_string());
    let child = Child::spawn(command.stdout(Stdio::null()).stderr(Stdio::null())).unwrap();
    while tokio::net::TcpStream::connect(address).await.is_err() {
        tokio::task::yield_now().await;
    }
    (child, address)
}

/// Three servers, and what to kill them by.
async fn servers(protocol: &str) -> (Vec<Child>, EndpointSet) {
    let mut children = Vec::new();
    let set = EndpointSet::new();
    let mut endpoints = Vec::new();
    for number in 0..3 {
        let (child, address) = start(protocol).await;
        children.push(child);
        endpoints.push(Endpoint::new(number.to_string(), address.try_into().unwrap()));
    }
    set.replace(endpoints);
    (children, set)
}

fn config() -> ConfigBuilder {
    let ejection = Ejection::new().with_consecutive_failures(3).with_abandoned_after(PATIENCE);
    Config::builder().ejection(ejection)
}

fn ejections(snapshot: &BalancerSnapshot) -> Vec<u64> {
    assert!(snapshot.endpoints.iter().all(|endpoint| endpoint.in_flight == 0), "{snapshot:?}");
    snapshot.endpoints.iter().map(|endpoint| endpoint.ejections).collect()
}

/// Calls, with a server killed and another one stopped on the way; `call` says whether the caller
/// got an answer in time.
async fn survives<S, T, R>(
    mut children: Vec<Child>,
    balancer: Balancer<S, T, R>,
    mut call: impl AsyncFnMut() -> bool,
) where
    S: Clone + Send + Sync + 'static,
{
    for _ in 0..30 {
        assert!(call().await);
    }
    children[0].kill().unwrap();
    let mut failed = 0;
    for _ in 0..100 {
        failed += u32::from(!call().await);
    }
    // One call may have been written before the client saw the connection close.
    assert!(failed <= 1, "{failed} calls failed after the kill");
    assert_eq!(ejections(&balancer.snapshot()), [1, 0, 0]);

    assert!(balancer.uneject(&"0".into()));
    for _ in 0..100 {
        assert!(call().await, "its port is refused, which costs no caller anything");
    }
    assert_eq!(ejections(&balancer.snapshot()), [2, 0, 0]);
    balancer.set().apply([seawall_core::Change::Remove("0".into())]);

    children[1].pause().unwrap();
    let mut failed = 0;
    for _ in 0..100 {
        failed += u32::from(!call().await);
    }
    assert_eq!(failed, 3, "as many calls as eject");
    assert_eq!(ejections(&balancer.snapshot()), [1, 0]);
    children[1].resume().unwrap();
    assert!(balancer.uneject(&"1".into()));
    for _ in 0..100 {
        assert!(call().await);
    }
    assert_eq!(ejections(&balancer.snapshot()), [1, 0]);
}

#[tokio::test]
async fn grpc_survives_a_killed_and_a_stopped_process() {
    let (children, set) = servers(GRPC).await;
    let channel = balance_with(set, MakeChannel::http(), config()).unwrap();
    let client = EchoClient::new(channel.clone());
    survives(children, channel.inner().clone(), async || {
        let mut client = client.clone();
        let call = client.unary(EchoRequest::default());
        matches!(timeout(PATIENCE, call).await, Ok(Ok(_)))
    })
    .await;
}

#[tokio::test]
async fn http_survives_a_killed_and_a_stopped_process() {
    let (children, set) = servers(HTTP).await;
    // Without the system's certificates, which take longer to read than a caller waits here.
    let make = MakeClient::new("orders.test").configure(|_| {
        let client = reqwest::Client::builder().connect_timeout(Duration::from_secs(1));
        client.no_proxy().tls_certs_only([])
    });
    let balancer = balance(set, make, config()).unwrap();
    let calling = balancer.clone();
    survives(children, balancer, async || {
        let request = Request::new(Method::GET, "http://orders.test/ok".parse().unwrap());
        let call = async {
            let response = calling.clone().oneshot(request).await.ok()?;
            response.text().await.ok()
        };
        matches!(timeout(PATIENCE, call).await, Ok(Some(_)))
    })
    .await;
}

#[tokio::test]
async fn checks_see_a_stopped_and_a_killed_process_without_any_call() {
    let (mut children, set) = servers(HTTP).await;
    let check = HttpCheck::new(MakeClient::new("orders.test"), "http://orders.test/ok");
    let checks = ActiveChecks::new(check)
        .with_interval(Duration::from_millis(10))
        .with_timeout(PATIENCE)
        .with_unhealthy_threshold(2);
    let config = Config::builder().checks(checks).build().unwrap();
    let picker = Picker::with_config(set, config);
    let until = async |at: usize, state: EndpointState| {
        let turned = async {
            while picker.snapshot().endpoints[at].state != state {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        assert!(timeout(Duration::from_secs(5), turned).await.is_ok(), "{:?}", picker.snapshot());
    };
    children[0].pause().unwrap();
    until(0, EndpointState::CheckFailing).await;
    children[0].resume().unwrap();
    until(0, EndpointState::In).await;
    children[1].kill().unwrap();
    until(1, EndpointState::CheckFailing).await;
    assert!(picker.snapshot().endpoints.iter().all(|endpoint| endpoint.calls == 0));
}
