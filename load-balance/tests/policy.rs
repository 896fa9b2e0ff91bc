//! What each policy makes of endpoints that differ.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::{collections::BTreeMap, time::Duration};

use common::{endpoint, endpoints, of};
use seawall_core::{Change, Clock, Guard, Health, ManualClock, Outcome};
use seawall_load_balance::{
    Config, EndpointSet, HashKey, PeakEwma, PickContext, Picked, Picker, Policy, Roster, Rule,
    Tried, View,
};

const MILLI: Duration = Duration::from_millis(1);

fn picker(set: EndpointSet, policy: Policy) -> (Picker, ManualClock) {
    let (clock, hand) = Clock::manual();
    let seed = seawall_test_support::seed();
    eprintln!("SEAWALL_SEED={seed}");
    let config = Config::builder().policy(policy).clock(clock).seed(seed).ejection(None);
    (Picker::with_config(set, config.build().unwrap()), hand)
}

fn counts(picker: &mut Picker, picks: usize) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for _ in 0..picks {
        let picked = picker.pick().unwrap();
        *counts.entry(picked.id().to_string()).or_default() += 1;
        picked.finish(Outcome::Success);
    }
    counts
}

fn answer(mut picked: Picked, hand: &ManualClock, after: Duration, outcome: Outcome) {
    hand.advance(after);
    if outcome == Outcome::Success {
        picked.answered();
    }
    picked.finish(outcome);
}

fn weighted(weights: &[u16]) -> EndpointSet {
    let endpoints = weights.iter().enumerate();
    endpoints.map(|(at, weight)| endpoint(&format!("{at:03}")).with_weight(*weight)).collect()
}

#[test]
fn round_robin_gives_exact_shares_in_each_cycle_to_all_clones_together() {
    for weights in [vec![1, 1, 1], vec![5, 1, 1], (1..=90).collect::<Vec<_>>()] {
        let (mut one, _) = picker(weighted(&weights), Policy::RoundRobin);
        let mut two = one.clone();
        let cycle: usize = weights.iter().map(|weight| usize::from(*weight)).sum();
        let mut all = counts(&mut one, cycle / 2);
        for (id, count) in counts(&mut two, cycle - cycle / 2) {
            *all.entry(id).or_default() += count;
        }
        let all: Vec<_> = all.into_values().map(|count| count as u16).collect();
        assert_eq!(all, weights);
    }
}

#[test]
fn round_robin_starts_anywhere() {
    let starts = |seed| {
        let config = Config::builder().policy(Policy::RoundRobin).seed(seed).build().unwrap();
        Picker::with_config(endpoints(10), config).pick().unwrap().id().clone()
    };
    let mut starts: Vec<_> = (0..100).map(starts).collect();
    starts.sort();
    starts.dedup();
    assert!(starts.len() > 5, "{starts:?}");
}

#[test]
fn round_robin_passes_over_what_may_not_be_picked() {
    let set = endpoints(4);
    set.apply([Change::Update(endpoint("e000001").with_health(Health::Critical))]);
    let (mut picker, _) = picker(set, Policy::RoundRobin);
    let counts = counts(&mut picker, 300);
    assert_eq!(counts.len(), 3, "{counts:?}");
    let tried = Tried::new();
    let ids: Vec<_> =
        (0..3).map(|_| picker.pick_other_than(&tried).unwrap().id().clone()).collect();
    assert!(ids[0] != ids[1] && ids[1] != ids[2] && ids[2] != ids[0], "{ids:?}");
}

#[test]
fn random_follows_the_weights() {
    let (mut picker, _) = picker(weighted(&[1, 2, 5, 12]), Policy::Random);
    for (id, count) in counts(&mut picker, 100_000) {
        let expected = usize::from(of(&picker, &id).weight) * 5000;
        assert!(count.abs_diff(expected) < 1000, "{id}: {count} of {expected}");
    }
}

#[test]
fn peak_ewma_prefers_the_fast_and_follows_when_that_changes() {
    let (mut picker, hand) = picker(endpoints(2), Policy::PeakEwma(PeakEwma::new()));
    let mut run = |slow: &str| {
        let mut calls = BTreeMap::<String, u32>::new();
        for _ in 0..2000 {
            let picked = picker.pick().unwrap();
            *calls.entry(picked.id().to_string()).or_default() += 1;
            let latency = if picked.id().as_str() == slow { 100 * MILLI } else { 5 * MILLI };
            answer(picked, &hand, latency, Outcome::Success);
        }
        let slow = calls.get(slow).copied().unwrap_or_default();
        assert!(slow < 100, "{slow} of 2,000 calls went to the slow endpoint");
    };
    run("e000000");
    run("e000001");
}

#[test]
fn to_peak_ewma_a_failure_is_no_fast_answer() {
    let (mut picker, hand) = picker(endpoints(2), Policy::PeakEwma(PeakEwma::new()));
    let mut failures = 0;
    for _ in 0..2000 {
        let picked = picker.pick().unwrap();
        if picked.id().as_str() == "e000000" {
            failures += 1;
            answer(picked, &hand, Duration::ZERO, Outcome::Failure);
        } else {
            answer(picked, &hand, 5 * MILLI, Outcome::Success);
        }
    }
    // One penalty, then silence, which leads back to the average in about 50 s.
    assert!(failures < 20, "{failures} of 2,000 calls failed");
    assert_eq!(of(&picker, "e000000").latency, Some(Duration::from_secs(1)));
}

#[test]
fn the_penalty_of_a_failure_is_what_it_is_set_to_and_never_less_than_the_time_it_took() {
    let share_of_failing = |penalty: Duration| {
        let ewma = PeakEwma::new().with_failure_penalty(penalty);
        let (mut picker, hand) = picker(endpoints(2), Policy::PeakEwma(ewma));
        let mut failing = 0;
        for _ in 0..1000 {
            let picked = picker.pick().unwrap();
            if picked.id().as_str() == "e000000" {
                failing += 1;
                answer(picked, &hand, MILLI, Outcome::Failure);
            } else {
                answer(picked, &hand, 20 * MILLI, Outcome::Success);
            }
        }
        failing
    };
    // Without a penalty the failing one is the fast one, and draws everything.
    let (none, less, more) = (
        share_of_failing(Duration::ZERO),
        share_of_failing(10 * MILLI),
        share_of_failing(500 * MILLI),
    );
    assert!(none > 900 && less > 900, "{none} and {less} of 1,000 calls fail");
    assert!(more < 100, "{more} of 1,000 calls fail");

    let (mut picker, hand) = picker(endpoints(1), Policy::PeakEwma(PeakEwma::new()));
    answer(picker.pick().unwrap(), &hand, 3000 * MILLI, Outcome::Failure);
    assert_eq!(of(&picker, "e000000").latency, Some(3000 * MILLI));
}

#[test]
fn to_peak_ewma_a_penalty_fades_and_the_endpoint_is_tried_again() {
    let ewma = PeakEwma::new().with_decay(1000 * MILLI);
    let (mut picker, hand) = picker(endpoints(2), Policy::PeakEwma(ewma));
    let mut rng = fastrand::Rng::with_seed(7);
    let mut run = |fails: bool, calls: u32| {
        let mut count = 0;
        for _ in 0..calls {
            let picked = picker.pick().unwrap();
            let first = picked.id().as_str() == "e000000";
            count += u32::from(first);
            let outcome = if first && fails { Outcome::Failure } else { Outcome::Success };
            answer(picked, &hand, rng.u32(5..15) * MILLI, outcome);
        }
        count
    };
    let failed = run(true, 200);
    assert!((1..10).contains(&failed), "{failed} calls failed in 2 s");
    let recovered = run(false, 2000);
    assert!(recovered > 300, "{recovered} of 2,000 calls in the 20 s after it recovered");
}

#[test]
fn peak_ewma_follows_the_weights_of_equally_fast_endpoints() {
    // Whatever their scale, idle or loaded.
    for scale in [1, 100] {
        let weights = [scale, 2 * scale, 5 * scale];
        let ewma = || Policy::PeakEwma(PeakEwma::new());
        let (mut idle, hand) = picker(weighted(&weights), ewma());
        let mut counts = [0_u32; 3];
        for _ in 0..8000 {
            let picked = idle.pick().unwrap();
            counts[picked.id().as_str().parse::<usize>().unwrap()] += 1;
            answer(picked, &hand, 5 * MILLI, Outcome::Success);
        }
        // Two distinct endpoints are drawn, and the first one wins the tie.
        for (count, expected) in counts.iter().zip([1000_u32, 2000, 5000]) {
            assert!(count.abs_diff(expected) < 250, "{counts:?} of weights {weights:?}");
        }
        let (mut loaded, _) = picker(weighted(&weights), ewma());
        let held: Vec<_> = (0..800).map(|_| loaded.pick().unwrap()).collect();
        let in_flight: Vec<_> = loaded.snapshot().endpoints.iter().map(|e| e.in_flight).collect();
        for (count, expected) in in_flight.iter().zip([100_u64, 200, 500]) {
            assert!(count.abs_diff(expected) < 20, "{in_flight:?} of weights {weights:?}");
        }
        drop(held);
    }
}

#[test]
fn to_peak_ewma_a_slow_endpoint_of_great_weight_is_slow() {
    let (mut picker, hand) = picker(weighted(&[1, 4]), Policy::PeakEwma(PeakEwma::new()));
    let mut slow = 0;
    for _ in 0..1000 {
        let picked = picker.pick().unwrap();
        let heavy = picked.id().as_str() == "001";
        slow += u32::from(heavy);
        answer(picked, &hand, if heavy { 100 * MILLI } else { 5 * MILLI }, Outcome::Success);
    }
    assert!(slow < 50, "{slow} of 1,000 calls went to the slow one, idle as both are");
}

#[test]
fn to_peak_ewma_an_error_that_came_with_a_fast_head_is_none_either() {
    let (mut picker, _) = picker(endpoints(1), Policy::PeakEwma(PeakEwma::new()));
    let mut picked = picker.pick().unwrap();
    picked.answered();
    picked.finish(Outcome::Failure);
    assert_eq!(of(&picker, "e000000").latency, Some(Duration::from_secs(1)));
}

#[test]
fn to_peak_ewma_an_abandoned_call_took_at_least_so_long() {
    let (mut picker, hand) = picker(endpoints(1), Policy::PeakEwma(PeakEwma::new()));
    answer(picker.pick().unwrap(), &hand, 10 * MILLI, Outcome::Success);
    let hung = picker.pick().unwrap();
    hand.advance(2000 * MILLI);
    drop(hung);
    let near = |expected: Duration| {
        let latency = of(&picker, "e000000").latency.unwrap();
        assert!(latency.abs_diff(expected) < MILLI, "{latency:?}, not {expected:?}");
    };
    near(2000 * MILLI);
    let given_up_at_once = picker.clone().pick().unwrap();
    hand.advance(MILLI);
    drop(given_up_at_once);
    near(2000 * MILLI);
}

#[test]
fn refusals_are_no_latency() {
    let (mut picker, hand) = picker(endpoints(1), Policy::PeakEwma(PeakEwma::new()));
    answer(picker.pick().unwrap(), &hand, Duration::ZERO, Outcome::Ignored);
    assert_eq!(of(&picker, "e000000").latency, None);
}

#[test]
fn least_in_flight_fills_a_small_set_evenly_by_weight() {
    let (mut picker, _) = picker(weighted(&[1, 2, 3]), Policy::LeastInFlight);
    let held: Vec<_> = (0..60).map(|_| picker.pick().unwrap()).collect();
    let in_flight: Vec<_> = picker.snapshot().endpoints.iter().map(|e| e.in_flight).collect();
    assert_eq!(in_flight, [10, 20, 30]);
    drop(held);
    // An idle set shares by weight too: a sixth of 6,000, give or take six deviations.
    let counts = counts(&mut picker, 6000);
    assert!(counts["000"].abs_diff(1000) < 174, "{counts:?}");
}

#[test]
fn least_in_flight_keeps_a_large_set_nearly_even() {
    let (mut picker, _) = picker(endpoints(1000), Policy::LeastInFlight);
    let held: Vec<_> = (0..10_000).map(|_| picker.pick().unwrap()).collect();
    let snapshot = picker.snapshot();
    let in_flight = || snapshot.endpoints.iter().map(|endpoint| endpoint.in_flight);
    // At random some would have more than 20, and of two choices some have 12 or more.
    assert!(in_flight().max().unwrap() <= 12, "{:?}", in_flight().max());
    drop(held);
    assert!(picker.snapshot().endpoints.iter().all(|endpoint| endpoint.in_flight == 0));
}

/// The first by id that may be picked, from a place that the key says.
#[derive(Debug)]
struct FromKey;

impl Rule for FromKey {
    type Table = Vec<String>;

    fn prepare(&self, roster: &Roster<'_>) -> Vec<String> {
        (0..roster.len()).map(|at| roster.endpoint(at).id().to_string()).collect()
    }

    fn pick(&self, table: &Vec<String>, view: &mut View<'_>) -> Option<usize> {
        assert!((0..view.len()).all(|at| view.id(at).as_str() == table[at]), "another's table");
        let first = view.key().map_or(0, |key| key.hash() as usize);
        (first..view.len()).find(|at| view.share(*at).is_some())
    }
}

#[test]
fn a_rule_of_the_users_sees_the_set_the_key_and_what_was_tried() {
    let set = endpoints(5);
    let (mut picker, _) = picker(set.clone(), Policy::custom(FromKey));
    let tried = Tried::new();
    let third = PickContext::new().with_key(HashKey::from_hash(2)).with_tried(&tried);
    let pick = |picker: &mut Picker| picker.pick_for(third).unwrap().id().to_string();
    let picks: Vec<_> = (0..3).map(|_| pick(&mut picker)).collect();
    assert_eq!(picks, ["e000002", "e000003", "e000004"]);
    assert_eq!(pick(&mut picker), "e000002", "all that the rule looks at were tried");
    set.apply([Change::Remove("e000000".into())]);
    assert_eq!(picker.pick().unwrap().id().as_str(), "e000001", "prepared anew");
    let beyond = PickContext::new().with_key(HashKey::from_hash(99));
    assert!(picker.pick_for(beyond).is_none(), "the rule finds nothing, and no reason is left");
}

#[test]
fn picks_repeat_with_their_seed() {
    for policy in [Policy::PowerOfTwo, Policy::LeastInFlight, Policy::RoundRobin, Policy::Random] {
        let row = |seed| {
            let config = Config::builder().policy(policy.clone()).seed(seed).build().unwrap();
            let mut picker = Picker::with_config(endpoints(200), config);
            let picks: Vec<_> = (0..50).map(|_| picker.pick().unwrap()).collect();
            picks.iter().map(|picked| picked.id().to_string()).collect::<Vec<_>>()
        };
        assert_eq!(row(7), row(7), "{policy:?}");
        assert_ne!(row(7), row(8), "{policy:?}");
    }
}
