//! Every interleaving of a few threads. Run with `RUSTFLAGS="--cfg seawall_loom"`.
#![cfg(seawall_loom)]
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::time::Duration;

use loom::thread;
use seawall_circuit_breaker::{CircuitBreaker, Clock, Config, State, config::Builder};
use seawall_core::ManualClock;

fn breaker(config: Builder) -> (CircuitBreaker, ManualClock) {
    let (clock, hand) = Clock::manual();
    (CircuitBreaker::builder(config.build().unwrap()).clock(clock).build(), hand)
}

#[test]
fn two_failures_at_once_are_two_failures() {
    loom::model(|| {
        let (breaker, _) = breaker(Config::builder().consecutive_failures(2));
        let other = breaker.clone();
        let thread = thread::spawn(move || other.admit().unwrap().failure());
        breaker.admit().unwrap().failure();
        thread.join().unwrap();
        assert_eq!(breaker.state(), State::Open);
    });
}

#[test]
fn an_admission_during_a_trip_never_counts_in_another_generation() {
    loom::model(|| {
        let (breaker, _) = breaker(Config::builder().consecutive_failures(1));
        let other = breaker.clone();
        // Its outcome races with the trip and the reset, and belongs to neither.
        let late = breaker.admit_owned().unwrap();
        let thread = thread::spawn(move || {
            other.admit().unwrap().ignore();
            late.failure();
        });
        breaker.reset();
        let state = breaker.state();
        thread.join().unwrap();
        assert_eq!(state, State::Closed, "the failure came before the reset or not at all");
        assert_eq!(breaker.state(), State::Closed);
        assert_eq!(breaker.snapshot().consecutive_failures, 0);
    });
}

#[test]
fn one_probe_is_out_at_once() {
    loom::model(|| {
        let config = Config::builder().consecutive_failures(1).successes_to_close(9);
        let (breaker, hand) = breaker(config);
        breaker.admit().unwrap().failure();
        hand.advance(Duration::from_secs(5));
        let other = breaker.clone();
        let thread = thread::spawn(move || other.admit_owned().ok());
        let mine = breaker.admit_owned().ok();
        let theirs = thread.join().unwrap();
        assert!(mine.is_some() != theirs.is_some(), "one of two gets the one slot");
        drop((mine, theirs));
        assert!(breaker.would_admit(), "the slot came back");
    });
}

#[test]
fn a_slot_that_is_given_back_is_not_lost() {
    loom::model(|| {
        let config = Config::builder().consecutive_failures(1).successes_to_close(9);
        let (breaker, hand) = breaker(config);
        breaker.admit().unwrap().failure();
        hand.advance(Duration::from_secs(5));
        let probe = breaker.admit_owned().unwrap();
        let thread = thread::spawn(move || drop(probe));
        let _ = breaker.admit();
        thread.join().unwrap();
        assert!(breaker.admit().is_ok());
    });
}
