//! The set changes under the balancer.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use common::{endpoint, of};
use futures::{StreamExt, stream};
use seawall_core::{Change, Endpoint, Guard, Health, Outcome};
use seawall_load_balance::{Balancer, EndpointSet, Picked, Picker, Source};
use tokio_stream::wrappers::ReceiverStream;

/// Counts services made and services alive.
#[derive(Clone, Default)]
struct Census {
    made: Arc<AtomicUsize>,
    alive: Arc<AtomicUsize>,
}

#[derive(Debug)]
struct Life(Arc<AtomicUsize>);

impl Drop for Life {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

impl Census {
    fn make(
        &self,
    ) -> impl Fn(&Endpoint) -> Result<Arc<Life>, io::Error> + Send + Sync + 'static + use<> {
        let census = self.clone();
        move |_| {
            census.made.fetch_add(1, SeqCst);
            census.alive.fetch_add(1, SeqCst);
            Ok(Arc::new(Life(census.alive.clone())))
        }
    }

    fn counts(&self) -> (usize, usize) {
        (self.made.load(SeqCst), self.alive.load(SeqCst))
    }
}

/// A pick whose endpoint has its service.
fn made(balancer: &mut Balancer<Arc<Life>>) -> Picked {
    balancer.pick_service(None).unwrap().0
}

#[test]
fn what_was_learned_and_the_connection_outlive_a_change_of_weight() {
    let (set, census) = (EndpointSet::from_endpoints([endpoint("a")]), Census::default());
    let mut balancer = Balancer::builder(set.clone(), census.make()).build().unwrap();
    let held = made(&mut balancer);
    made(&mut balancer).finish(Outcome::Failure);

    set.apply([Change::Update(endpoint("a").with_weight(9).with_metadata("k", "v"))]);
    let after = of(&balancer, "a");
    assert_eq!((after.weight, after.in_flight, after.failures), (9, 1, 1));
    made(&mut balancer).finish(Outcome::Success);
    assert_eq!(census.counts(), (1, 1));
    assert_eq!(held.endpoint().metadata("k"), Some("v"));
    held.finish(Outcome::Success);
    assert_eq!(of(&balancer, "a").successes, 2);
}

#[test]
fn another_address_is_another_connection_to_the_same_endpoint() {
    let (set, census) = (EndpointSet::from_endpoints([endpoint("a")]), Census::default());
    let mut balancer = Balancer::builder(set.clone(), census.make()).build().unwrap();
    made(&mut balancer).finish(Outcome::Failure);
    set.replace([Endpoint::new("a", "127.0.0.1:2".parse().unwrap())]);
    assert_eq!(census.counts(), (1, 0), "the old connection is dropped at once");
    made(&mut balancer).finish(Outcome::Success);
    assert_eq!(census.counts(), (2, 1));
    assert_eq!((of(&balancer, "a").successes, of(&balancer, "a").failures), (1, 1));
}

#[test]
fn a_removed_endpoint_finishes_its_calls_and_drops_its_service_under_an_idle_clone() {
    let set = EndpointSet::from_endpoints([endpoint("a"), endpoint("b")]);
    let census = Census::default();
    let mut balancer = Balancer::builder(set.clone(), census.make()).build().unwrap();
    while census.counts().0 < 2 {
        drop(made(&mut balancer));
    }
    // Has its own snapshot at hand and is not used while the set changes.
    let idle = balancer.clone();
    let (held, service) = loop {
        let (picked, service) = balancer.pick_service(None).unwrap();
        if picked.id().as_str() == "a" {
            break (picked, service);
        }
    };
    set.apply([Change::Remove("a".into())]);
    assert_eq!(census.counts(), (2, 2), "the call still has its service");
    drop(service);
    assert_eq!(census.counts(), (2, 1), "nobody else has");
    assert!((0..100).all(|_| balancer.pick().unwrap().id().as_str() == "b"));
    held.finish(Outcome::Success);
    assert!(idle.clone().pick().is_some());
    drop(idle);
}

#[test]
fn an_endpoint_that_comes_back_is_a_new_one() {
    let set = EndpointSet::from_endpoints([endpoint("a")]);
    let mut picker = Picker::new(set.clone());
    let held = picker.pick().unwrap();
    set.replace([]);
    assert!(picker.pick().is_none());
    set.replace([endpoint("a")]);
    assert_eq!((of(&picker, "a").in_flight, of(&picker, "a").calls), (0, 0));
    held.finish(Outcome::Failure);
    assert_eq!(of(&picker, "a").failures, 0);
}

#[test]
fn weight_zero_and_maintenance_drain_and_keep_what_was_learned() {
    let set = EndpointSet::from_endpoints([endpoint("a"), endpoint("b"), endpoint("c")]);
    let mut picker = Picker::new(set.clone());
    for _ in 0..100 {
        picker.pick().unwrap().finish(Outcome::Success);
    }
    let before = of(&picker, "a").calls;
    assert!(before > 0);
    set.apply([
        Change::Update(endpoint("a").with_weight(0)),
        Change::Update(endpoint("c").with_health(Health::Maintenance)),
    ]);
    assert!((0..100).all(|_| picker.pick().unwrap().id().as_str() == "b"));
    assert!(of(&picker, "a").drained && of(&picker, "c").drained && !of(&picker, "b").drained);
    assert_eq!(of(&picker, "a").calls, before);
    set.apply([Change::Update(endpoint("a"))]);
    for _ in 0..100 {
        picker.pick().unwrap().finish(Outcome::Success);
    }
    assert!(of(&picker, "a").calls > before);
}

#[test]
fn all_weights_zero_is_an_empty_set() {
    let set = EndpointSet::from_endpoints([endpoint("a").with_weight(0)]);
    assert!(Picker::new(set).pick().is_none());
}

#[test]
fn critical_endpoints_are_used_when_most_are_critical() {
    let critical = |id: &str| endpoint(id).with_health(Health::Critical);
    let set = EndpointSet::from_endpoints([critical("a"), endpoint("b"), endpoint("c")]);
    let mut picker = Picker::new(set.clone());
    assert!((0..100).all(|_| picker.pick().unwrap().id().as_str() != "a"));
    assert!(!picker.snapshot().panicking);
    set.apply([Change::Update(critical("b"))]);
    assert!(picker.snapshot().panicking, "one of three is less than half");
    assert!((0..100).any(|_| picker.pick().unwrap().id().as_str() == "a"));
}

#[test]
fn shares_follow_weights_when_idle() {
    let weights = [1_u16, 2, 5, 0, 12];
    let set = weights.iter().enumerate().map(|(n, w)| endpoint(&n.to_string()).with_weight(*w));
    let mut picker = Picker::with_config(set.collect(), seeded());
    let picks = 100_000_u64;
    for _ in 0..picks {
        picker.pick().unwrap().finish(Outcome::Success);
    }
    for endpoint in picker.snapshot().endpoints {
        let expected = picks * u64::from(endpoint.weight) / 20;
        // All are idle, so that the first draw wins, which goes by weight alone.
        assert!(endpoint.calls.abs_diff(expected) < picks / 100, "{endpoint:?} {expected}");
    }
}

fn seeded() -> seawall_load_balance::Config {
    let seed = seawall_test_support::seed();
    eprintln!("SEAWALL_SEED={seed}");
    seawall_load_balance::Config::builder().seed(seed).build().unwrap()
}

#[test]
fn clones_made_for_each_call_do_not_repeat_each_other() {
    let picker = Picker::with_config(common::endpoints(100), seeded());
    let mut picked: Vec<_> =
        (0..100).map(|_| picker.clone().pick().unwrap().id().clone()).collect();
    picked.sort();
    picked.dedup();
    assert!(picked.len() > 40, "{} of 100", picked.len());
}

#[test]
fn equal_seeds_give_equal_picks() {
    let config = || seawall_load_balance::Config::builder().seed(1).build().unwrap();
    let picks = || -> Vec<_> {
        let mut picker = Picker::with_config(common::endpoints(10), config());
        (0..100).map(|_| picker.pick().unwrap().id().to_string()).collect()
    };
    assert_eq!(picks(), picks());
}

#[tokio::test]
async fn a_stream_that_ends_leaves_the_last_endpoints_in_use() {
    let batches = stream::iter([
        vec![Change::Insert(endpoint("a")), Change::Insert(endpoint("b"))],
        vec![Change::Remove("a".into())],
    ]);
    let set = EndpointSet::from_stream(batches);
    while set.source() != Source::Ended {
        tokio::task::yield_now().await;
    }
    assert_eq!(Picker::new(set).pick().unwrap().id().as_str(), "b");
}

#[tokio::test]
async fn a_discovery_that_fails_leaves_the_last_endpoints_in_use() {
    use tower::discover::Change as TowerChange;
    let discover = stream::iter([
        Ok(TowerChange::Insert("a".into(), endpoint("a"))),
        Err(io::Error::other("registry is gone")),
        Ok(TowerChange::Remove("a".into())),
    ]);
    let set = EndpointSet::from_discover(discover);
    while set.source() != Source::Failed {
        tokio::task::yield_now().await;
    }
    let mut picker = Picker::new(set);
    assert!(picker.pick().is_some());
    assert_eq!(picker.snapshot().source, Source::Failed);
}

#[tokio::test]
async fn a_stream_that_panics_leaves_the_last_endpoints_in_use() {
    let batches = stream::iter([0, 1]).map(|number| match number {
        0 => vec![Change::Insert(endpoint("a"))],
        _ => panic!("a bug in a registry"),
    });
    let set = EndpointSet::from_stream(batches);
    while set.source() != Source::Failed {
        tokio::task::yield_now().await;
    }
    assert!(Picker::new(set).pick().is_some());
}

#[tokio::test]
async fn the_task_ends_with_the_last_handle() {
    let (changes, stream) = tokio::sync::mpsc::channel(1);
    let set = EndpointSet::from_stream(ReceiverStream::new(stream));
    changes.send(vec![Change::Insert(endpoint("a"))]).await.unwrap();
    let balancer = Picker::new(set.clone());
    drop(set);
    tokio::task::yield_now().await;
    assert!(!changes.is_closed(), "the balancer still follows");
    let clone = balancer.clone();
    drop(balancer);
    tokio::task::yield_now().await;
    assert!(!changes.is_closed(), "so does its clone");
    drop(clone);
    changes.closed().await;
}

#[test]
fn a_hundred_thousand_endpoints_are_picked_and_replaced() {
    let set = common::endpoints(100_000);
    let mut picker = Picker::new(set.clone());
    assert!((0..1000).all(|_| picker.pick().is_some()));
    set.apply([Change::Update(endpoint("e050000").with_weight(u16::MAX))]);
    assert!((0..1000).all(|_| picker.pick().is_some()));
    set.replace((0..100_000).map(|number| endpoint(&format!("f{number}")).with_weight(u16::MAX)));
    assert!((0..1000).all(|_| picker.pick().unwrap().id().as_str().starts_with('f')));
    assert_eq!(picker.snapshot().endpoints.len(), 100_000);
}

#[test]
fn who_is_drained_by_hand_stays_so_whatever_the_source_says() {
    let set = EndpointSet::from_endpoints([endpoint("a"), endpoint("b")]);
    let mut picker = Picker::new(set.clone());
    let mut is_picked =
        |id: &str| (0..100).any(|_| picker.pick().is_some_and(|picked| picked.id().as_str() == id));
    assert!(is_picked("a"));
    assert!(set.drain(&"a".into()));
    assert!(!set.drain(&"a".into()) && !set.drain(&"nobody".into()));
    assert!(!is_picked("a"));
    // The source speaks of it again, and it leaves and returns.
    set.apply([Change::Update(endpoint("a").with_weight(9))]);
    assert!(!is_picked("a"));
    set.apply([Change::Remove("a".into())]);
    set.apply([Change::Insert(endpoint("a").with_weight(9))]);
    assert!(!is_picked("a"));
    assert_eq!(set.endpoints()[0].weight(), 9, "the set shows what the source says");
    let mut late = Picker::new(set.clone());
    assert!((0..100).all(|_| late.pick().unwrap().id().as_str() == "b"));
    assert!(set.undrain(&"a".into()) && !set.undrain(&"a".into()));
    assert!(is_picked("a"));
}
