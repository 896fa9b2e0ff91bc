//! Priorities, zones and subsets, in front of any policy.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use common::{Probes, endpoint};
use proptest::prelude::*;
use seawall_core::{Change, Clock, Endpoint, Guard, Health, ManualClock, Outcome};
use seawall_load_balance::{
    Balancer, Config, ConfigBuilder, ConsistentHash, Ejection, EndpointSet, HashKey, Maglev,
    PeakEwma, PickContext, Picker, Policy, Ring, Roster, Rule, Select, Split, Tried, View,
    ZoneAware,
};
use tower::{Service, ServiceExt};

fn picker(set: EndpointSet, config: ConfigBuilder) -> (Picker, ManualClock) {
    let (clock, hand) = Clock::manual();
    let seed = seawall_test_support::seed();
    eprintln!("SEAWALL_SEED={seed}");
    (Picker::with_config(set, config.clock(clock).seed(seed).build().unwrap()), hand)
}

/// How many of `picks` go to endpoints whose id begins with each letter.
fn shares(picker: &mut Picker, context: PickContext<'_>, picks: usize) -> BTreeMap<char, usize> {
    let mut counts = BTreeMap::new();
    for _ in 0..picks {
        let picked = picker.pick_for(context).unwrap();
        *counts.entry(picked.id().as_str().chars().next().unwrap()).or_default() += 1;
        picked.finish(Outcome::Success);
    }
    counts
}

fn level(name: char, priority: u32, count: usize, well: usize) -> impl Iterator<Item = Endpoint> {
    (0..count).map(move |at| {
        let health = if at < well { Health::Passing } else { Health::Critical };
        endpoint(&format!("{name}{at:03}")).with_priority(priority).with_health(health)
    })
}

fn policies() -> Vec<Policy> {
    vec![
        Policy::PowerOfTwo,
        Policy::PeakEwma(PeakEwma::new()),
        Policy::RoundRobin,
        Policy::Random,
        Policy::LeastInFlight,
        Policy::ConsistentHash(ConsistentHash::ring(Ring::new())),
    ]
}

#[test]
fn the_first_priority_has_all_calls_while_it_is_well_under_every_policy() {
    for policy in policies() {
        let set = level('a', 0, 10, 10).chain(level('b', 7, 10, 10)).collect();
        let (mut picker, _) = picker(set, Config::builder().policy(policy.clone()));
        let shares = shares(&mut picker, PickContext::new(), 500);
        assert_eq!(shares, BTreeMap::from([('a', 500)]), "{policy:?}");
    }
}

#[test]
fn calls_spill_over_as_envoys_tables_say() {
    // Of a hundred endpoints this many are well; percentages for the two priorities.
    for (well, first) in [(72, 100), (71, 99), (50, 70), (25, 35), (0, 0)] {
        let set = level('a', 0, 100, well).chain(level('b', 1, 100, 100)).collect();
        let (mut picker, _) = picker(set, Config::builder());
        let routes = picker.snapshot().routes;
        let percents: Vec<_> = routes.iter().map(|route| route.percent).collect();
        assert_eq!(percents, [first, 100 - first], "{well} well");
        assert!(routes.iter().all(|route| !route.panicking), "the second bears it");
        let count = shares(&mut picker, PickContext::new(), 10_000).remove(&'a').unwrap_or(0);
        // Six standard deviations of half and half are 300.
        assert!(count.abs_diff(first as usize * 100) <= 300, "{count}, not {first} %");
    }
}

#[test]
fn ejection_fails_over_and_its_end_fails_back() {
    let set: EndpointSet = level('a', 0, 2, 2).chain(level('b', 1, 2, 2)).collect();
    let ejection = Ejection::new()
        .with_consecutive_failures(1)
        .with_max_percent(50)
        .with_base_time(Duration::from_secs(30));
    let config = Config::builder().ejection(ejection).panic_threshold(0);
    let (mut picker, hand) = picker(set, config);
    let ejected =
        |picker: &Picker| picker.snapshot().endpoints.iter().filter(|e| e.share == 0.0).count();
    assert_eq!(picker.snapshot().routes[0].percent, 100);
    for percent in [70, 0] {
        let before = ejected(&picker);
        while ejected(&picker) == before {
            let picked = picker.pick().unwrap();
            let first = picked.id().as_str().starts_with('a');
            picked.finish(if first { Outcome::Failure } else { Outcome::Success });
        }
        assert_eq!(picker.snapshot().routes[0].percent, percent);
    }
    assert_eq!(shares(&mut picker, PickContext::new(), 200), BTreeMap::from([('b', 200)]));
    hand.advance(Duration::from_secs(60));
    assert_eq!(shares(&mut picker, PickContext::new(), 200), BTreeMap::from([('a', 200)]));
}

#[test]
fn a_retry_goes_to_the_next_priority_before_it_goes_to_the_same_endpoint() {
    let set = level('a', 0, 1, 1).chain(level('b', 1, 1, 1)).collect();
    let (mut picker, _) = picker(set, Config::builder());
    let tried = Tried::new();
    let ids: Vec<_> =
        (0..2).map(|_| picker.pick_other_than(&tried).unwrap().id().to_string()).collect();
    assert_eq!(ids, ["a000", "b000"]);
    assert!(picker.pick_other_than(&tried).is_some(), "all were tried: all may be used");
}

#[test]
fn where_no_priority_is_well_all_are_used_again() {
    let set = level('a', 0, 10, 0).chain(level('b', 1, 10, 0)).collect();
    let (mut picker, _) = picker(set, Config::builder());
    assert!(picker.snapshot().routes.iter().all(|route| route.panicking));
    let shares = shares(&mut picker, PickContext::new(), 1000);
    assert!(shares[&'a'].abs_diff(500) < 100, "{shares:?}");
}

fn zone(name: char, count: usize) -> impl Iterator<Item = Endpoint> {
    (0..count).map(move |at| endpoint(&format!("{name}{at:03}")).with_zone(name.to_string()))
}

#[test]
fn calls_stay_in_their_zone_as_far_as_it_can_bear_them() {
    let of = |set: EndpointSet, zones| picker(set, Config::builder().zone_aware(zones)).0;
    let mut equal = of(zone('a', 10).chain(zone('b', 10)).collect(), ZoneAware::new("a"));
    assert_eq!(shares(&mut equal, PickContext::new(), 300), BTreeMap::from([('a', 300)]));
    // A quarter of the endpoints for half of the clients.
    let mut few = of(zone('a', 5).chain(zone('b', 15)).collect(), ZoneAware::new("a"));
    let stay = shares(&mut few, PickContext::new(), 10_000)[&'a'];
    assert!(stay.abs_diff(5000) <= 300, "{stay}");
    let zones = few.snapshot().routes[0].zones.clone();
    assert_eq!(zones, [(Some(Arc::from("a")), 50.0), (Some(Arc::from("b")), 50.0)]);
    let told = ZoneAware::new("a").with_clients("a", 1).with_clients("b", 3);
    let mut told = of(zone('a', 5).chain(zone('b', 15)).collect(), told);
    assert_eq!(shares(&mut told, PickContext::new(), 300), BTreeMap::from([('a', 300)]));
    let mut small = of(zone('a', 2).chain(zone('b', 3)).collect(), ZoneAware::new("a"));
    let shares = shares(&mut small, PickContext::new(), 10_000);
    assert!(shares[&'b'].abs_diff(6000) <= 300, "too few for zones to matter: {shares:?}");
}

fn canary() -> Split {
    Split::new()
        .with_subset("canary", Select::tag("canary"), 20)
        .with_subset("old", Select::metadata("version", "1"), 0)
        .with_subset("stable", Select::Rest, 80)
}

fn tagged() -> EndpointSet {
    let canary = (0..2).map(|at| endpoint(&format!("c{at}")).with_tags(["canary"]));
    let old = (0..2).map(|at| endpoint(&format!("o{at}")).with_metadata("version", "1"));
    canary.chain(old).chain((0..20).map(|at| endpoint(&format!("s{at}")))).collect()
}

#[test]
fn a_canary_has_its_part_of_the_calls_under_every_policy() {
    for policy in policies() {
        let (mut picker, _) =
            picker(tagged(), Config::builder().policy(policy.clone()).split(canary()));
        let shares = shares(&mut picker, PickContext::new(), 10_000);
        assert!(shares[&'c'].abs_diff(2000) <= 240, "{policy:?}: {shares:?}");
        assert_eq!(shares.get(&'o'), None, "{policy:?}: only those that name it");
    }
}

#[test]
fn a_call_may_name_its_subset_and_an_empty_one_is_none() {
    let set = tagged();
    let (mut picker, _) = picker(set.clone(), Config::builder().split(canary()));
    let old = PickContext::new().with_subset("old");
    assert_eq!(shares(&mut picker, old, 100), BTreeMap::from([('o', 100)]));
    let unknown = PickContext::new().with_subset("none");
    assert_eq!(shares(&mut picker, unknown, 1000).len(), 2);
    set.apply(["o0", "o1", "c0", "c1"].map(|id| Change::Remove(id.into())));
    assert_eq!(shares(&mut picker, old, 100), BTreeMap::from([('s', 100)]));
}

#[tokio::test(start_paused = true)]
async fn a_request_names_its_subset_and_a_set_that_nobody_takes_is_empty() {
    let probes = Probes::echo(&["a", "b"]);
    let set = EndpointSet::from_endpoints([endpoint("a").with_tags(["even"]), endpoint("b")]);
    let split = Split::new().with_subset("even", Select::tag("even"), 1).with_subset(
        "odd",
        Select::tag("odd"),
        1,
    );
    let mut balancer = Balancer::builder(set.clone(), probes.make())
        .config(Config::builder().split(split))
        .split_by(|request: &u32| {
            Some(if request.is_multiple_of(2) { "even" } else { "odd" }.into())
        })
        .build()
        .unwrap();
    for request in 0..10 {
        assert_eq!(balancer.ready().await.unwrap().call(request).await.unwrap(), "a");
    }
    set.apply([Change::Update(endpoint("b").with_tags(["odd"]))]);
    for request in 0..10 {
        let expected = if request % 2 == 0 { "a" } else { "b" };
        assert_eq!(balancer.ready().await.unwrap().call(request).await.unwrap(), expected);
    }
    set.replace([endpoint("a")]);
    assert!(balancer.ready().await.unwrap().call(1).await.is_err(), "refused after the wait");
}

#[test]
fn turns_in_a_part_are_exact_and_go_on_over_changes() {
    let set: EndpointSet = level('a', 0, 4, 4).chain(level('b', 1, 4, 4)).collect();
    let (mut picker, _) = picker(set.clone(), Config::builder().policy(Policy::RoundRobin));
    let mut counts = BTreeMap::<_, u32>::new();
    for pick in 0..400_u16 {
        *counts.entry(picker.pick().unwrap().id().clone()).or_default() += 1;
        set.apply([Change::Update(
            endpoint("b000").with_priority(1).with_metadata("at", pick.to_string()),
        )]);
    }
    assert_eq!(counts.into_values().collect::<Vec<_>>(), [100; 4]);
}

#[test]
fn equal_seeds_give_equal_turns_in_every_part() {
    let picks = || -> Vec<_> {
        let zones = (0..3).flat_map(|priority| {
            let zoned = zone('a', 20).chain(zone('b', 40)).enumerate();
            zoned.map(move |(at, e)| {
                Endpoint::new(format!("{priority}{at:03}"), e.address().clone())
                    .with_zone(e.zone().unwrap().to_owned())
                    .with_tags((at % 2 == 0).then_some("canary"))
                    .with_priority(priority)
            })
        });
        let config = Config::builder()
            .policy(Policy::RoundRobin)
            .split(canary())
            .zone_aware(ZoneAware::new("a"))
            .seed(7);
        let mut picker = Picker::with_config(zones.collect(), config.build().unwrap());
        (0..200).map(|_| picker.pick().unwrap().id().to_string()).collect()
    };
    let first = picks();
    for _ in 0..5 {
        assert_eq!(picks(), first);
    }
}

#[test]
fn a_key_keeps_its_endpoint_within_its_part() {
    let policy = Policy::ConsistentHash(ConsistentHash::ring(Ring::new()));
    let set = level('a', 0, 10, 10).chain(level('b', 1, 10, 10)).collect();
    let (mut picker, _) = picker(set, Config::builder().policy(policy));
    for key in 0..50_u32 {
        let context = PickContext::new().with_key(HashKey::of(key.to_le_bytes()));
        let first = picker.pick_for(context).unwrap().id().clone();
        assert_eq!(picker.pick_for(context).unwrap().id(), &first);
    }
}

/// Counts the tables that are made for it, by who is in them.
#[derive(Clone, Debug, Default)]
struct Counted(Arc<Mutex<Vec<String>>>);

impl Rule for Counted {
    type Table = ();

    fn prepare(&self, roster: &Roster<'_>) {
        let ids: Vec<_> = (0..roster.len()).map(|at| roster.id(at).as_str()).collect();
        if !ids.is_empty() {
            self.0.lock().unwrap().push(ids.join(" "));
        }
    }

    fn pick(&self, (): &(), view: &mut View<'_>) -> Option<usize> {
        (0..view.len()).find(|at| view.share(*at).is_some())
    }
}

#[test]
fn a_change_makes_anew_the_tables_of_the_parts_that_it_touches_alone() {
    let rule = Counted::default();
    let made = || std::mem::take(&mut *rule.0.lock().unwrap());
    let set: EndpointSet = level('a', 0, 2, 2).chain(level('b', 1, 2, 2)).collect();
    let config = Config::builder().policy(Policy::custom(rule.clone()));
    let (mut picker, _) = picker(set.clone(), config);
    assert_eq!(made(), ["a000 a001", "b000 b001"], "none for the whole");
    let change = |endpoint: Endpoint| {
        set.apply([Change::Insert(endpoint)]);
        made()
    };
    assert_eq!(change(endpoint("b000").with_priority(1).with_weight(7)), ["b000 b001"]);
    // A rule may look at anything that the set says.
    assert_eq!(change(endpoint("a001").with_metadata("size", "2")), ["a000 a001"]);
    // One that comes moves the places of all after it, but changes nobody else's table.
    assert_eq!(change(endpoint("a0005")), ["a000 a0005 a001"]);
    assert_eq!(change(endpoint("c000").with_priority(2)), ["c000"]);
    // From one part to another, both change.
    assert_eq!(change(endpoint("b001").with_priority(2)), ["b000", "b001 c000"]);
    set.apply(["a000", "a0005", "a001"].map(|id| Change::Remove(id.into())));
    assert_eq!(made(), [""; 0], "of those that are left, nobody changed");
    assert_eq!(picker.pick().unwrap().id().as_str(), "b000", "by the places that are now");
    // One part is the whole set, and the whole has a table again.
    set.replace([endpoint("x"), endpoint("y")]);
    assert_eq!(made(), ["x y"]);
    assert_eq!(picker.pick().unwrap().id().as_str(), "x");
    set.replace([endpoint("x"), endpoint("y").with_priority(1)]);
    assert_eq!(made(), ["x", "y"]);
}

#[test]
fn keys_in_parts_stay_where_they_are_over_any_row_of_changes() {
    // A table that is kept or mended must be the one that is made from nothing.
    let rules = [
        ConsistentHash::ring(Ring::new()),
        ConsistentHash::maglev(Maglev::new().with_cells(2039)),
        ConsistentHash::rendezvous(),
    ];
    for (rule, zoned) in rules.iter().flat_map(|rule| [(rule, false), (rule, true)]) {
        let config = || {
            let zones = zoned.then(|| ZoneAware::new("a").with_min_endpoints(1));
            let policy = Policy::ConsistentHash(rule.clone());
            Config::builder().policy(policy).zone_aware(zones).split(canary())
        };
        let set: EndpointSet = tagged();
        let (mut grown, _) = picker(set.clone(), config());
        let mut rng = fastrand::Rng::with_seed(7);
        for step in 0..30 {
            let id = format!("{}{}", ["c", "s", "t"][rng.usize(..3)], rng.u8(..6));
            let change = match rng.u8(..4) {
                0 => Change::Remove(id.as_str().into()),
                _ => Change::Insert(
                    endpoint(&id)
                        .with_weight(rng.u16(1..4))
                        .with_priority(rng.u32(..2))
                        .with_zone(["a", "b"][rng.usize(..2)])
                        .with_tags(id.starts_with('c').then_some("canary")),
                ),
            };
            set.apply([change]);
            let fresh = set.endpoints().iter().map(|endpoint| Endpoint::clone(endpoint)).collect();
            let (mut fresh, _) = picker(fresh, config());
            while !(grown.is_settled() && fresh.is_settled()) {
                std::thread::yield_now();
            }
            assert_eq!(grown.snapshot().routes, fresh.snapshot().routes, "{rule:?}, step {step}");
            for key in 0..20_u32 {
                let key = HashKey::of(key.to_le_bytes());
                for subset in ["canary", "stable"] {
                    let context = PickContext::new().with_key(key).with_subset(subset);
                    // The part is drawn, so all that the key has in the parts is compared.
                    let owners = |picker: &mut Picker| -> std::collections::BTreeSet<_> {
                        (0..12).map(|_| picker.pick_for(context).unwrap().id().clone()).collect()
                    };
                    let routes = grown.snapshot().routes;
                    let own = routes.iter().filter(|r| r.subset.as_deref() == Some(subset));
                    if own.clone().any(|r| r.zones.iter().any(|(_, part)| *part % 100.0 != 0.0)) {
                        // A rare zone may be drawn for one of them alone.
                        continue;
                    }
                    assert_eq!(owners(&mut grown), owners(&mut fresh), "{rule:?}, step {step}");
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn shares_of_subsets_follow_their_weights(
        weights in proptest::collection::vec(0..100_u32, 1..5),
        seed: u64,
    ) {
        prop_assume!(weights.iter().any(|weight| *weight > 0));
        let letter = |at: usize| char::from(b'a' + at as u8);
        let mut split = Split::new();
        let mut all = Vec::new();
        for (at, weight) in weights.iter().enumerate() {
            let name = letter(at).to_string();
            split = split.with_subset(name.clone(), Select::tag(name.clone()), *weight);
            all.push(endpoint(&name).with_tags([name]));
        }
        let config = Config::builder().split(split).seed(seed).build().unwrap();
        let mut picker = Picker::with_config(all.into_iter().collect(), config);
        let shares = shares(&mut picker, PickContext::new(), 4000);
        let sum: u32 = weights.iter().sum();
        for (at, weight) in weights.iter().enumerate() {
            let expected = f64::from(*weight) / f64::from(sum) * 4000.0;
            let count = shares.get(&letter(at)).copied().unwrap_or(0) as f64;
            // Six standard deviations of a half are 190.
            prop_assert!((count - expected).abs() < 195.0, "{count}, not {expected}");
        }
    }
}
