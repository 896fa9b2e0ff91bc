//! Servers that are slow or come and go, calls that end in every way, and responses that outlive
//! their endpoint, over real sockets, for gRPC and HTTP alike.
#![cfg(all(feature = "tonic", feature = "reqwest"))]
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use common::of;
use http::Method;
use reqwest::Request;
use seawall_core::{Change, Endpoint};
use seawall_load_balance::{
    Balancer, BalancerSnapshot, Config, ConfigBuilder, Ejection, EndpointSet, PeakEwma, Policy,
    reqwest::{HttpBalancer, MakeClient, balance},
    tonic::{GrpcBalancer, MakeChannel, balance_with},
};
use seawall_test_support::{EchoClient, EchoRequest, FaultProxy, GrpcServer, HttpServer};
use tokio::{task::JoinSet, time::timeout};
use tower::ServiceExt;

const LONG: Duration = Duration::from_secs(5);
const SLOW_MILLIS: u32 = 100;

fn endpoint(id: usize, address: SocketAddr) -> Endpoint {
    Endpoint::new(id.to_string(), address.try_into().unwrap())
}

fn set(addresses: impl IntoIterator<Item = SocketAddr>) -> EndpointSet {
    addresses.into_iter().enumerate().map(|(id, address)| endpoint(id, address)).collect()
}

fn grpc(set: EndpointSet, config: ConfigBuilder) -> GrpcBalancer {
    balance_with(set, MakeChannel::http(), config).unwrap()
}

fn http(set: EndpointSet, config: ConfigBuilder) -> HttpBalancer {
    balance(set, MakeClient::new("orders.test"), config).unwrap()
}

fn get(path: &str) -> Request {
    Request::new(Method::GET, format!("http://orders.test{path}").parse().unwrap())
}

async fn ask(balancer: &HttpBalancer, path: &str) -> Option<String> {
    balancer.clone().oneshot(get(path)).await.ok()?.text().await.ok()
}

async fn echo(channel: &GrpcBalancer) -> bool {
    EchoClient::new(channel.clone()).unary(EchoRequest::default()).await.is_ok()
}

/// Makes `calls` calls from eight callers at once; each says whether it was answered.
async fn callers<F: Future<Output = bool> + Send + 'static>(calls: usize, call: impl Fn() -> F) {
    let mut busy = JoinSet::<bool>::new();
    for made in 0..calls {
        if made >= 8 {
            assert!(busy.join_next().await.unwrap().unwrap());
        }
        busy.spawn(call());
    }
    while let Some(answered) = busy.join_next().await {
        assert!(answered.unwrap());
    }
}

fn policies() -> [Policy; 3] {
    [Policy::PowerOfTwo, Policy::LeastInFlight, Policy::PeakEwma(PeakEwma::new())]
}

/// Of three, the first one is slow: it would have a third of the calls.
fn assert_spared(snapshot: &BalancerSnapshot, policy: &Policy) {
    let slow = snapshot.endpoints[0].calls;
    assert!(slow < 60, "{policy:?}: {slow} of 300 calls went to the slow one");
    assert!(snapshot.endpoints.iter().all(|endpoint| endpoint.in_flight == 0));
}

#[tokio::test]
async fn a_slow_http_server_gets_less_than_its_share() {
    let servers = [HttpServer::start().await, HttpServer::start().await, HttpServer::start().await];
    servers[0].set_path(Some(&format!("/delay/{SLOW_MILLIS}")));
    for policy in policies() {
        let set = set(servers.iter().map(HttpServer::address));
        let balancer = http(set, Config::builder().policy(policy.clone()));
        callers(300, || {
            let balancer = balancer.clone();
            async move { ask(&balancer, "/ok").await.is_some() }
        })
        .await;
        assert_spared(&balancer.snapshot(), &policy);
    }
}

#[tokio::test]
async fn a_slow_grpc_server_gets_less_than_its_share() {
    let servers = [GrpcServer::start().await, GrpcServer::start().await, GrpcServer::start().await];
    servers[0].set_script(Some(EchoRequest { delay_ms: SLOW_MILLIS, ..EchoRequest::default() }));
    for policy in policies() {
        let set = set(servers.iter().map(GrpcServer::address));
        let channel = grpc(set, Config::builder().policy(policy.clone()));
        callers(300, || {
            let channel = channel.clone();
            async move { echo(&channel).await }
        })
        .await;
        assert_spared(&channel.inner().snapshot(), &policy);
    }
}

/// A server that is killed and started again, thrice; `call` says whether the caller got an answer.
async fn flaps<S, T, R>(
    balancer: &Balancer<S, T, R>,
    call: impl AsyncFn() -> bool,
    kill: impl Fn(),
    restart: impl AsyncFn(),
) where
    S: Clone + Send + Sync + 'static,
{
    for round in 0..3 {
        for _ in 0..20 {
            assert!(call().await);
        }
        let before = of(balancer, "0").ejections;
        kill();
        let mut failed = 0;
        for _ in 0..50 {
            failed += u32::from(!call().await);
        }
        // One call may have been written before the client saw the connection close.
        assert!(failed <= 1, "{failed} calls failed in round {round}");
        let down = of(balancer, "0");
        assert!(down.ejections > before && down.in_flight == 0, "{down:?}");
        restart().await;
        let returned = async {
            while of(balancer, "0").successes == down.successes {
                assert!(call().await);
            }
        };
        timeout(LONG, returned).await.expect("it is used again when its ejection is over");
    }
}

fn quick_ejection() -> ConfigBuilder {
    let times = Ejection::new().with_consecutive_failures(2);
    let times = times.with_base_time(Duration::from_millis(50));
    Config::builder().ejection(times.with_max_time(Duration::from_millis(50)))
}

#[tokio::test]
async fn a_flapping_http_server_costs_a_call_each_time_at_most_and_returns() {
    let (flapping, well) = (HttpServer::start().await, HttpServer::start().await);
    let balancer = http(set([flapping.address(), well.address()]), quick_ejection());
    let call = async || ask(&balancer, "/ok").await.is_some();
    flaps(&balancer, call, || flapping.kill(), async || flapping.restart().await).await;
}

#[tokio::test]
async fn a_flapping_grpc_server_costs_a_call_each_time_at_most_and_returns() {
    let (flapping, well) = (GrpcServer::start().await, GrpcServer::start().await);
    let channel = grpc(set([flapping.address(), well.address()]), quick_ejection());
    let call = async || echo(&channel).await;
    flaps(channel.inner(), call, || flapping.kill(), async || flapping.restart().await).await;
}

async fn until_closed(proxy: &FaultProxy) {
    let closed = async {
        while proxy.open_connections() > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(LONG, closed).await.expect("the connection ends with the last response on it");
}

#[tokio::test]
async fn an_http_body_outlives_the_removal_of_its_endpoint() {
    let (leaving, staying) = (HttpServer::start().await, HttpServer::start().await);
    let proxy = FaultProxy::start(leaving.address()).await;
    let set = set([proxy.address()]);
    let balancer = http(set.clone(), Config::builder());
    let mut response = balancer.clone().oneshot(get("/trickle/20/5")).await.unwrap();
    let first = response.chunk().await.unwrap().unwrap();
    set.replace([endpoint(1, staying.address())]);
    for _ in 0..10 {
        assert_eq!(ask(&balancer, "/ok").await.unwrap(), "ok");
    }
    assert_eq!((leaving.calls(), staying.calls()), (1, 10), "it gets no new calls");
    let mut length = first.len();
    while let Some(chunk) = response.chunk().await.unwrap() {
        length += chunk.len();
    }
    assert_eq!(length, 20 * 8);
    drop(response);
    until_closed(&proxy).await;
}

#[tokio::test]
async fn a_grpc_stream_outlives_the_removal_of_its_endpoint() {
    let (leaving, staying) = (GrpcServer::start().await, GrpcServer::start().await);
    let proxy = FaultProxy::start(leaving.address()).await;
    let set = set([proxy.address()]);
    let channel = grpc(set.clone(), Config::builder());
    let request = EchoRequest { messages: 20, gap_ms: 5, ..EchoRequest::default() };
    let mut client = EchoClient::new(channel.clone());
    let mut stream = client.server_stream(request).await.unwrap().into_inner();
    stream.message().await.unwrap().unwrap();
    set.replace([endpoint(1, staying.address())]);
    for _ in 0..10 {
        assert!(echo(&channel).await);
    }
    assert_eq!((leaving.calls(), staying.calls()), (1, 10), "it gets no new calls");
    let mut messages = 1;
    while stream.message().await.unwrap().is_some() {
        messages += 1;
    }
    assert_eq!(messages, 20);
    drop(stream);
    until_closed(&proxy).await;
}

/// Looks on while calls end in every way.
fn watch<S, T, R>(
    balancer: Balancer<S, T, R>,
    ended: Arc<AtomicBool>,
) -> std::thread::JoinHandle<u32>
where
    S: Clone + Send + Sync + 'static,
    T: Send + Sync + 'static,
    R: Send + Sync + 'static,
{
    std::thread::spawn(move || {
        let mut busy = 0;
        while !ended.load(Relaxed) {
            for endpoint in balancer.snapshot().endpoints {
                // A negative number would be huge.
                assert!(endpoint.in_flight <= 400, "{endpoint:?}");
                busy += u32::from(endpoint.in_flight > 0);
            }
        }
        busy
    })
}

fn assert_idle<S, T, R>(balancer: &Balancer<S, T, R>)
where
    S: Clone + Send + Sync + 'static,
{
    let snapshot = balancer.snapshot();
    assert!(snapshot.endpoints.iter().all(|endpoint| endpoint.in_flight == 0), "{snapshot:?}");
    for endpoint in snapshot.endpoints {
        let ended = endpoint.successes + endpoint.failures + endpoint.abandoned;
        assert_eq!(ended, endpoint.calls, "{endpoint:?}");
    }
}

const SHORT: Duration = Duration::from_millis(30);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_http_call_is_in_flight_after_any_mix_of_ends() {
    let servers = [HttpServer::start().await, HttpServer::start().await];
    let set = set(servers.iter().map(HttpServer::address));
    let balancer = http(set.clone(), Config::builder().ejection(None));
    let ended = Arc::<AtomicBool>::default();
    let watching = watch(balancer.clone(), ended.clone());
    let mut calls = JoinSet::new();
    let paths =
        ["/ok", "/status/503", "/hang", "/stall", "/reset-after/4", "/trickle/3/2", "/empty"];
    for number in 0..400 {
        let (call, path) =
            (balancer.clone().oneshot(get(paths[number % paths.len()])), number / 7 % 3);
        calls.spawn(async move {
            match (timeout(SHORT, call).await, path) {
                (Ok(Ok(response)), 0) => drop(timeout(SHORT, response.bytes()).await),
                (Ok(Ok(mut response)), 1) => drop(timeout(SHORT, response.chunk()).await),
                // The body is dropped unread; or there is none.
                _ => {}
            }
        });
        match number {
            100 => servers[0].kill(),
            200 => servers[0].restart().await,
            300 => set.apply([Change::Update(endpoint(1, servers[1].address()).with_weight(7))]),
            _ => {}
        }
    }
    while let Some(joined) = calls.join_next().await {
        joined.unwrap();
    }
    ended.store(true, Relaxed);
    assert!(watching.join().unwrap() > 0, "calls were seen in flight");
    assert_idle(&balancer);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_grpc_call_is_in_flight_after_any_mix_of_ends() {
    let servers = [GrpcServer::start().await, GrpcServer::start().await];
    let set = set(servers.iter().map(GrpcServer::address));
    let channel = grpc(set.clone(), Config::builder().ejection(None));
    let ended = Arc::<AtomicBool>::default();
    let watching = watch(channel.inner().clone(), ended.clone());
    let mut calls = JoinSet::new();
    let plain = EchoRequest::default;
    let requests = [
        plain(),
        EchoRequest { code: 14, ..plain() },
        EchoRequest { hang: true, ..plain() },
        EchoRequest { messages: 3, gap_ms: 1, ..plain() },
        EchoRequest { messages: 2, trailer_code: 13, ..plain() },
        EchoRequest { messages: 2, hang_after_messages: true, ..plain() },
    ];
    for number in 0..400 {
        let (request, messages) = (requests[number % 6].clone(), number / 6 % 5);
        let mut client = EchoClient::new(channel.clone());
        calls.spawn(async move {
            if request.messages == 0 {
                let _ = timeout(SHORT, client.unary(request)).await;
                return;
            }
            let Ok(Ok(stream)) = timeout(SHORT, client.server_stream(request)).await else {
                return;
            };
            let mut stream = stream.into_inner();
            for _ in 0..messages {
                let _ = timeout(SHORT, stream.message()).await;
            }
        });
        match number {
            100 => servers[0].kill(),
            200 => servers[0].restart().await,
            300 => set.apply([Change::Update(endpoint(1, servers[1].address()).with_weight(7))]),
            _ => {}
        }
    }
    while let Some(joined) = calls.join_next().await {
        joined.unwrap();
    }
    ended.store(true, Relaxed);
    assert!(watching.join().unwrap() > 0, "calls were seen in flight");
    assert_idle(channel.inner());
}
