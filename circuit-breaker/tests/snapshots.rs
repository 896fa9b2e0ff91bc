//! Snapshots as files and pages show them.

#![cfg(feature = "serde")]
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod common;

use common::{SECOND, after_two, fail};
use seawall_circuit_breaker::{
    CircuitBreaker, Clock, Window,
    throttle::{self, Priority, Throttle},
};
use serde_json::{json, to_value};

#[test]
fn a_snapshot_of_a_breaker_has_counts_rates_state_and_waits_as_text() {
    let (clock, hand) = Clock::manual();
    let config = after_two().window(Window::Calls(10)).build().unwrap();
    let breaker = CircuitBreaker::builder(config).clock(clock).count_outcomes().build();
    fail(&breaker, 1);
    assert_eq!(to_value(breaker.snapshot()).unwrap()["counts"]["failures"], 1);
    fail(&breaker, 1);
    hand.advance(SECOND + SECOND / 2);
    assert_eq!(
        to_value(breaker.snapshot()).unwrap(),
        json!({
            "state": "open", "mode": "automatic", "generation": 3,
            "age": "1s 500ms", "next_probe_in": "3s 500ms",
            "counts": {"calls": 0, "failures": 0, "slow": 0},
            "consecutive_failures": 0, "overdue_in_flight": 0,
            "probes_in_flight": 0, "probe_successes": 0, "probe_failures": 0,
            "openings": 1, "admitted_share": null,
            "totals": {"successes": 0, "failures": 2, "ignored": 0, "rejected": 0},
        })
    );
}

#[test]
fn a_snapshot_of_a_throttle_has_a_class_for_each_priority() {
    let (clock, _) = Clock::manual();
    let throttle = Throttle::builder(throttle::Config::default()).clock(clock).build();
    throttle.admit(Priority::Sheddable).unwrap().refused();
    let snapshot = to_value(throttle.snapshot()).unwrap();
    assert_eq!(
        snapshot["classes"][3],
        json!({
            "priority": "sheddable", "requests": 1, "accepts": 0, "k": 1.5,
            "rejection_probability": 0.5, "shedding": false,
        })
    );
    assert_eq!(snapshot["classes"].as_array().unwrap().len(), 4);
}
