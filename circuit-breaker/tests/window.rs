//! Windows, rates, slow calls, waits, ramps, and changes of the configuration.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod common;

use std::time::Duration;

use common::{Log, SECOND, breaker, fail, succeed};
use seawall_circuit_breaker::{
    Cause, CircuitBreaker, Clock, Config, HalfOpen, Mode, OpenWait, Ramp, Ratio, State, Window,
    config::Builder,
};

const MILLI: Duration = Duration::from_millis(1);

fn hundred() -> Builder {
    Config::builder().window(Window::Calls(100)).failure_rate(0.5)
}

#[test]
fn a_count_window_slides_after_any_number_of_successes() {
    let (breaker, _) = breaker(hundred());
    succeed(&breaker, 10_000);
    fail(&breaker, 49);
    assert_eq!(breaker.state(), State::Closed);
    fail(&breaker, 1);
    assert_eq!(breaker.state(), State::Open);
}

#[test]
fn a_rate_is_looked_at_after_successes_too() {
    let (breaker, _) = breaker(hundred().minimum_calls(10));
    fail(&breaker, 9);
    succeed(&breaker, 1);
    assert_eq!(breaker.state(), State::Open, "9 of 10 failed");
}

#[test]
fn a_time_window_forgets_what_is_older() {
    let config = Config::builder().window(Window::Time(16 * SECOND)).failures(3);
    let (breaker, hand) = breaker(config);
    fail(&breaker, 2);
    hand.advance(15 * SECOND + 999 * MILLI);
    assert_eq!(breaker.snapshot().counts.failures, 2);
    hand.advance(MILLI);
    fail(&breaker, 2);
    assert_eq!(breaker.snapshot().counts.failures, 2);
    fail(&breaker, 1);
    assert_eq!(breaker.state(), State::Open);
}

#[test]
fn the_default_opens_when_half_of_twenty_calls_fail() {
    let (breaker, _) = breaker(Config::builder());
    succeed(&breaker, 10);
    fail(&breaker, 9);
    assert_eq!(breaker.state(), State::Closed);
    fail(&breaker, 1);
    assert_eq!(breaker.state(), State::Open);
}

fn slow() -> Builder {
    Config::builder().window(Window::Calls(10)).slow_call_rate(SECOND, 0.5).minimum_calls(4)
}

#[test]
fn slow_calls_open_from_exactly_the_threshold_on() {
    let (breaker, hand) = breaker(slow());
    for latency in [SECOND - MILLI, SECOND - MILLI, SECOND, SECOND] {
        assert_eq!(breaker.state(), State::Closed);
        let permit = breaker.admit().unwrap();
        hand.advance(latency);
        permit.success();
    }
    assert_eq!(breaker.state(), State::Open);
}

#[test]
fn latency_ends_at_the_answer_and_not_with_the_stream() {
    let (breaker, hand) = breaker(slow());
    for _ in 0..10 {
        let mut permit = breaker.admit().unwrap();
        permit.answered();
        hand.advance(60 * SECOND);
        permit.success();
    }
    assert_eq!(breaker.snapshot().counts.slow, 0);
    let mut late = breaker.admit().unwrap();
    hand.advance(SECOND);
    late.answered();
    late.success();
    assert_eq!(breaker.snapshot().counts.slow, 1);
}

#[test]
fn a_slow_probe_is_a_failed_one() {
    let (breaker, hand) = breaker(slow().consecutive_failures(1));
    fail(&breaker, 1);
    hand.advance(5 * SECOND);
    let probe = breaker.admit().unwrap();
    hand.advance(SECOND);
    probe.success();
    assert_eq!(breaker.state(), State::Open);
}

#[test]
fn a_callee_that_hangs_opens_before_any_call_has_ended() {
    let (clock, hand) = Clock::manual();
    let log = Log::new();
    let config = slow().slow_calls_in_flight(true).build().unwrap();
    let breaker = CircuitBreaker::builder(config).clock(clock).observer(log.clone()).build();
    let mut hung = Vec::new();
    for _ in 0..40 {
        match breaker.admit_owned() {
            Ok(permit) => hung.push(permit),
            Err(_) => break,
        }
        hand.advance(100 * MILLI);
    }
    assert_eq!(breaker.state(), State::Open);
    let told = log.transitions.lock().unwrap().clone();
    assert_eq!(told[0].cause, Cause::SlowCallRate);
    let waited = Duration::from_nanos(told[0].at.as_nanos());
    assert!((SECOND..=2 * SECOND).contains(&waited), "{waited:?}");

    // What hung belongs to the past when the breaker closes again.
    hand.advance(5 * SECOND);
    succeed(&breaker, 1);
    assert_eq!(breaker.state(), State::Closed);
    assert_eq!(breaker.snapshot().overdue_in_flight, 0);
    drop(hung);
    hand.advance(2 * SECOND);
    succeed(&breaker, 10);
    assert_eq!(breaker.state(), State::Closed);
}

#[test]
fn calls_that_have_answered_or_ended_are_not_overdue() {
    let (breaker, hand) = breaker(slow().slow_calls_in_flight(true));
    let mut streams: Vec<_> = (0..10).map(|_| breaker.admit_owned().unwrap()).collect();
    assert_eq!(breaker.snapshot().overdue_in_flight, 0);
    streams.iter_mut().for_each(|stream| stream.answered());
    let ended = breaker.admit().unwrap();
    ended.success();
    let late = breaker.admit().unwrap();
    hand.advance(3 * SECOND);
    assert_eq!(breaker.snapshot().overdue_in_flight, 1);
    late.ignore();
    assert_eq!(breaker.snapshot().overdue_in_flight, 0);
}

#[test]
fn a_policy_of_the_users_own_sees_the_window_and_may_use_the_breaker() {
    let config = Config::builder()
        .window(Window::Calls(10))
        .policy(|counts: &seawall_circuit_breaker::Counts| counts.calls == 5);
    let (breaker, _) = breaker(config);
    succeed(&breaker, 4);
    assert_eq!(breaker.state(), State::Closed);
    succeed(&breaker, 1);
    assert_eq!(breaker.state(), State::Open);
}

#[test]
fn an_exponential_wait_grows_until_a_recovery_lasts() {
    let wait = OpenWait::exponential(SECOND, 8 * SECOND).jitter(0.0);
    let (breaker, hand) = breaker(Config::builder().consecutive_failures(1).open_wait(wait));
    fail(&breaker, 1);
    for expected in [1, 2, 4, 8, 8] {
        let wait = breaker.snapshot().next_probe_in.unwrap();
        assert_eq!(wait.as_secs(), expected);
        hand.advance(wait);
        fail(&breaker, 1);
    }
    hand.advance(8 * SECOND);
    succeed(&breaker, 1);
    hand.advance(8 * SECOND - MILLI);
    fail(&breaker, 1);
    assert_eq!(breaker.snapshot().next_probe_in, Some(8 * SECOND), "too short a recovery");
    hand.advance(8 * SECOND);
    succeed(&breaker, 1);
    hand.advance(8 * SECOND);
    fail(&breaker, 1);
    assert_eq!(breaker.snapshot().next_probe_in, Some(SECOND));
}

#[test]
fn the_server_says_how_long_to_wait_within_bounds() {
    let wait = OpenWait::constant(SECOND).from_server(SECOND, 60 * SECOND);
    let (breaker, hand) = breaker(Config::builder().consecutive_failures(1).open_wait(wait));
    for (told, kept) in [(30, 30), (3_600, 60), (0, 1)] {
        let mut permit = breaker.admit().unwrap();
        permit.retry_after(told * SECOND);
        permit.failure();
        assert_eq!(breaker.snapshot().next_probe_in, Some(kept * SECOND));
        hand.advance(kept * SECOND);
    }
}

#[test]
fn probes_decide_early_when_the_rest_cannot_change_the_result() {
    let rule = HalfOpen::early_rate(10, Ratio::new(0.5).unwrap());
    let config = Config::builder().consecutive_failures(1).half_open(rule).probes(10);
    let (breaker, hand) = breaker(config);
    fail(&breaker, 1);
    hand.advance(5 * SECOND);
    fail(&breaker, 4);
    assert_eq!(breaker.state(), State::HalfOpen);
    succeed(&breaker, 5);
    assert_eq!(breaker.state(), State::HalfOpen, "the tenth decides");
    succeed(&breaker, 1);
    assert_eq!(breaker.state(), State::Closed);
}

#[test]
fn a_ramp_lets_calls_back_in_step_by_step() {
    let config = Config::builder().consecutive_failures(1).ramp(Ramp::linear(9 * SECOND));
    let (breaker, hand) = breaker(config);
    fail(&breaker, 1);
    hand.advance(5 * SECOND);
    succeed(&breaker, 1);
    let mut admitted = Vec::new();
    for _ in 0..11 {
        let n = (0..100).filter(|_| breaker.admit().map(|p| p.success()).is_ok()).count();
        admitted.push(n);
        hand.advance(SECOND);
    }
    assert_eq!(admitted, [10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 100]);
    assert_eq!(breaker.snapshot().admitted_share, None, "the ramp is over");
}

#[test]
fn a_call_refused_by_a_ramp_says_that_the_breaker_is_closed() {
    let ramp = Ramp::additive(Ratio::new(0.9).unwrap());
    let config = Config::builder().consecutive_failures(1).ramp(ramp);
    let (breaker, hand) = breaker(config);
    fail(&breaker, 1);
    hand.advance(5 * SECOND);
    succeed(&breaker, 1);
    let first = breaker.admit().unwrap();
    assert_eq!(breaker.admit().unwrap_err().state(), State::Closed);
    first.success();
    succeed(&breaker, 5);
}

#[test]
fn a_configuration_of_the_same_shape_keeps_the_window() {
    let (breaker, _) = breaker(hundred());
    fail(&breaker, 10);
    breaker.reconfigure(hundred().minimum_calls(50).failure_rate(0.1).build().unwrap());
    assert_eq!(breaker.snapshot().counts.failures, 10);
    succeed(&breaker, 39);
    assert_eq!(breaker.state(), State::Closed);
    succeed(&breaker, 1);
    assert_eq!(breaker.state(), State::Open, "10 of 50");
}

#[test]
fn another_window_is_a_new_generation_in_the_same_state() {
    let (breaker, hand) = breaker(hundred());
    fail(&breaker, 10);
    let late = breaker.admit_owned().unwrap();
    breaker.reconfigure(hundred().window(Window::Calls(200)).build().unwrap());
    late.failure();
    assert_eq!(breaker.snapshot().counts.calls, 0);
    fail(&breaker, 20);
    assert_eq!(breaker.state(), State::Open);
    hand.advance(2 * SECOND);
    breaker.reconfigure(hundred().window(Window::Time(SECOND)).build().unwrap());
    assert_eq!(breaker.admit().unwrap_err().retry_after(), Some(3 * SECOND));
}

#[test]
fn fewer_probes_never_put_more_of_them_out() {
    let config = |probes| hundred().probes(probes).successes_to_close(9).consecutive_failures(1);
    let (breaker, hand) = breaker(config(3));
    fail(&breaker, 1);
    hand.advance(5 * SECOND);
    let mut probes: Vec<_> = (0..3).map(|_| breaker.admit_owned().unwrap()).collect();
    breaker.reconfigure(config(1).build().unwrap());
    assert!(breaker.admit().is_err());
    probes.pop();
    assert!(breaker.admit().is_err());
    probes.clear();
    assert!(breaker.admit().is_ok());
    breaker.reconfigure(config(2).build().unwrap());
    let (_a, _b) = (breaker.admit().unwrap(), breaker.admit().unwrap());
    assert!(breaker.admit().is_err());
}

#[test]
fn another_mode_in_the_configuration_begins_anew() {
    let (breaker, _) = breaker(hundred().consecutive_failures(1));
    fail(&breaker, 1);
    breaker.reconfigure(hundred().mode(Mode::ForcedClosed).build().unwrap());
    fail(&breaker, 200);
    assert_eq!(breaker.mode(), Mode::ForcedClosed);
    breaker.reconfigure(hundred().mode(Mode::ForcedClosed).build().unwrap());
    assert_eq!(breaker.snapshot().counts.failures, 100);
}

#[test]
fn totals_are_exact_after_a_million_mixed_outcomes_from_ten_threads() {
    let config = hundred().mode(Mode::ForcedClosed).build().unwrap();
    let breaker = CircuitBreaker::builder(config).count_outcomes().build();
    std::thread::scope(|scope| {
        for thread in 0..10 {
            let breaker = breaker.clone();
            scope.spawn(move || {
                for n in 0..100_000_u32 {
                    let permit = breaker.admit().unwrap();
                    match (n + thread) % 4 {
                        0 => permit.failure(),
                        1 => permit.ignore(),
                        2 => drop(permit),
                        _ => permit.success(),
                    }
                }
            });
        }
    });
    let snapshot = breaker.snapshot();
    let totals = snapshot.totals.unwrap();
    assert_eq!((totals.successes, totals.failures), (250_000, 250_000));
    assert_eq!((totals.ignored, totals.rejected), (500_000, 0));
    assert_eq!(snapshot.counts.calls, 100);
}
