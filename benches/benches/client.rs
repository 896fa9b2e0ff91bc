//! Calls over loopback sockets through a whole client, beside the client alone, and without sockets
//! what the layers cost by themselves.

#[path = "client/stack.rs"]
mod stack;

use std::{hint::black_box, time::Duration};

use criterion::{Criterion, criterion_group, criterion_main};
use futures_util::future::join_all;
use seawall_benches::{Bare, call_now, timed};
use seawall_test_support::{EchoClient, EchoRequest, GrpcServer, HttpServer};
use tokio::runtime::Runtime;
use tonic::{
    client::GrpcService,
    codegen::{Body, Bytes, StdError},
    transport::{Channel, Endpoint},
};
use tower::Service;

const TASKS: u64 = 32;

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime starts")
}

async fn unary<T>(client: &mut EchoClient<T>)
where
    T: GrpcService<tonic::body::Body>,
    T::Error: Into<StdError>,
    T::ResponseBody: Body<Data = Bytes> + Send + 'static,
    <T::ResponseBody as Body>::Error: Into<StdError> + Send,
{
    let answer = client.unary(black_box(EchoRequest::default())).await;
    assert!(answer.is_ok(), "nothing fails here: {answer:?}");
}

fn endpoint(server: &GrpcServer) -> Endpoint {
    Endpoint::from_shared(server.url()).expect("the url of a server is one")
}

fn seawall(servers: &[GrpcServer]) -> EchoClient<seawall::grpc::GrpcClient> {
    let addresses = servers.iter().map(|server| server.address().to_string());
    EchoClient::new(seawall::grpc("echo").endpoints(addresses).build().expect("the defaults"))
}

fn grpc_unary(c: &mut Criterion) {
    let runtime = runtime();
    let (servers, mut plain, mut ours) = runtime.block_on(async {
        let servers = [GrpcServer::start().await];
        let plain = EchoClient::new(endpoint(&servers[0]).connect_lazy());
        let ours = seawall(&servers);
        (servers, plain, ours)
    });
    let mut group = c.benchmark_group("grpc_unary");
    group.bench_function("tonic", |b| b.iter(|| runtime.block_on(unary(&mut plain))));
    group.bench_function("seawall", |b| b.iter(|| runtime.block_on(unary(&mut ours))));
    drop(servers);
}

/// The time that the tasks take for `iterations` calls together, each with a clone of `client`.
fn shared<T>(runtime: &Runtime, iterations: u64, client: &EchoClient<T>) -> Duration
where
    T: GrpcService<tonic::body::Body> + Clone + Send + 'static,
    T::Error: Into<StdError>,
    T::Future: Send,
    T::ResponseBody: Body<Data = Bytes> + Send + 'static,
    <T::ResponseBody as Body>::Error: Into<StdError> + Send,
{
    let calls = (0..TASKS).map(|task| {
        let mut client = client.clone();
        let share = iterations / TASKS + u64::from(task < iterations % TASKS);
        async move {
            for _ in 0..share {
                unary(&mut client).await;
            }
        }
    });
    let all = async {
        for done in join_all(calls.map(|calls| runtime.spawn(calls))).await {
            done.expect("no call fails");
        }
    };
    timed(|| runtime.block_on(all))
}

fn grpc_unary_32_tasks(c: &mut Criterion) {
    let runtime = runtime();
    let (servers, plain, ours) = runtime.block_on(async {
        let servers =
            [GrpcServer::start().await, GrpcServer::start().await, GrpcServer::start().await];
        let plain = EchoClient::new(Channel::balance_list(servers.iter().map(endpoint)));
        let ours = seawall(&servers);
        (servers, plain, ours)
    });
    let mut group = c.benchmark_group("grpc_unary_32_tasks");
    group.bench_function("tonic_balance_list", |b| {
        b.iter_custom(|iterations| shared(&runtime, iterations, &plain));
    });
    group.bench_function("seawall", |b| {
        b.iter_custom(|iterations| shared(&runtime, iterations, &ours));
    });
    drop(servers);
}

async fn whole<E: std::fmt::Debug>(response: Result<reqwest::Response, E>) {
    let body = response.expect("the server answers").bytes().await;
    assert_eq!(body.expect("a whole body").len(), 2);
}

fn http_get(c: &mut Criterion) {
    let runtime = runtime();
    let (server, plain, ours) = runtime.block_on(async {
        let server = HttpServer::start().await;
        let plain = reqwest::Client::builder().no_proxy().build().expect("the defaults");
        let ours = seawall::http("users").endpoints([server.address().to_string()]);
        (server, plain, ours.build().expect("the defaults").client())
    });
    let url = server.url("/ok");
    let mut group = c.benchmark_group("http_get");
    group.bench_function("reqwest", |b| {
        b.iter(|| runtime.block_on(async { whole(plain.get(&url).send().await).await }));
    });
    group.bench_function("seawall", |b| {
        let get = || ours.get("http://users/ok").send();
        b.iter(|| runtime.block_on(async { whole(get().await).await }));
    });
}

fn layers<S: Service<u32>>(c: &mut Criterion, name: &str, mut service: S) {
    c.benchmark_group("stack_overhead")
        .bench_function(name, |b| b.iter(|| call_now(&mut service, black_box(1)).is_ok()));
}

fn stack_overhead(c: &mut Criterion) {
    let runtime = runtime();
    // The time-outs need a timer.
    let _context = runtime.enter();
    layers(c, "bare", Bare);
    layers(c, "seawall_same_four", stack::seawall_same_four());
    layers(c, "seawall_full", stack::seawall_full());
    layers(c, "tower_resilience_four", stack::tower_resilience_four());
}

criterion_group!(benches, grpc_unary, grpc_unary_32_tasks, http_get, stack_overhead);
criterion_main!(benches);
