//! Half-open: few probes, and never stuck.

mod common;

use std::time::Duration;

use common::{SECOND, after_two, breaker, fail, succeed};
use seawall_circuit_breaker::{CircuitBreaker, HalfOpen, OnDrop, Ratio, State, config::Builder};
use seawall_core::{Admission, ManualClock};

/// Open, with its wait just over.
fn waited(config: Builder) -> (CircuitBreaker, ManualClock) {
    let (breaker, hand) = breaker(config);
    fail(&breaker, 2);
    hand.advance(5 * SECOND);
    (breaker, hand)
}

#[test]
fn the_first_call_after_the_wait_is_a_probe_and_not_one_before() {
    let (breaker, hand) = breaker(after_two());
    assert_eq!(breaker.admission(), Admission::Open);
    fail(&breaker, 2);
    hand.advance(5 * SECOND - Duration::from_nanos(1));
    assert!(!breaker.would_admit());
    assert_eq!(breaker.admission(), Admission::Refused);
    assert!(breaker.admit().is_err());
    hand.advance(Duration::from_nanos(1));
    assert!(breaker.would_admit());
    assert_eq!(breaker.admission(), Admission::Trial);
    assert_eq!(breaker.state(), State::Open, "asking changes nothing");
    assert!(breaker.admit().unwrap().is_probe());
}

#[test]
fn no_more_probes_are_out_than_asked_for() {
    let (breaker, _) = waited(after_two().probes(3).successes_to_close(3));
    let probes: Vec<_> = (0..3).map(|_| breaker.admit().unwrap()).collect();
    let rejected = breaker.admit().unwrap_err();
    assert_eq!((rejected.state(), rejected.retry_after()), (State::HalfOpen, None));
    assert!(rejected.probe_in_flight());
    assert!(!breaker.would_admit());
    assert_eq!(breaker.snapshot().probes_in_flight, 3);
    drop(probes);
    assert_eq!(breaker.snapshot().probes_in_flight, 0);
    assert!(breaker.would_admit());
}

#[test]
fn the_first_failed_probe_opens_again_for_a_whole_wait() {
    let (breaker, hand) = waited(after_two().probes(2).successes_to_close(2));
    let other = breaker.admit().unwrap();
    hand.advance(SECOND);
    breaker.admit().unwrap().failure();
    assert_eq!(breaker.state(), State::Open);
    assert_eq!(breaker.admit().unwrap_err().retry_after(), Some(5 * SECOND));
    other.success();
    assert_eq!(breaker.state(), State::Open, "its generation is over");
}

#[test]
fn the_mth_success_closes() {
    let (breaker, _) = waited(after_two().successes_to_close(3));
    succeed(&breaker, 2);
    assert_eq!(breaker.state(), State::HalfOpen);
    succeed(&breaker, 1);
    assert_eq!(breaker.state(), State::Closed);
}

#[test]
fn a_slot_comes_back_from_a_probe_that_is_dropped_or_refused_further_in() {
    let (breaker, _) = waited(after_two());
    for _ in 0..10 {
        drop(breaker.admit().unwrap());
        breaker.admit().unwrap().ignore();
    }
    assert_eq!(breaker.state(), State::HalfOpen);
    succeed(&breaker, 1);
    assert_eq!(breaker.state(), State::Closed);
}

#[test]
fn a_dropped_probe_fails_where_drops_are_failures() {
    let (breaker, _) = waited(after_two().on_drop(OnDrop::Failure));
    drop(breaker.admit().unwrap());
    assert_eq!(breaker.state(), State::Open);
}

#[test]
fn a_probe_that_hangs_fails_at_its_time_out() {
    let (breaker, hand) = waited(after_two().probe_timeout(7 * SECOND));
    let hung = breaker.admit().unwrap();
    hand.advance(7 * SECOND - Duration::from_nanos(1));
    assert!(breaker.admit().is_err());
    assert_eq!(breaker.state(), State::HalfOpen);
    hand.advance(Duration::from_nanos(1));
    assert!(breaker.would_admit(), "somebody has to come to find out");
    assert!(breaker.admit().is_err());
    assert_eq!(breaker.state(), State::Open);

    hand.advance(5 * SECOND);
    let probe = breaker.admit().unwrap();
    hung.success();
    assert_eq!(breaker.state(), State::HalfOpen, "a hung probe is of an older generation");
    probe.success();
    assert_eq!(breaker.state(), State::Closed);
}

#[test]
fn a_hung_probe_of_several_gives_its_slot_to_another_call() {
    let rule = HalfOpen::rate(3, Ratio::new(0.5).unwrap());
    let (breaker, hand) = waited(after_two().half_open(rule).probe_timeout(7 * SECOND));
    let hung = breaker.admit().unwrap();
    hand.advance(7 * SECOND);
    succeed(&breaker, 1);
    hung.success();
    assert_eq!(breaker.snapshot().probe_failures, 1);
    succeed(&breaker, 1);
    assert_eq!(breaker.state(), State::Closed, "one of three failed");
}

#[test]
fn a_stream_that_has_answered_passes_as_a_probe_while_it_lives() {
    let (breaker, hand) = waited(after_two().probe_timeout(7 * SECOND));
    let mut stream = breaker.admit().unwrap();
    stream.answered();
    hand.advance(7 * SECOND);
    succeed(&breaker, 1);
    assert_eq!(breaker.state(), State::Closed);
    stream.failure();
    assert_eq!(breaker.snapshot().consecutive_failures, 0);
}

#[test]
fn a_panic_counts_as_failure_and_returns_the_permit() {
    let (breaker, hand) = waited(after_two());
    let panicked = std::panic::catch_unwind(|| {
        let _ = breaker.call(|| -> Result<(), std::io::Error> { panic!("in the call") });
    });
    assert!(panicked.is_err());
    assert_eq!(breaker.state(), State::Open);
    hand.advance(5 * SECOND);
    succeed(&breaker, 1);
    assert_eq!(breaker.state(), State::Closed);
}

#[test]
fn never_more_than_n_probes_are_out_whatever_threads_do() {
    use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
    let (breaker, _) = waited(after_two().probes(3).successes_to_close(u32::MAX));
    let (out, most) = (AtomicU32::new(0), AtomicU32::new(0));
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let (breaker, out, most) = (&breaker, &out, &most);
            scope.spawn(move || {
                for n in 0..5_000 {
                    if let Ok(permit) = breaker.admit() {
                        most.fetch_max(out.fetch_add(1, Relaxed) + 1, Relaxed);
                        std::hint::spin_loop();
                        out.fetch_sub(1, Relaxed);
                        if (n + thread) % 3 == 0 { permit.ignore() } else { permit.success() }
                    }
                }
            });
        }
    });
    assert!((1..=3).contains(&most.load(Relaxed)), "{most:?}");
    assert_eq!(breaker.snapshot().probes_in_flight, 0);
}
