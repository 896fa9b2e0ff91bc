//! Every interleaving of a few threads. Run with `RUSTFLAGS="--cfg seawall_loom"`.
#![cfg(seawall_loom)]
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::time::Duration;

use loom::thread;
use seawall_circuit_breaker::{CircuitBreaker, Clock, Config, State, Window, config::Builder};
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

#[test]
fn a_count_window_loses_no_outcome() {
    loom::model(|| {
        let config = Config::builder().window(Window::Calls(2)).failures(2);
        let (breaker, _) = breaker(config);
        breaker.admit().unwrap().success();
        let other = breaker.clone();
        let thread = thread::spawn(move || other.admit().unwrap().failure());
        breaker.admit().unwrap().failure();
        thread.join().unwrap();
        assert_eq!(breaker.state(), State::Open);
    });
}

#[test]
fn a_time_window_loses_no_outcome_while_its_buckets_turn() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(|| {
        let config = Config::builder().window(Window::Time(Duration::from_secs(16))).failures(3);
        let (breaker, hand) = breaker(config);
        breaker.admit().unwrap().failure();
        hand.advance(Duration::from_secs(1));
        let other = breaker.clone();
        let thread = thread::spawn(move || other.admit().unwrap().failure());
        breaker.admit().unwrap().failure();
        thread.join().unwrap();
        assert_eq!(breaker.state(), State::Open);
    });
}

#[test]
fn an_outcome_that_races_with_another_configuration_is_of_the_old_one() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(2);
    model.check(|| {
        // Both windows use the ring of four: loom does not see that a new one is published.
        let config = Config::builder().window(Window::Calls(3)).failures(1);
        let (breaker, _) = breaker(config.clone().failures(2));
        let late = breaker.admit_owned().unwrap();
        let thread = thread::spawn(move || late.failure());
        let stricter = config.window(Window::Calls(4)).build().unwrap();
        breaker.reconfigure(stricter);
        thread.join().unwrap();
        assert_eq!(breaker.state(), State::Closed, "one failure of two that the old one allowed");
        assert_eq!(breaker.snapshot().counts.failures, 0);
    });
}

#[test]
fn a_call_that_ends_while_its_step_turns_is_not_overdue() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(|| {
        let config = Config::builder()
            .window(Window::Calls(4))
            .slow_call_rate(Duration::from_secs(8), 1.0)
            .slow_calls_in_flight(true);
        let (breaker, hand) = breaker(config);
        let call = breaker.admit_owned().unwrap();
        hand.advance(Duration::from_secs(16));
        let thread = thread::spawn(move || call.ignore());
        breaker.admit().unwrap().ignore();
        thread.join().unwrap();
        assert_eq!(breaker.snapshot().overdue_in_flight, 0);
    });
}

#[test]
fn a_throttled_call_that_ends_while_the_window_changes_counts_in_none_but_its_own() {
    use seawall_circuit_breaker::throttle;
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(2);
    model.check(|| {
        let config = throttle::Config::builder();
        let (clock, _) = Clock::manual();
        let throttle = throttle::Throttle::builder(config.clone().build().unwrap())
            .clock(clock)
            .seed(1)
            .build();
        let late = throttle.admit(throttle::Priority::Critical).unwrap();
        let thread = thread::spawn(move || late.refused());
        throttle.reconfigure(config.window(Duration::from_secs(16)).build().unwrap());
        thread.join().unwrap();
        let seen = *throttle.snapshot().class(throttle::Priority::Critical);
        assert_eq!((seen.requests, seen.accepts), (0, 0));
        throttle.admit(throttle::Priority::Critical).unwrap().accepted();
        assert_eq!(throttle.snapshot().class(throttle::Priority::Critical).accepts, 1);
    });
}
