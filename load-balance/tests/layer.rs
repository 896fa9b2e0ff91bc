//! What the layer hands on to the balancers that it makes: subsets, keys, breakers, warm-up.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::{
    collections::BTreeMap,
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use common::{Echo, Probes, endpoint, of};
use seawall_circuit_breaker::{CircuitBreaker, CircuitBreakerLayer, Config as BreakerConfig};
use seawall_core::{Clock, Endpoint, Error, Reason};
use seawall_load_balance::{
    BalanceLayer, Balancer, CloneRequest, Config, ConsistentHash, EndpointSet, EndpointState,
    HashKey, Policy, Ring, Select, SlowStart, Split, WarmUp,
};
use seawall_test_support::{Probe, Reply};
use tower::{Layer, Service, ServiceBuilder, ServiceExt};

fn tagged() -> EndpointSet {
    let canary = ["c0", "c1"].map(|id| endpoint(id).with_tags(["canary"]));
    canary.into_iter().chain(["s0", "s1", "s2", "s3"].map(endpoint)).collect()
}

fn split() -> Split {
    Split::new().with_subset("canary", Select::tag("canary"), 20).with_subset(
        "stable",
        Select::Rest,
        80,
    )
}

/// Requests below a hundred name the canary.
fn subset(request: &u32) -> Option<Arc<str>> {
    (*request < 100).then(|| "canary".into())
}

#[tokio::test]
async fn a_layer_splits_by_weight_and_by_what_a_request_names() {
    let probes = Probes::echo(&["c0", "c1", "s0", "s1", "s2", "s3"]);
    let config = Config::builder().split(split()).seed(7).build().unwrap();
    let layer = BalanceLayer::with_config(tagged(), config).split_by(subset);
    let mut client = ServiceBuilder::new().layer(layer).service(probes.make());
    for request in 0..100 {
        let answer = client.ready().await.unwrap().call(request).await.unwrap();
        assert!(answer.starts_with('c'), "{request} went to {answer}");
    }
    let mut counts = BTreeMap::<char, u32>::new();
    for request in 100..5100 {
        let answer = client.ready().await.unwrap().call(request).await.unwrap();
        *counts.entry(answer.chars().next().unwrap()).or_default() += 1;
    }
    // A fifth of 5,000; six standard deviations are 170.
    assert!(counts[&'c'].abs_diff(1000) < 170, "{counts:?}");
}

#[tokio::test]
async fn a_layer_finds_keys_within_the_subset() {
    let probes = Probes::echo(&["c0", "c1", "s0", "s1", "s2", "s3"]);
    let policy = Policy::ConsistentHash(ConsistentHash::ring(Ring::new()));
    let config = Config::builder().split(split()).policy(policy).build().unwrap();
    let layer = BalanceLayer::with_config(tagged(), config)
        .hash_key(|request: &u32| Some(HashKey::of((request % 10).to_le_bytes())))
        .split_by(subset);
    let client = layer.layer(probes.make());
    let mut owners = BTreeMap::new();
    for request in 0..100 {
        let answer = client.clone().oneshot(request).await.unwrap();
        assert!(answer.starts_with('c'));
        let owner = owners.entry(request % 10).or_insert_with(|| answer.clone());
        assert_eq!(*owner, answer, "the key of {request}");
    }
}

/// Endpoints whose services fail as long as they are told to, each behind a breaker.
fn guarded(
    failing: &Arc<AtomicBool>,
    clock: &Clock,
) -> impl Fn(&Endpoint) -> Result<Guarded, io::Error> + Send + Sync + 'static + use<> {
    let breaker = BreakerConfig::builder()
        .consecutive_failures(2)
        .open_wait(Duration::from_secs(5))
        .build()
        .unwrap();
    let (failing, clock) = (failing.clone(), clock.clone());
    move |endpoint| {
        let (id, failing) = (endpoint.id().to_string(), failing.clone());
        let service = Probe::new(move |_: u32| match failing.load(Relaxed) && id == "bad" {
            true => Reply::error(io::Error::other("down")),
            false => Reply::ok(id.clone()),
        });
        let breaker = CircuitBreaker::builder(breaker.clone()).clock(clock.clone()).build();
        Ok(CircuitBreakerLayer::new(breaker).layer(service))
    }
}

type Guarded = <CircuitBreakerLayer as Layer<Echo>>::Service;

async fn calls<T, R>(balancer: &Balancer<Guarded, T, R>, number: u32) -> u32
where
    Balancer<Guarded, T, R>:
        Service<u32, Response = String, Error = Error<Error<io::Error>>> + Clone,
{
    let mut failed = 0;
    for request in 0..number {
        failed += u32::from(balancer.clone().oneshot(request).await.is_err());
    }
    failed
}

#[tokio::test(start_paused = true)]
async fn a_layer_asks_the_breaker_of_each_endpoint_before_a_pick() {
    let clock = Clock::tokio();
    let failing = Arc::new(AtomicBool::new(true));
    let set = EndpointSet::from_endpoints([endpoint("bad"), endpoint("good")]);
    let slow_start = SlowStart::new(Duration::from_secs(100));
    let config = Config::builder().ejection(None).clock(clock.clone()).slow_start(slow_start);
    let layer = BalanceLayer::with_config(set, config.build().unwrap()).admits();
    let balancer = layer.layer(guarded(&failing, &clock));
    assert_eq!(calls(&balancer, 100).await, 2, "as many as open the breaker");
    let bad = of(&balancer, "bad");
    assert_eq!((bad.state, bad.admits, bad.calls), (EndpointState::Refusing, false, 2));
    // The breaker lets a probe through after its time, which passes and closes it.
    failing.store(false, Relaxed);
    tokio::time::advance(Duration::from_secs(6)).await;
    assert_eq!(calls(&balancer, 100).await, 0);
    let back = of(&balancer, "bad");
    assert_eq!((back.state, back.share), (EndpointState::Warming, 0.1));
    tokio::time::advance(Duration::from_secs(100)).await;
    let before = of(&balancer, "bad").calls;
    assert_eq!(calls(&balancer, 100).await, 0);
    assert!(of(&balancer, "bad").calls - before > 20, "it has its share again");
}

#[tokio::test(start_paused = true)]
async fn without_asking_a_refusal_after_the_pick_goes_elsewhere_all_the_same() {
    let clock = Clock::tokio();
    let failing = Arc::new(AtomicBool::new(true));
    let set = EndpointSet::from_endpoints([endpoint("bad"), endpoint("good")]);
    let config = Config::builder().ejection(None).clock(clock.clone()).build().unwrap();
    let layer = BalanceLayer::with_config(set, config).resend(CloneRequest);
    let balancer = layer.layer(guarded(&failing, &clock));
    assert_eq!(calls(&balancer, 100).await, 2);
    let bad = of(&balancer, "bad");
    assert_eq!((bad.state, bad.failures), (EndpointState::In, 2), "refusals are no failures");
}

#[tokio::test(start_paused = true)]
async fn when_all_breakers_are_open_the_caller_hears_of_one() {
    let clock = Clock::tokio();
    let failing = Arc::new(AtomicBool::new(true));
    let set = EndpointSet::from_endpoints([endpoint("bad")]);
    let config = Config::builder().ejection(None).clock(clock.clone()).build().unwrap();
    let layer = BalanceLayer::with_config(set, config).resend(CloneRequest).admits();
    let balancer = layer.layer(guarded(&failing, &clock));
    assert_eq!(calls(&balancer, 2).await, 2);
    let error = balancer.clone().oneshot(1).await.unwrap_err();
    let rejection = seawall_core::Rejection::find(&error).unwrap();
    assert_eq!(rejection.reason(), Reason::CircuitOpen);
    assert!(rejection.retry_after().unwrap() <= Duration::from_secs(5), "{rejection:?}");
}

#[tokio::test(start_paused = true)]
async fn a_layer_warms_up_and_each_use_of_it_has_connections_of_its_own() {
    let probes = Probes::echo(&["a"]);
    let warm =
        || WarmUp::new(probes.make(), |service: Echo| async { service.oneshot(0).await.map(drop) });
    let set = EndpointSet::from_endpoints([endpoint("a")]);
    let config = Config::builder().warm_up(Duration::from_secs(1)).clock(Clock::tokio());
    let layer = BalanceLayer::with_config(set, config.build().unwrap());
    let (one, two) = (layer.layer(warm()), layer.layer(warm()));
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert_eq!(probes.handle("a").calls(), 2, "one for each balancer");
    assert_eq!((one.services().len(), two.services().len()), (1, 1));
    assert_eq!(of(&one, "a").state, EndpointState::In);
}
