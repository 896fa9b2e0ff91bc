//! Each client to its part of the endpoints.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::collections::{BTreeMap, BTreeSet};

use common::{endpoint, endpoints};
use seawall_core::{Change, Endpoint, Guard, Health, Outcome};
use seawall_load_balance::{Balancer, Config, EndpointSet, Picker, Subset};

fn picker(set: &EndpointSet, client: u32, size: u32) -> Picker {
    let config = Config::builder().subset(Subset::new(client, size)).build().unwrap();
    Picker::with_config(set.clone(), config)
}

fn used(picker: &Picker) -> BTreeSet<String> {
    let endpoints = picker.snapshot().endpoints.into_iter();
    endpoints.filter(|endpoint| !endpoint.drained).map(|endpoint| endpoint.id.to_string()).collect()
}

#[test]
fn calls_stay_within_the_subset_and_all_clients_load_all_endpoints_alike() {
    let set = endpoints(60);
    let mut counts = BTreeMap::<String, u32>::new();
    for client in 0..60 {
        let mut picker = picker(&set, client, 10);
        let own = used(&picker);
        assert_eq!(own.len(), 10);
        for _ in 0..100 {
            let picked = picker.pick().unwrap();
            assert!(own.contains(picked.id().as_str()));
            *counts.entry(picked.id().to_string()).or_default() += 1;
            picked.finish(Outcome::Success);
        }
    }
    // 100 each, of 1,000 draws with a chance of a tenth: six standard deviations are 57.
    assert!(counts.len() == 60 && counts.values().all(|n| n.abs_diff(100) < 60), "{counts:?}");
}

#[test]
fn a_removed_endpoint_is_replaced_and_drained_ones_are_no_part() {
    // Without one, there are still six subsets.
    let set = endpoints(63);
    let mut picker = picker(&set, 3, 10);
    let before = used(&picker);
    let gone = before.first().unwrap().clone();
    set.apply([Change::Remove(gone.as_str().into())]);
    let after = used(&picker);
    assert!(after.len() >= 10 && !after.contains(&gone), "{after:?}");
    assert!(before.intersection(&after).count() >= 7, "{before:?} became {after:?}");
    let held = after.first().unwrap().clone();
    set.apply([Change::Update(endpoint(&held).with_health(Health::Maintenance))]);
    assert!(!used(&picker).contains(&held));
    set.apply([Change::Update(endpoint(&held)), Change::Insert(endpoint(&gone))]);
    assert_eq!(used(&picker), before);
    assert!(before.contains(picker.pick().unwrap().id().as_str()));
}

#[test]
fn a_set_that_is_not_twice_the_subset_is_used_whole() {
    assert_eq!(used(&picker(&endpoints(19), 5, 10)).len(), 19);
    assert_eq!(used(&picker(&endpoints(20), 5, 10)).len(), 10);
    assert_eq!(used(&picker(&endpoints(0), 5, 10)).len(), 0);
}

#[test]
fn an_endpoint_that_leaves_the_subset_is_disconnected() {
    let set = endpoints(19);
    let make = |_: &Endpoint| Ok::<_, std::io::Error>(());
    let config = Config::builder().subset(Subset::new(0, 10));
    let mut balancer = Balancer::builder(set.clone(), make).config(config).build().unwrap();
    while balancer.services().len() < 19 {
        drop(balancer.pick_service(None));
    }
    set.apply([Change::Insert(endpoint("e000019"))]);
    let left = balancer.services().len();
    assert!(left == 10 || left == 9, "{left} services are left");
    (0..100).for_each(|_| drop(balancer.pick_service(None)));
    assert!(balancer.services().len() == 10);
}
