//! Calls that their caller drops, and calls that panic.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod common;

use std::time::Duration;

use common::{SECOND, after_two, breaker, fail};
use seawall_circuit_breaker::{CircuitBreaker, CircuitBreakerLayer, Clock, OnDrop, State};
use seawall_test_support::{Probe, Reply};
use tower::{Layer, ServiceExt};

#[test]
fn a_dropped_call_says_nothing_by_default() {
    let (breaker, _) = breaker(after_two());
    fail(&breaker, 1);
    for _ in 0..10 {
        drop(breaker.admit().unwrap());
    }
    assert_eq!(breaker.snapshot().consecutive_failures, 1);
}

#[test]
fn a_dropped_call_fails_where_drops_are_failures() {
    let (breaker, _) = breaker(after_two().on_drop(OnDrop::Failure));
    drop(breaker.admit().unwrap());
    drop(breaker.admit_owned().unwrap());
    assert_eq!(breaker.state(), State::Open);
}

#[test]
fn a_dropped_call_fails_from_the_given_age_on() {
    let (breaker, hand) = breaker(after_two().on_drop(OnDrop::FailureAfter(SECOND)));
    let young = breaker.admit().unwrap();
    hand.advance(SECOND - Duration::from_nanos(1));
    drop(young);
    assert_eq!(breaker.snapshot().consecutive_failures, 0);
    let old = breaker.admit().unwrap();
    hand.advance(SECOND);
    drop(old);
    assert_eq!(breaker.snapshot().consecutive_failures, 1);
}

#[tokio::test(start_paused = true)]
async fn a_time_out_outside_the_breaker_opens_it() {
    let config = after_two().on_drop(OnDrop::FailureAfter(SECOND)).build().unwrap();
    let breaker = CircuitBreaker::builder(config).clock(Clock::tokio()).build();
    let probe = Probe::<(), (), std::io::Error>::new(|()| Reply::Never);
    let handle = probe.handle();
    let service = CircuitBreakerLayer::new(breaker.clone()).layer(probe);
    let mut service = tower::ServiceBuilder::new().timeout(SECOND).service(service);
    for _ in 0..2 {
        assert!(service.ready().await.unwrap().oneshot(()).await.is_err());
        service = service.clone();
    }
    assert_eq!(breaker.state(), State::Open);
    handle.assert_idle();
}

#[tokio::test(start_paused = true)]
async fn a_call_that_panics_in_a_task_is_a_failure() {
    let config = after_two().build().unwrap();
    let breaker = CircuitBreaker::builder(config).clock(Clock::tokio()).build();
    for _ in 0..2 {
        let service = tower::service_fn(|(): ()| async {
            tokio::task::yield_now().await;
            panic!("in the call") as Result<(), std::io::Error>
        });
        let service = CircuitBreakerLayer::new(breaker.clone()).layer(service);
        assert!(tokio::spawn(service.oneshot(())).await.unwrap_err().is_panic());
    }
    assert_eq!(breaker.state(), State::Open);
}

#[tokio::test(start_paused = true)]
async fn a_future_dropped_before_its_first_poll_gives_the_probe_back() {
    let config = after_two().build().unwrap();
    let breaker = CircuitBreaker::builder(config).clock(Clock::tokio()).build();
    fail(&breaker, 2);
    tokio::time::advance(5 * SECOND).await;
    let layer = CircuitBreakerLayer::new(breaker.clone());
    let mut service = layer.layer(Probe::<(), (), std::io::Error>::always(()));
    let call = tower::Service::call(service.ready().await.unwrap(), ());
    assert_eq!(breaker.snapshot().probes_in_flight, 1);
    drop(call);
    assert_eq!(breaker.snapshot().probes_in_flight, 0);
}
