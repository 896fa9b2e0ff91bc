//! Calls that belong together go to one endpoint.
#![cfg(feature = "http")]
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    time::Duration,
};

use common::{endpoint, endpoints};
use http::{Request, Response, header::SET_COOKIE};
use proptest::prelude::*;
use seawall_core::{Change, Clock, Endpoint, EndpointId, Guard, Health, ManualClock, Outcome};
use seawall_load_balance::{
    AbsentKey, Balancer, Config, ConsistentHash, Ejection, EndpointSet, HashKey, KeyFrom, Maglev,
    PickContext, Picked, Picker, Policy, Ring, SlowStart, StickyLayer, Tried,
};
use tower::{Layer, ServiceExt, service_fn};

fn rules() -> [ConsistentHash; 4] {
    [
        ConsistentHash::ring(Ring::new()),
        ConsistentHash::ring(Ring::ketama()),
        ConsistentHash::maglev(Maglev::new()),
        ConsistentHash::rendezvous(),
    ]
}

fn picker(set: &EndpointSet, rule: ConsistentHash) -> Picker {
    let config = Config::builder().policy(Policy::ConsistentHash(rule)).ejection(None);
    Picker::with_config(set.clone(), config.build().unwrap())
}

fn user(number: u32) -> PickContext<'static> {
    PickContext::new().with_key(HashKey::of(number.to_le_bytes()))
}

fn pick(picker: &mut Picker, context: PickContext<'_>) -> Picked {
    picker.pick_for(context).unwrap()
}

fn owners(picker: &mut Picker, users: u32) -> Vec<EndpointId> {
    (0..users).map(|number| pick(picker, user(number)).id().clone()).collect()
}

#[test]
fn two_processes_with_one_set_agree_however_it_came_to_be() {
    for rule in rules() {
        let (at_once, grown) = (endpoints(50), endpoints(70));
        let mut first = picker(&at_once, rule.clone());
        let mut second = picker(&grown, rule.clone());
        let gone = (50..70).map(|number| Change::Remove(format!("e{number:06}").into()));
        grown.apply(gone);
        grown.apply([Change::Remove("e000007".into())]);
        grown.apply([Change::Insert(endpoint("e000007"))]);
        assert_eq!(owners(&mut first, 2000), owners(&mut second, 2000), "{rule:?}");
    }
}

#[test]
fn a_seed_places_everything_anew() {
    for rule in [rules()[0].clone(), rules()[2].clone(), rules()[3].clone()] {
        let set = endpoints(50);
        let plain = owners(&mut picker(&set, rule.clone()), 1000);
        let seeded = owners(&mut picker(&set, rule.clone().with_seed(1)), 1000);
        let same = plain.iter().zip(&seeded).filter(|(a, b)| a == b).count();
        assert!(same < 100, "{same} of 1,000 stayed, {rule:?}");
    }
}

#[test]
fn only_the_keys_of_an_endpoint_that_is_unwell_move_and_they_come_back() {
    for rule in rules() {
        let set = endpoints(20);
        let mut picker = picker(&set, rule.clone());
        let before = owners(&mut picker, 2000);
        let sick = endpoint("e000003").with_health(Health::Critical);
        set.apply([Change::Update(sick)]);
        let mut heirs = BTreeSet::new();
        for (old, new) in before.iter().zip(owners(&mut picker, 2000)) {
            if old.as_str() == "e000003" {
                assert_ne!(*old, new, "{rule:?}");
                heirs.insert(new);
            } else {
                assert_eq!(*old, new, "{rule:?}");
            }
        }
        assert!(heirs.len() > 5, "all keys went to {heirs:?}, {rule:?}");
        set.apply([Change::Update(endpoint("e000003"))]);
        assert_eq!(owners(&mut picker, 2000), before, "{rule:?}");
    }
}

#[test]
fn an_ejected_endpoint_is_passed_over_and_below_the_panic_threshold_used_again() {
    let set = endpoints(4);
    let ejection = Ejection::new().with_consecutive_failures(1).with_max_percent(100);
    let rule = ConsistentHash::ring(Ring::new());
    let config = Config::builder().policy(Policy::ConsistentHash(rule)).ejection(ejection);
    let mut picker = Picker::with_config(set, config.build().unwrap());
    let first = pick(&mut picker, user(1));
    let own = first.id().clone();
    first.finish(Outcome::Failure);
    let mut others = BTreeSet::from([own.clone()]);
    for _ in 0..2 {
        let next = pick(&mut picker, user(1));
        assert!(others.insert(next.id().clone()), "{next:?}");
        next.finish(Outcome::Failure);
    }
    // Three of four are out: less than half are well, so all are used again.
    assert_eq!(*pick(&mut picker, user(1)).id(), own);
}

#[test]
fn a_retry_goes_to_the_next_endpoint_of_the_key_and_to_all_in_turn() {
    for rule in rules() {
        let set = endpoints(5);
        let (mut one, mut two) = (picker(&set, rule.clone()), picker(&set, rule.clone()));
        let (tried, other) = (Tried::new(), Tried::new());
        let row = |picker: &mut Picker, tried: &Tried| -> Vec<_> {
            let context = user(7).with_tried(tried);
            (0..5).map(|_| pick(picker, context).id().clone()).collect()
        };
        let first = row(&mut one, &tried);
        assert_eq!(first.iter().collect::<BTreeSet<_>>().len(), 5, "{first:?}, {rule:?}");
        assert_eq!(row(&mut two, &other), first, "{rule:?}");
    }
}

#[test]
fn the_only_one_that_fits_is_found_however_few_points_it_has() {
    for rule in rules() {
        let heavy = (0..40).map(|number| {
            endpoint(&format!("e{number:06}")).with_weight(1000).with_health(Health::Critical)
        });
        let set: EndpointSet = heavy.chain([endpoint("light").with_weight(300)]).collect();
        let config = Config::builder().policy(Policy::ConsistentHash(rule)).panic_threshold(0);
        let mut picker = Picker::with_config(set, config.build().unwrap());
        for number in 0..20 {
            assert_eq!(pick(&mut picker, user(number)).id().as_str(), "light");
        }
    }
}

#[test]
fn calls_without_a_key_go_where_the_policy_says() {
    let of = |absent, picks: usize| {
        let rule = ConsistentHash::ring(Ring::new()).with_absent_key(absent);
        let mut picker = picker(&endpoints(10), rule);
        let mut counts = BTreeMap::<_, usize>::new();
        for _ in 0..picks {
            *counts.entry(picker.pick().unwrap().id().to_string()).or_default() += 1;
        }
        counts
    };
    let first = of(AbsentKey::First, 100);
    assert_eq!(first, BTreeMap::from([("e000000".to_owned(), 100)]));
    let turns = of(AbsentKey::RoundRobin, 100);
    assert!(turns.len() == 10 && turns.values().all(|count| *count == 10), "{turns:?}");
    let random = of(AbsentKey::Random, 10_000);
    assert!(random.values().all(|count| count.abs_diff(1000) < 200), "{random:?}");
}

#[test]
fn in_a_slow_start_each_key_moves_once() {
    let (clock, hand): (_, ManualClock) = Clock::manual();
    let set = endpoints(4);
    let rule = ConsistentHash::rendezvous();
    let config = Config::builder()
        .policy(Policy::ConsistentHash(rule))
        .slow_start(SlowStart::new(Duration::from_secs(100)))
        .clock(clock);
    let mut picker = Picker::with_config(set.clone(), config.build().unwrap());
    let mut before = owners(&mut picker, 2000);
    set.apply([Change::Insert(endpoint("new"))]);
    let mut counts = Vec::new();
    for _ in 0..=100 {
        let after = owners(&mut picker, 2000);
        for (old, new) in before.iter().zip(&after) {
            assert!(old == new || new.as_str() == "new", "{old} to {new}");
        }
        counts.push(after.iter().filter(|id| id.as_str() == "new").count());
        before = after;
        hand.advance(Duration::from_secs(1));
    }
    assert!(counts.is_sorted() && counts[0] < 100, "{counts:?}");
    assert!(counts[50] > 100 && counts[100].abs_diff(400) < 100, "{counts:?}");
}

/// What an endpoint of this weight may have in flight.
fn cap(percent: u64, in_flight: u64, weight: u64, weights: u64) -> u64 {
    (percent * (in_flight + 1) * weight).div_ceil(100 * weights)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_bounded_load_never_passes_its_cap(
        weights in proptest::collection::vec(1..6_u16, 2..12),
        which in 0..4_usize,
        percent in prop_oneof![Just(100_u32), 101..200_u32],
        steps in proptest::collection::vec((0..4_u8, 0..5_u32, any::<prop::sample::Index>()), 1..200),
    ) {
        let named = weights.iter().enumerate();
        let set: EndpointSet = named
            .map(|(at, weight)| endpoint(&format!("e{at}")).with_weight(*weight))
            .collect();
        let all: u64 = weights.iter().map(|weight| u64::from(*weight)).sum();
        let mut picker = picker(&set, rules()[which].clone().with_bounded_load(percent));
        let mut held: Vec<Picked> = Vec::new();
        for (kind, key, end) in steps {
            if kind == 0 && !held.is_empty() {
                let at = end.index(held.len());
                held.swap_remove(at).finish(Outcome::Success);
                continue;
            }
            let before = held.len() as u64;
            let context = if kind == 1 { PickContext::new() } else { user(key) };
            let picked = pick(&mut picker, context);
            let (id, weight) = (picked.id().clone(), u64::from(picked.endpoint().weight()));
            held.push(picked);
            let has = held.iter().filter(|held| *held.id() == id).count() as u64;
            let cap = cap(percent.into(), before, weight, all);
            prop_assert!(has <= cap, "{id} has {has} of {cap}, {before} in flight before");
        }
        drop(held);
        prop_assert!(picker.snapshot().endpoints.iter().all(|endpoint| endpoint.in_flight == 0));
    }
}

#[test]
fn a_bounded_load_keeps_its_cap_among_threads() {
    let set = endpoints(8);
    let picker = picker(&set, ConsistentHash::ring(Ring::new()).with_bounded_load(125));
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let mut picker = picker.clone();
            scope.spawn(move || {
                for _ in 0..2000 {
                    let held: Vec<_> = (0..10).map(|_| pick(&mut picker, user(thread))).collect();
                    held.into_iter().for_each(|picked| picked.finish(Outcome::Success));
                }
            });
        }
        let watch = picker.clone();
        scope.spawn(move || {
            for _ in 0..2000 {
                // At most 40 in flight, so that nobody may ever have more than ceil(1.25 * 40 / 8);
                // each of the four threads may just be about to give one back.
                let most = watch.snapshot().endpoints.iter().map(|e| e.in_flight).max().unwrap();
                assert!(most <= 7 + 4, "{most} in flight");
            }
        });
    });
    assert!(picker.snapshot().endpoints.iter().all(|endpoint| endpoint.in_flight == 0));
}

#[test]
fn a_table_that_is_too_small_for_the_set_is_refused_at_build() {
    let rule = ConsistentHash::maglev(Maglev::new().with_cells(7));
    let config = Config::builder().policy(Policy::ConsistentHash(rule));
    let make = |_: &Endpoint| Ok::<_, Infallible>(());
    let build = |count| Balancer::builder(endpoints(count), make).config(config.clone()).build();
    assert!(build(7).is_ok());
    let error = build(8).unwrap_err();
    assert_eq!(error.field(), "policy.consistent_hash.maglev.cells");
}

/// A service that answers with the id of the endpoint.
type Named = tower::util::BoxCloneSyncService<Request<()>, Response<String>, Infallible>;

fn named(endpoint: &Endpoint) -> Result<Named, Infallible> {
    let id = endpoint.id().to_string();
    let answer = move |_: Request<()>| std::future::ready(Ok(Response::new(id.clone())));
    Ok(Named::new(service_fn(answer)))
}

fn config() -> seawall_load_balance::ConfigBuilder {
    Config::builder().policy(Policy::ConsistentHash(ConsistentHash::ring(Ring::new())))
}

#[tokio::test]
async fn a_service_finds_the_key_in_the_request() {
    let from = KeyFrom::header("x-user").unwrap().or(KeyFrom::path());
    let balancer =
        Balancer::builder(endpoints(50), named).config(config()).hash_key(from).build().unwrap();
    let mut alone = Picker::with_config(endpoints(50), config().build().unwrap());
    for number in 0..50 {
        let by_header = Request::get("/").header("x-user", number).body(()).unwrap();
        let by_path = Request::get(format!("/{number}?a")).body(()).unwrap();
        for (request, key) in [(by_header, number.to_string()), (by_path, format!("/{number}"))] {
            let context = PickContext::new().with_key(HashKey::of(key));
            let expected = pick(&mut alone, context).id().to_string();
            assert_eq!(balancer.clone().oneshot(request).await.unwrap().into_body(), expected);
        }
    }
}

#[tokio::test]
async fn a_service_takes_keys_from_a_function() {
    let by_user = |request: &Request<()>| {
        request.extensions().get().map(|user: &u64| HashKey::of(user.to_le_bytes()))
    };
    let balancer =
        Balancer::builder(endpoints(50), named).config(config()).hash_key(by_user).build().unwrap();
    let mut met = BTreeSet::new();
    for _ in 0..20 {
        let mut request = Request::new(());
        request.extensions_mut().insert(7_u64);
        met.insert(balancer.clone().oneshot(request).await.unwrap().into_body());
    }
    assert_eq!(met.len(), 1);
}

#[tokio::test]
async fn a_first_response_sets_the_cookie_that_leads_back_to_its_endpoint() {
    let set = endpoints(50);
    let balancer = Balancer::builder(set.clone(), named)
        .config(config())
        .hash_key(KeyFrom::cookie("route"))
        .build()
        .unwrap();
    let gateway = StickyLayer::new("route").unwrap().layer(balancer);
    let mut owners = BTreeSet::new();
    for _ in 0..20 {
        let first = gateway.clone().oneshot(Request::new(())).await.unwrap();
        let line = first.headers()[SET_COOKIE].to_str().unwrap().to_owned();
        let pair = line.split(';').next().unwrap();
        let owner = first.into_body();
        for _ in 0..5 {
            let request = Request::get("/").header("cookie", pair).body(()).unwrap();
            let next = gateway.clone().oneshot(request).await.unwrap();
            assert!(!next.headers().contains_key(SET_COOKIE));
            assert_eq!(*next.body(), owner);
        }
        set.apply([Change::Remove(owner.as_str().into())]);
        let request = Request::get("/").header("cookie", pair).body(()).unwrap();
        let next = gateway.clone().oneshot(request).await.unwrap();
        assert!(*next.body() != owner && !next.headers().contains_key(SET_COOKIE));
        set.apply([Change::Insert(endpoint(&owner))]);
        owners.insert(owner);
    }
    assert!(owners.len() > 5, "{owners:?}");
}
