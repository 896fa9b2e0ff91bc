//! A pick and its guard allocate nothing, and neither does a call that is sent once.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::{
    future::{Ready, ready},
    hint::black_box,
    task::{Context, Poll},
};

use common::{endpoint, endpoints};
use seawall_core::{Clock, Endpoint, Guard, Health, Outcome};
use seawall_load_balance::{
    AbsentKey, Balancer, Config, ConsistentHash, Ejection, EndpointSet, HashKey, Maglev, PeakEwma,
    PickContext, Picker, Policy, Ring, Roster, Rule, Select, SlowStart, Split, Subset, View,
    ZoneAware,
};
use seawall_test_support::{CountingAllocator, allocations};
use tower::Service;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator::new();

#[derive(Debug)]
struct Any;

impl Rule for Any {
    type Table = ();

    fn prepare(&self, _: &Roster<'_>) {}

    fn pick(&self, (): &(), view: &mut View<'_>) -> Option<usize> {
        let at = view.draw();
        view.share(at).map(|_| at)
    }
}

fn picks(picker: &mut Picker) {
    for number in 0..10_000_u32 {
        picker.pick().unwrap().finish(Outcome::Success);
        drop(black_box(picker.pick().unwrap()));
        drop(black_box(picker.clone()));
        let key = HashKey::of(number.to_le_bytes());
        picker.pick_for(PickContext::new().with_key(key)).unwrap().finish(Outcome::Success);
    }
}

#[test]
fn a_pick_its_guard_and_a_clone_allocate_nothing() {
    let weighted: EndpointSet =
        (0..1000).map(|n| endpoint(&n.to_string()).with_weight(n % 7)).collect();
    let policies = [
        Policy::PeakEwma(PeakEwma::new()),
        Policy::RoundRobin,
        Policy::Random,
        Policy::LeastInFlight,
        Policy::custom(Any),
    ];
    let policies = policies.map(|policy| Config::builder().policy(policy).build().unwrap());
    let ejection = Ejection::new().with_abandoned_after(std::time::Duration::from_secs(1));
    let slow_start = SlowStart::new(std::time::Duration::from_secs(60));
    let watchful = Config::builder().ejection(ejection).slow_start(slow_start).build().unwrap();
    let others = policies.map(|config| Picker::with_config(weighted.clone(), config));
    let first = [
        Picker::new(endpoints(1)),
        Picker::new(endpoints(1000)),
        Picker::new(weighted.clone()),
        Picker::with_config(weighted.clone(), watchful),
    ];
    let hashed = [
        ConsistentHash::ring(Ring::new()),
        ConsistentHash::ring(Ring::ketama()).with_absent_key(AbsentKey::RoundRobin),
        ConsistentHash::maglev(Maglev::new()).with_bounded_load(110),
        ConsistentHash::rendezvous(),
    ];
    let by_key = hashed.map(|rule| {
        let config = Config::builder().policy(Policy::ConsistentHash(rule)).build().unwrap();
        Picker::with_config(weighted.clone(), config)
    });
    for mut picker in first.into_iter().chain(others).chain(by_key) {
        // Makes every service, and what a thread needs once.
        let unmade = |picker: &Picker| {
            picker
                .snapshot()
                .endpoints
                .iter()
                .any(|endpoint| !endpoint.drained && endpoint.calls == 0)
        };
        while unmade(&picker) {
            picks(&mut picker);
        }
        assert_eq!(allocations(|| picks(&mut picker)), 0);
    }
}

/// Three priorities of two zones, with a canary in each, and one endpoint of ten critical.
fn in_parts(unwell: bool) -> EndpointSet {
    (0..600_u32)
        .map(|n| {
            let health =
                if unwell && n.is_multiple_of(10) { Health::Critical } else { Health::Passing };
            endpoint(&format!("{n:04}"))
                .with_weight(1 + (n % 3) as u16)
                .with_priority(n % 3)
                .with_zone(["a", "b"][n as usize / 3 % 2])
                .with_tags((n % 7 == 0).then_some("canary"))
                .with_health(health)
        })
        .collect()
}

#[test]
fn a_pick_in_one_of_many_parts_allocates_nothing_under_any_policy() {
    let hashed = [
        ConsistentHash::ring(Ring::new()),
        ConsistentHash::maglev(Maglev::new()),
        ConsistentHash::maglev(Maglev::new()).with_bounded_load(110),
        ConsistentHash::rendezvous(),
    ];
    let mut policies = vec![
        Policy::PowerOfTwo,
        Policy::PeakEwma(PeakEwma::new()),
        Policy::RoundRobin,
        Policy::Random,
        Policy::LeastInFlight,
        Policy::custom(Any),
    ];
    policies.extend(hashed.map(Policy::ConsistentHash));
    for policy in policies {
        for unwell in [false, true] {
            let split = Split::new().with_subset("canary", Select::tag("canary"), 20).with_subset(
                "stable",
                Select::Rest,
                80,
            );
            // Who is well is counted a few times a second while somebody is not, which one pick
            // pays for; on this clock no time passes.
            let (clock, _hand) = Clock::manual();
            let config = Config::builder()
                .policy(policy.clone())
                .split(split)
                .zone_aware(ZoneAware::new("a"))
                .subset(Subset::new(3, 200))
                .clock(clock);
            let mut picker = Picker::with_config(in_parts(unwell), config.build().unwrap());
            while !picker.is_settled() {
                std::thread::yield_now();
            }
            let mut picks = || {
                for number in 0..2000_u32 {
                    let key = HashKey::of(number.to_le_bytes());
                    let context = PickContext::new().with_key(key);
                    picker.pick_for(context).unwrap().finish(Outcome::Success);
                    let named = context.with_subset("canary");
                    picker.pick_for(named).unwrap().finish(Outcome::Failure);
                    drop(black_box(picker.clone().pick().unwrap()));
                }
            };
            // Ejections, and the first count after them.
            picks();
            assert_eq!(allocations(picks), 0, "{policy:?}, unwell: {unwell}");
        }
    }
}

#[derive(Clone)]
struct Echo;

impl Service<u64> for Echo {
    type Response = u64;
    type Error = std::io::Error;
    type Future = Ready<Result<u64, std::io::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), std::io::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: u64) -> Self::Future {
        ready(Ok(request))
    }
}

#[test]
fn a_call_that_is_sent_once_allocates_nothing() {
    let mut balancer =
        Balancer::builder(endpoints(10), |_: &Endpoint| Ok::<_, std::io::Error>(Echo))
            .build()
            .unwrap();
    let waker = futures::task::noop_waker();
    let mut calls = || {
        for request in 0..1000 {
            let mut call = std::pin::pin!(balancer.call(request));
            match call.as_mut().poll(&mut Context::from_waker(&waker)) {
                Poll::Ready(Ok(response)) => assert_eq!(response, request),
                other => panic!("{other:?}"),
            }
        }
    };
    calls();
    assert_eq!(allocations(calls), 0);
}
