//! What opens a breaker, and what an open one does.

mod common;

use std::{sync::Arc, time::Duration};

use common::{Log, SECOND, after_two, breaker, fail, succeed};
use seawall_circuit_breaker::{Cause, CircuitBreaker, Clock, Config, Mode, Rejection, State};
use seawall_core::{Guard, Outcome, Reason};

#[test]
fn the_nth_failure_in_a_row_opens_and_the_one_before_does_not() {
    let (breaker, _) = breaker(Config::builder().consecutive_failures(3));
    fail(&breaker, 2);
    assert_eq!(breaker.state(), State::Closed);
    fail(&breaker, 1);
    assert_eq!(breaker.state(), State::Open);
}

#[test]
fn a_success_between_failures_keeps_it_closed() {
    let (breaker, _) = breaker(after_two());
    for _ in 0..100 {
        fail(&breaker, 1);
        succeed(&breaker, 1);
    }
    assert_eq!(breaker.state(), State::Closed);
}

#[test]
fn an_ignored_call_neither_ends_nor_lengthens_a_streak() {
    let (breaker, _) = breaker(after_two());
    fail(&breaker, 1);
    breaker.admit().unwrap().ignore();
    assert_eq!(breaker.state(), State::Closed);
    fail(&breaker, 1);
    assert_eq!(breaker.state(), State::Open);
}

#[test]
fn an_open_breaker_says_how_long_it_will_refuse() {
    let (breaker, hand) = breaker(after_two());
    fail(&breaker, 2);
    hand.advance(2 * SECOND);
    let rejected = breaker.admit().unwrap_err();
    assert_eq!(rejected.state(), State::Open);
    assert_eq!(rejected.retry_after(), Some(3 * SECOND));
    assert!(!rejected.probe_in_flight());
    assert!(!breaker.would_admit());
    assert_eq!(breaker.snapshot().next_probe_in, Some(3 * SECOND));
}

#[test]
fn a_refusal_becomes_a_rejection_with_the_name_of_the_breaker() {
    let (breaker, _) = breaker(after_two());
    fail(&breaker, 2);
    let rejection: Rejection = breaker.rejection(breaker.admit().unwrap_err());
    assert_eq!(rejection.reason(), Reason::CircuitOpen);
    assert_eq!(rejection.refused_by(), Some("orders"));
    assert_eq!(rejection.retry_after(), Some(5 * SECOND));
}

#[test]
fn an_outcome_of_an_older_generation_changes_nothing() {
    let (breaker, hand) = breaker(after_two());
    let mut late: Vec<_> = (0..4).map(|_| breaker.admit().unwrap()).collect();
    fail(&breaker, 2);
    late.pop().unwrap().success();
    assert_eq!(breaker.state(), State::Open);

    hand.advance(5 * SECOND);
    let probe = breaker.admit().unwrap();
    late.pop().unwrap().failure();
    assert_eq!(breaker.state(), State::HalfOpen);
    probe.success();

    late.pop().unwrap().failure();
    late.pop().unwrap().failure();
    assert_eq!(breaker.state(), State::Closed);
    assert_eq!(breaker.snapshot().consecutive_failures, 0);
}

#[test]
fn a_reset_closes_and_forgets() {
    let (breaker, _) = breaker(after_two());
    fail(&breaker, 1);
    breaker.reset();
    fail(&breaker, 1);
    assert_eq!(breaker.state(), State::Closed);
    fail(&breaker, 1);
    assert_eq!(breaker.state(), State::Open);
    breaker.reset();
    assert_eq!(breaker.state(), State::Closed);
    succeed(&breaker, 1);
}

#[test]
fn a_breaker_forced_open_refuses_until_it_is_automatic_again() {
    let (breaker, hand) = breaker(after_two());
    breaker.force_open();
    hand.advance(Duration::MAX / 2);
    assert!(!breaker.would_admit());
    assert_eq!(breaker.admit().unwrap_err().retry_after(), None);
    breaker.reset();
    assert!(breaker.admit().is_err(), "a reset leaves the mode");
    breaker.automatic();
    succeed(&breaker, 1);
}

#[test]
fn a_breaker_forced_closed_admits_whatever_fails() {
    let (breaker, _) = breaker(after_two());
    fail(&breaker, 2);
    breaker.force_closed();
    fail(&breaker, 10);
    assert_eq!((breaker.state(), breaker.mode()), (State::Closed, Mode::ForcedClosed));
    assert_eq!(breaker.snapshot().consecutive_failures, 10, "it counts all the same");
}

#[test]
fn a_disabled_breaker_counts_nothing() {
    let (breaker, _) = breaker(after_two().mode(Mode::Disabled));
    fail(&breaker, 10);
    assert_eq!(breaker.state(), State::Closed);
    assert_eq!(breaker.snapshot().consecutive_failures, 0);
}

#[test]
fn a_shadow_changes_its_state_and_refuses_nobody() {
    let (clock, hand) = Clock::manual();
    let log = Log::new();
    let config = after_two().mode(Mode::Shadow).build().unwrap();
    let breaker = CircuitBreaker::builder(config).clock(clock).observer(log.clone()).build();
    fail(&breaker, 2);
    assert_eq!(breaker.state(), State::Open);
    assert!(breaker.would_admit());
    fail(&breaker, 3);
    assert_eq!(log.rejections.lock().unwrap().len(), 3);
    assert!(log.rejections.lock().unwrap().iter().all(|(_, shadow)| *shadow));
    hand.advance(5 * SECOND);
    succeed(&breaker, 1);
    assert_eq!(breaker.state(), State::Closed);
}

#[test]
fn an_observer_hears_each_change_with_its_cause() {
    let (clock, hand) = Clock::manual();
    let log = Log::new();
    let config = after_two().build().unwrap();
    let breaker = CircuitBreaker::builder(config).clock(clock).observer(log.clone()).build();
    fail(&breaker, 2);
    hand.advance(5 * SECOND);
    fail(&breaker, 1);
    hand.advance(5 * SECOND);
    succeed(&breaker, 1);
    breaker.force_open();
    let told = log.transitions.lock().unwrap();
    let steps: Vec<_> = told.iter().map(|t| (t.from, t.to, t.cause, t.wait)).collect();
    let wait = Some(5 * SECOND);
    assert_eq!(
        steps,
        [
            (State::Closed, State::Open, Cause::ConsecutiveFailures, wait),
            (State::Open, State::HalfOpen, Cause::WaitOver, None),
            (State::HalfOpen, State::Open, Cause::ProbesFailed, wait),
            (State::Open, State::HalfOpen, Cause::WaitOver, None),
            (State::HalfOpen, State::Closed, Cause::Recovered, None),
            (State::Closed, State::Open, Cause::ByHand, None),
        ]
    );
    assert!(told.windows(2).all(|pair| pair[0].generation < pair[1].generation));
}

#[test]
fn clones_share_one_state() {
    let (breaker, _) = breaker(after_two());
    fail(&breaker.clone(), 2);
    assert_eq!(breaker.state(), State::Open);
}

#[test]
fn a_wait_without_an_end_never_ends() {
    let (breaker, hand) = breaker(after_two().open_wait(Duration::MAX));
    fail(&breaker, 2);
    hand.advance(Duration::from_secs(1 << 30));
    assert!(breaker.admit().is_err());
}

#[test]
fn a_clock_that_runs_backward_neither_panics_nor_shortens_the_wait() {
    let (breaker, hand) = breaker(after_two());
    hand.advance(100 * SECOND);
    fail(&breaker, 2);
    hand.set(seawall_core::Instant::ORIGIN);
    assert_eq!(breaker.admit().unwrap_err().retry_after(), Some(105 * SECOND));
}

#[test]
fn sync_and_async_calls_are_judged_alike() {
    let (breaker, _) = breaker(after_two());
    let down = || Err::<(), _>(std::io::Error::other("down"));
    assert!(breaker.call(down).unwrap_err().into_inner().is_ok());
    let future = breaker.call_async(async { down() });
    assert!(tokio_test::block_on(future).unwrap_err().into_inner().is_ok());
    assert!(breaker.call(down).unwrap_err().rejection().is_some());
    let future = breaker.call_async(async { panic!("polled") as Result<(), std::io::Error> });
    assert!(tokio_test::block_on(future).unwrap_err().rejection().is_some());
}

#[test]
fn a_refusal_by_a_layer_further_in_is_no_failure() {
    let ((outer, _), (inner, _)) = (breaker(after_two()), breaker(after_two()));
    inner.force_open();
    for _ in 0..10 {
        assert!(outer.call(|| inner.call(|| Ok::<_, std::io::Error>(()))).is_err());
    }
    assert_eq!(outer.state(), State::Closed);
}

#[test]
fn a_permit_is_a_guard() {
    let (breaker, _) = breaker(after_two());
    for _ in 0..2 {
        Guard::finish(breaker.admit_owned().unwrap(), Outcome::Failure);
    }
    assert_eq!(breaker.state(), State::Open);
    let _: Arc<dyn Send> = Arc::new(breaker);
}

#[test]
fn an_observer_may_use_the_breaker_that_it_hears_of() {
    use std::sync::{Mutex, OnceLock};

    use seawall_circuit_breaker::{Observer, Rejected, Transition};

    #[derive(Default)]
    struct Nosy {
        breaker: OnceLock<CircuitBreaker>,
        seen: Mutex<Vec<State>>,
    }

    impl Observer for Nosy {
        fn transition(&self, _: Option<&str>, told: &Transition) {
            let snapshot = self.breaker.get().unwrap().snapshot();
            assert_eq!(snapshot.generation, told.generation);
            self.seen.lock().unwrap().push(snapshot.state);
        }

        fn rejected(&self, _: Option<&str>, _: &Rejected, _: bool) {
            self.breaker.get().unwrap().reset();
        }
    }

    let nosy = Arc::new(Nosy::default());
    let config = after_two().build().unwrap();
    let breaker = CircuitBreaker::builder(config).observer(nosy.clone()).build();
    nosy.breaker.set(breaker.clone()).unwrap();
    fail(&breaker, 2);
    assert!(breaker.admit().is_err());
    assert_eq!(*nosy.seen.lock().unwrap(), [State::Open, State::Closed]);
}
