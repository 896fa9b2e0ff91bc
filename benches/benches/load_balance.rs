//! One pick of an endpoint, or one call through a balancer.
//!
//! tower's balance is a service, so ours is measured as one beside it: ready, call, response, guard
//! dropped. pingora's selection is a pick, so beside it ours is a pick with its guard dropped.

use std::{
    collections::BTreeSet, convert::Infallible, hint::black_box, sync::Barrier, thread,
    time::Duration,
};

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use futures_util::FutureExt as _;
use pingora_load_balancing::{
    Backend, Backends, LoadBalancer,
    discovery::Static,
    selection::{BackendIter, BackendSelection, RoundRobin, consistent::KetamaHashing},
};
use seawall_benches::{Bare, call_now, timed, two_threads};
use seawall_core::{Change, Endpoint, Guard, Outcome};
use seawall_load_balance::{
    Balancer, Config, ConsistentHash, EndpointSet, HashKey, Maglev, PeakEwma, PickContext, Picker,
    Policy, Ring,
};
use tower::{
    Service, ServiceExt as _,
    balance::p2c::Balance,
    buffer::Buffer,
    discover::ServiceList,
    load::{CompleteOnResponse, Load, PeakEwma as TowerPeakEwma, PendingRequests},
};

fn endpoint(number: usize) -> Endpoint {
    let address = "10.0.0.1:80".parse().expect("an address");
    Endpoint::new(format!("endpoint-{number:06}"), address)
}

/// Weights from 1 to 5.
fn weight(number: usize) -> u16 {
    number as u16 % 5 + 1
}

fn endpoints(count: usize) -> EndpointSet {
    (0..count).map(endpoint).collect()
}

fn weighted(count: usize) -> EndpointSet {
    (0..count).map(|number| endpoint(number).with_weight(weight(number))).collect()
}

fn ours(set: EndpointSet, policy: Policy) -> Balancer<Bare> {
    let make = |_: &Endpoint| Ok::<_, Infallible>(Bare);
    let config = Config::builder().policy(policy).seed(1);
    let mut balancer =
        Balancer::builder(set.clone(), make).config(config).build().expect("in range");
    // Makes the services, as tower's balance has its own from the start.
    for _ in 0..20 * set.len() {
        drop(balancer.pick_service(None));
    }
    balancer
}

fn picker(set: EndpointSet, policy: Policy) -> Picker {
    let config = Config::builder().policy(policy).seed(1).build().expect("in range");
    let mut picker = Picker::with_config(set.clone(), config);
    for _ in 0..20 * set.len() {
        drop(picker.pick());
    }
    picker
}

fn pick(picker: &mut Picker) {
    if let Some(picked) = black_box(picker.pick()) {
        picked.finish(Outcome::Success);
    }
}

fn pending(count: usize) -> Balance<ServiceList<Vec<PendingRequests<Bare>>>, u32> {
    balance((0..count).map(|_| PendingRequests::new(Bare, CompleteOnResponse::default())).collect())
}

fn peak_ewma(count: usize) -> Balance<ServiceList<Vec<TowerPeakEwma<Bare>>>, u32> {
    // The defaults of the documentation: 30 ms to begin with, and a decay of 10 s.
    let (rtt, decay) = (Duration::from_millis(30), 10e9);
    let completion = CompleteOnResponse::default;
    balance((0..count).map(|_| TowerPeakEwma::new(Bare, rtt, decay, completion())).collect())
}

fn balance<S>(services: Vec<S>) -> Balance<ServiceList<Vec<S>>, u32>
where
    S: Service<u32> + Load,
    S::Metric: std::fmt::Debug,
    S::Error: Into<tower::BoxError>,
{
    let mut balance = Balance::new(ServiceList::new::<u32>(services));
    // Takes the services in.
    let ready = balance.ready().now_or_never();
    assert!(ready.is_some_and(|ready| ready.is_ok()), "nothing to wait for");
    balance
}

fn bench_call<S: Service<u32>>(c: &mut Criterion, group: &str, name: &str, mut service: S) {
    c.benchmark_group(group)
        .bench_function(name, |b| b.iter(|| call_now(&mut service, black_box(1)).is_ok()));
}

fn p2c(c: &mut Criterion) {
    bench_call(c, "pick_p2c_1000", "seawall", ours(endpoints(1000), Policy::PowerOfTwo));
    bench_call(c, "pick_p2c_1000", "tower", pending(1000));
    bench_call(c, "pick_p2c_100000", "seawall", ours(endpoints(100_000), Policy::PowerOfTwo));
    bench_call(c, "pick_p2c_100000", "tower_10000", pending(10_000));
}

fn ewma(c: &mut Criterion) {
    let group = "pick_peak_ewma_1000";
    bench_call(c, group, "seawall", ours(endpoints(1000), Policy::PeakEwma(PeakEwma::new())));
    // tower spawns nothing, but reads tokio's clock.
    bench_call(c, group, "tower", peak_ewma(1000));
}

fn pingora<S>(count: usize, weight: impl Fn(usize) -> usize) -> LoadBalancer<S>
where
    S: BackendSelection + 'static,
    S::Iter: BackendIter,
{
    let backend = |number: usize| {
        let address = format!("10.0.{}.{}:80", number / 250, number % 250 + 1);
        Backend::new_with_weight(&address, weight(number)).expect("an address")
    };
    let backends: BTreeSet<_> = (0..count).map(backend).collect();
    let balancer = LoadBalancer::from_backends(Backends::new(Static::new(backends)));
    balancer.update().now_or_never().expect("nothing to wait for").expect("a fixed set");
    balancer
}

fn select<S>(balancer: &LoadBalancer<S>, key: &[u8])
where
    S: BackendSelection + 'static,
    S::Iter: BackendIter,
{
    black_box(balancer.select(key, 256));
}

fn round_robin(c: &mut Criterion) {
    let (one, peer) =
        (picker(endpoints(1000), Policy::RoundRobin), pingora::<RoundRobin>(1000, |_| 1));
    let mut group = c.benchmark_group("pick_round_robin_1000");
    let mut alone = one.clone();
    group.bench_function("seawall", |b| b.iter(|| pick(&mut alone)));
    group.bench_function("pingora", |b| b.iter(|| select(&peer, b"")));
    group.finish();
    let mut group = c.benchmark_group("pick_round_robin_1000_2_threads");
    group.bench_function("seawall", |b| {
        b.iter_custom(|n| {
            two_threads(n, || {
                let mut picker = one.clone();
                move || pick(&mut picker)
            })
        })
    });
    group
        .bench_function("pingora", |b| b.iter_custom(|n| two_threads(n, || || select(&peer, b""))));
}

fn in_turn_by_weight(c: &mut Criterion) {
    let mut group = c.benchmark_group("pick_weighted_1000");
    let mut one = picker(weighted(1000), Policy::RoundRobin);
    group.bench_function("seawall", |b| b.iter(|| pick(&mut one)));
    let peer = pingora::<RoundRobin>(1000, |number| weight(number).into());
    group.bench_function("pingora", |b| b.iter(|| select(&peer, b"")));
}

fn ring() -> Policy {
    // The default bound would halve the points of 50,000 endpoints.
    Policy::ConsistentHash(ConsistentHash::ring(
        Ring::new().with_points(160).with_max_points(1 << 23),
    ))
}

fn maglev() -> Policy {
    Policy::ConsistentHash(ConsistentHash::maglev(Maglev::new()))
}

fn least_in_flight(c: &mut Criterion) {
    let mut group = c.benchmark_group("pick_least_in_flight_100000");
    let mut one = picker(endpoints(100_000), Policy::LeastInFlight);
    group.bench_function("seawall", |b| b.iter(|| pick(&mut one)));
}

/// More keys than caches hold endpoints of, one after the other.
fn keys() -> impl Iterator<Item = [u8; 16]> {
    let mut rng = fastrand::Rng::with_seed(1);
    let keys: Vec<_> = (0..1 << 16).map(|_| rng.u128(..).to_le_bytes()).collect();
    (0..keys.len()).cycle().map(move |at| keys[at])
}

/// Both hash the key as a part of the pick.
fn pick_by_key(picker: &mut Picker, key: &[u8]) {
    let context = PickContext::new().with_key(HashKey::of(key));
    if let Some(picked) = black_box(picker.pick_for(context)) {
        picked.finish(Outcome::Success);
    }
}

fn by_key(c: &mut Criterion) {
    for count in [1000, 50_000] {
        let mut group = c.benchmark_group(format!("pick_ring_{count}"));
        let (mut one, mut row) = (picker(endpoints(count), ring()), keys());
        group.bench_function("seawall", |b| {
            b.iter(|| pick_by_key(&mut one, &row.next().expect("endless")));
        });
        let (peer, mut row) = (pingora::<KetamaHashing>(count, |_| 1), keys());
        group.bench_function("pingora", |b| {
            b.iter(|| select(&peer, &row.next().expect("endless")));
        });
    }
    let mut group = c.benchmark_group("pick_maglev_1000");
    let (mut one, mut row) = (picker(endpoints(1000), maglev()), keys());
    group.bench_function("seawall", |b| {
        b.iter(|| pick_by_key(&mut one, &row.next().expect("endless")));
    });
}

/// The time per call when two threads make `calls` each on clones of one service.
fn two_callers<S>(runtime: &tokio::runtime::Runtime, calls: u64, service: &S) -> Duration
where
    S: Service<u32> + Clone + Sync,
    S::Error: std::fmt::Debug,
{
    let start = Barrier::new(2);
    let run = || {
        let mut service = service.clone();
        start.wait();
        timed(|| {
            runtime.block_on(async {
                for _ in 0..calls {
                    let ready = service.ready().await.expect("never fails");
                    let _ = ready.call(black_box(1)).await.expect("never fails");
                }
            });
        })
    };
    thread::scope(|scope| {
        let callers = [scope.spawn(run), scope.spawn(run)];
        callers.map(|caller| caller.join().expect("no panic")).iter().sum::<Duration>() / 2
    })
}

fn shared_call(c: &mut Criterion) {
    // The worker of the buffer runs on it; two cores suffice for it and both callers to contend.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build()
        .expect("a runtime");
    let balancer = ours(endpoints(10), Policy::PowerOfTwo);
    let buffer = {
        let _context = runtime.enter();
        Buffer::new(pending(10), 1024)
    };
    let mut group = c.benchmark_group("shared_call_2_threads");
    group.bench_function("bare", |b| b.iter_custom(|n| two_callers(&runtime, n, &Bare)));
    group.bench_function("seawall", |b| b.iter_custom(|n| two_callers(&runtime, n, &balancer)));
    group.bench_function("tower_buffer", |b| b.iter_custom(|n| two_callers(&runtime, n, &buffer)));
}

/// Until the policy's table shows the set as it is: at once, unless it is made in the background.
fn settle(picker: &Picker) {
    while !picker.is_settled() {
        thread::yield_now();
    }
}

fn changes(c: &mut Criterion) {
    let ring = Policy::ConsistentHash(ConsistentHash::ring(Ring::new()));
    for (name, policy) in
        [("seawall_p2c", Policy::PowerOfTwo), ("seawall_ring", ring), ("seawall_maglev", maglev())]
    {
        let set = endpoints(100_000);
        let picker = picker(set.clone(), policy);
        settle(&picker);
        let mut group = c.benchmark_group("set_change_1_of_100000");
        group.sample_size(20);
        let mut weight = 0;
        group.bench_function(name, |b| {
            b.iter(|| {
                weight = weight % 100 + 1;
                set.apply([Change::Update(endpoint(50_000).with_weight(weight))]);
                settle(&picker);
            });
        });
        group.finish();
        let mut group = c.benchmark_group("set_replace_100000");
        group.sample_size(10);
        group.bench_function(name, |b| {
            b.iter_batched(
                || {
                    weight = weight % 100 + 1;
                    let changed = |number| endpoint(number).with_weight(weight);
                    (0..100_000).map(changed).collect::<Vec<_>>()
                },
                |all| {
                    set.replace(all);
                    settle(&picker);
                },
                BatchSize::PerIteration,
            );
        });
    }
}

criterion_group!(
    benches,
    p2c,
    ewma,
    round_robin,
    in_turn_by_weight,
    least_in_flight,
    by_key,
    shared_call,
    changes
);
criterion_main!(benches);
