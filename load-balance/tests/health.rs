//! Ejection, panic and slow start, on a clock that the test moves.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::time::Duration;

use common::{endpoint, endpoints, of};
use seawall_core::{Change, Clock, Endpoint, Guard, ManualClock, Outcome};
use seawall_load_balance::{Config, ConfigBuilder, Ejection, EndpointSet, Picker, SlowStart};

const SECOND: Duration = Duration::from_secs(1);

fn picker(set: &EndpointSet, config: ConfigBuilder) -> (Picker, ManualClock) {
    let (clock, hand) = Clock::manual();
    let seed = seawall_test_support::seed();
    eprintln!("SEAWALL_SEED={seed}");
    let config = config.clock(clock).seed(seed).build().unwrap();
    (Picker::with_config(set.clone(), config), hand)
}

fn with_ejection(set: &EndpointSet, ejection: Ejection) -> (Picker, ManualClock) {
    picker(set, Config::builder().ejection(ejection))
}

/// Calls until `id` was called so often; others succeed.
fn call(picker: &mut Picker, id: &str, times: usize, outcome: Outcome) {
    let mut left = times;
    for _ in 0..10_000 {
        if left == 0 {
            return;
        }
        let picked = picker.pick().unwrap();
        if picked.id().as_str() == id {
            left -= 1;
            picked.finish(outcome);
        } else {
            picked.finish(Outcome::Success);
        }
    }
    panic!("{id} is not picked: {:?}", of(picker, id));
}

fn is_picked(picker: &mut Picker, id: &str) -> bool {
    (0..200).any(|_| picker.pick().unwrap().id().as_str() == id)
}

#[test]
fn a_row_of_failures_ejects_and_one_less_does_not() {
    let set = endpoints(3);
    let (mut picker, _) = with_ejection(&set, Ejection::new());
    call(&mut picker, "e000000", 4, Outcome::Failure);
    call(&mut picker, "e000000", 1, Outcome::Success);
    call(&mut picker, "e000000", 4, Outcome::Failure);
    assert_eq!(of(&picker, "e000000").ejections, 0);
    call(&mut picker, "e000000", 1, Outcome::Failure);
    assert_eq!(of(&picker, "e000000").ejections, 1);
    assert!(!is_picked(&mut picker, "e000000"));
}

#[test]
fn refusals_and_dropped_calls_neither_add_to_a_row_nor_break_it() {
    let set = endpoints(3);
    let (mut picker, hand) = with_ejection(&set, Ejection::new());
    call(&mut picker, "e000001", 4, Outcome::Failure);
    call(&mut picker, "e000001", 10, Outcome::Ignored);
    let dropped = loop {
        let picked = picker.pick().unwrap();
        if picked.id().as_str() == "e000001" {
            break picked;
        }
    };
    hand.advance(1000 * SECOND);
    drop(dropped);
    assert_eq!(of(&picker, "e000001").ejections, 0);
    call(&mut picker, "e000001", 1, Outcome::Failure);
    assert_eq!(of(&picker, "e000001").ejections, 1);
}

#[test]
fn it_returns_exactly_when_its_time_is_over_and_each_time_takes_longer() {
    let set = endpoints(3);
    let (mut picker, hand) = with_ejection(&set, Ejection::new().with_max_time(70 * SECOND));
    for seconds in [30, 60, 70, 70] {
        call(&mut picker, "e000002", 5, Outcome::Failure);
        assert_eq!(of(&picker, "e000002").ejected_for, Some(seconds * SECOND));
        hand.advance(seconds * SECOND - Duration::from_nanos(1));
        assert!(!is_picked(&mut picker, "e000002"), "before {seconds} s");
        hand.advance(Duration::from_nanos(1));
        assert!(is_picked(&mut picker, "e000002"), "after {seconds} s");
        assert_eq!(of(&picker, "e000002").ejected_for, None);
    }
    // Three intervals without ejection are three steps back, of four.
    hand.advance(30 * SECOND);
    call(&mut picker, "e000002", 5, Outcome::Failure);
    assert_eq!(of(&picker, "e000002").ejected_for, Some(60 * SECOND));
    assert_eq!(of(&picker, "e000002").ejections, 5);
}

#[test]
fn not_more_than_the_stated_part_is_ejected() {
    let set = endpoints(20);
    let (mut picker, hand) = with_ejection(&set, Ejection::new());
    for _ in 0..5000 {
        picker.pick().unwrap().finish(Outcome::Failure);
    }
    let out = || picker.snapshot().endpoints.iter().filter(|e| e.ejected_for.is_some()).count();
    assert_eq!(out(), 2, "10 percent of 20");
    hand.advance(30 * SECOND);
    assert_eq!(out(), 0);
}

#[test]
fn the_last_endpoint_is_never_ejected() {
    for count in [1, 2] {
        let set = endpoints(count);
        let (mut picker, _) = with_ejection(&set, Ejection::new().with_max_percent(100));
        for _ in 0..100 {
            picker.pick().unwrap().finish(Outcome::Failure);
        }
        let snapshot = picker.snapshot();
        let out = snapshot.endpoints.iter().filter(|e| e.ejected_for.is_some()).count();
        assert_eq!(out, count - 1);
    }
}

#[test]
fn below_the_panic_threshold_ejected_endpoints_are_used_again() {
    let set = endpoints(10);
    let ejection = Ejection::new().with_max_percent(100).with_consecutive_failures(1);
    for (threshold, panics) in [(50, true), (40, false), (0, false)] {
        let config = Config::builder().ejection(ejection.clone()).panic_threshold(threshold);
        let (mut picker, _) = picker(&set, config);
        for _ in 0..6 {
            let picked = loop {
                let picked = picker.pick().unwrap();
                if of(&picker, picked.id().as_str()).ejected_for.is_none() {
                    break picked;
                }
            };
            picked.finish(Outcome::Failure);
        }
        // Four of ten are well.
        let snapshot = picker.snapshot();
        assert_eq!(snapshot.panicking, panics, "at {threshold} percent");
        let out = snapshot.endpoints.iter().find(|e| e.ejected_for.is_some()).unwrap();
        assert_eq!(is_picked(&mut picker, out.id.as_str()), panics, "at {threshold} percent");
    }
}

#[test]
fn calls_abandoned_after_the_stated_time_are_failures() {
    let set = endpoints(3);
    let ejection = Ejection::new().with_abandoned_after(SECOND).with_consecutive_failures(1);
    for (age, ejections) in [(SECOND - Duration::from_nanos(1), 0), (SECOND, 1)] {
        let (mut picker, hand) = with_ejection(&set, ejection.clone());
        let picked = picker.pick().unwrap();
        let id = picked.id().clone();
        hand.advance(age);
        drop(picked);
        assert_eq!(of(&picker, id.as_str()).ejections, ejections, "after {age:?}");
    }
    let (mut picker, hand) = with_ejection(&set, ejection);
    let mut answered = picker.pick().unwrap();
    answered.answered();
    let id = answered.id().clone();
    hand.advance(10 * SECOND);
    drop(answered);
    assert_eq!(of(&picker, id.as_str()).ejections, 0, "it answered; its reader went away");
}

#[test]
fn an_endpoint_that_moved_or_left_is_ejected_no_longer() {
    let set = endpoints(3);
    let (mut picker, _) = with_ejection(&set, Ejection::new());
    call(&mut picker, "e000000", 5, Outcome::Failure);
    set.apply([Change::Update(endpoint("e000000").with_weight(3))]);
    assert!(!is_picked(&mut picker, "e000000"), "the same process, with another weight");
    set.apply([Change::Update(Endpoint::new("e000000", "127.0.0.1:9".parse().unwrap()))]);
    assert!(is_picked(&mut picker, "e000000"), "another process");
    // The place that it gave back is there for the next one.
    call(&mut picker, "e000001", 5, Outcome::Failure);
    assert_eq!(of(&picker, "e000001").ejections, 1);
    set.apply([Change::Remove("e000001".into())]);
    call(&mut picker, "e000002", 5, Outcome::Failure);
    assert_eq!(of(&picker, "e000002").ejections, 1);
}

#[test]
fn it_can_be_brought_back_by_hand() {
    let set = endpoints(3);
    let (mut picker, _) = with_ejection(&set, Ejection::new());
    assert!(!picker.uneject(&"e000000".into()));
    call(&mut picker, "e000000", 5, Outcome::Failure);
    assert!(picker.uneject(&"e000000".into()));
    assert!(is_picked(&mut picker, "e000000"));
    assert!(!picker.uneject(&"e000000".into()));
}

#[test]
fn a_new_endpoint_grows_into_its_share() {
    let set = endpoints(4);
    let (mut picker, hand) =
        picker(&set, Config::builder().slow_start(SlowStart::new(100 * SECOND)));
    assert!(picker.snapshot().endpoints.iter().all(|e| e.share == 1.0), "the first are not new");
    set.apply([Change::Insert(endpoint("new"))]);
    let share = |picker: &mut Picker| {
        let picks = 20_000;
        let news = (0..picks).filter(|_| picker.pick().unwrap().id().as_str() == "new").count();
        news as f64 / f64::from(picks)
    };
    for (seconds, expected) in [(0, 0.1), (20, 0.2), (50, 0.5), (100, 1.0)] {
        hand.set(seawall_core::Instant::ORIGIN.saturating_add(seconds * SECOND));
        assert!((of(&picker, "new").share - expected).abs() < 1e-9);
        // Of five endpoints, one that takes part with that share of its weight.
        let fair = expected / (4.0 + expected);
        let real = share(&mut picker);
        assert!((real - fair).abs() < 0.03, "{real} of the calls after {seconds} s, not {fair}");
    }
}

#[test]
fn an_endpoint_that_returns_begins_slowly() {
    let set = endpoints(3);
    let (mut picker, hand) =
        picker(&set, Config::builder().slow_start(SlowStart::new(100 * SECOND)));
    call(&mut picker, "e000000", 5, Outcome::Failure);
    assert_eq!(of(&picker, "e000000").share, 0.0);
    hand.advance(30 * SECOND);
    assert!(is_picked(&mut picker, "e000000"));
    assert_eq!(of(&picker, "e000000").share, 0.1);
    hand.advance(50 * SECOND);
    assert_eq!(of(&picker, "e000000").share, 0.5);
}

#[test]
fn who_is_ejected_by_hand_returns_when_the_time_is_over_or_by_hand() {
    let set = endpoints(4);
    let (mut picker, hand) = picker(&set, Config::builder());
    let id = "e000000".into();
    assert!(picker.eject(&id, 10 * SECOND));
    assert!(!picker.eject(&id, 10 * SECOND) && !picker.eject(&"nobody".into(), SECOND));
    assert!(!is_picked(&mut picker, "e000000"));
    assert_eq!(of(&picker, "e000000").ejections, 1);
    hand.advance(10 * SECOND);
    assert!(is_picked(&mut picker, "e000000"));
    assert!(picker.eject(&id, Duration::MAX) && picker.uneject(&id));
    assert!(is_picked(&mut picker, "e000000"));
}
