//! The tower contract, and what the request path costs.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod common;

use common::{SECOND, after_two, fail};
use futures::FutureExt;
use seawall_circuit_breaker::{CircuitBreaker, CircuitBreakerLayer, Clock, Error, State};
use seawall_test_support::{CountingAllocator, Probe, Readiness, Reply, allocations};
use tower::{Layer, Service, ServiceExt};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator::new();

type Inner = Probe<u32, u32, std::io::Error>;

fn breaker() -> CircuitBreaker {
    let config = after_two().build().unwrap();
    CircuitBreaker::builder(config).named("orders").clock(Clock::tokio()).build()
}

fn ok() -> Inner {
    Probe::new(|n| Reply::ok(n + 1))
}

#[tokio::test(start_paused = true)]
async fn calls_the_instance_that_was_polled_ready() {
    let probe = ok();
    let handle = probe.handle();
    let service = CircuitBreakerLayer::new(breaker()).layer(probe);
    for _ in 0..3 {
        let mut service = service.clone();
        assert_eq!(service.ready().await.unwrap().call(1).await.unwrap(), 2);
    }
    handle.assert_idle();
}

#[tokio::test(start_paused = true)]
async fn layers_of_one_breaker_share_its_state() {
    let layer = CircuitBreakerLayer::new(breaker());
    let failing: Inner = Probe::new(|_| Reply::error(std::io::Error::other("down")));
    let mut one = layer.layer(failing);
    for _ in 0..2 {
        assert!(matches!(one.ready().await.unwrap().call(1).await, Err(Error::Inner(_))));
    }
    let other = layer.layer(ok());
    let refused = other.oneshot(1).await.unwrap_err();
    assert_eq!(refused.rejection().unwrap().refused_by(), Some("orders"));
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_no_readiness_error_and_leaves_the_inner_service_alone() {
    let breaker = breaker();
    fail(&breaker, 2);
    let probe = ok().readiness(|| Readiness::Error(std::io::Error::other("broken")));
    let handle = probe.handle();
    let mut service = CircuitBreakerLayer::new(breaker).layer(probe);
    for _ in 0..3 {
        let call = service.ready().await.unwrap().call(1);
        assert!(matches!(call.await, Err(Error::Rejected(_))));
    }
    assert_eq!((handle.readiness_polls(), handle.calls()), (0, 0));
}

/// One instance may be ready at a time, as under a concurrency limit of one.
fn one_at_a_time() -> Inner {
    ok().capacity(1)
}

#[tokio::test(start_paused = true)]
async fn what_a_refused_call_reserved_goes_back() {
    let breaker = breaker();
    let probe = one_at_a_time();
    let mut other = probe.clone();
    let mut service = CircuitBreakerLayer::new(breaker.clone()).layer(probe);
    service.ready().await.unwrap();
    assert!(other.ready().now_or_never().is_none(), "the one place is reserved");
    fail(&breaker, 2);
    assert!(matches!(service.call(1).await, Err(Error::Rejected(_))));
    assert_eq!(other.ready().await.unwrap().call(1).await.unwrap(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_was_reserved_before_the_breaker_opened_goes_back_when_it_is_polled_again() {
    let breaker = breaker();
    let probe = one_at_a_time();
    let mut other = probe.clone();
    let mut service = CircuitBreakerLayer::new(breaker.clone()).layer(probe);
    service.ready().await.unwrap();
    fail(&breaker, 2);
    service.ready().await.unwrap();
    assert_eq!(other.ready().await.unwrap().call(1).await.unwrap(), 2);
    assert!(matches!(service.call(1).await, Err(Error::Rejected(_))));
}

#[tokio::test(start_paused = true)]
async fn a_permit_of_towers_concurrency_limit_comes_back_from_a_refused_call() {
    let breaker = breaker();
    let limited = tower::limit::ConcurrencyLimit::new(ok(), 1);
    let mut other = limited.clone();
    let mut service = CircuitBreakerLayer::new(breaker.clone()).layer(limited);
    service.ready().await.unwrap();
    fail(&breaker, 2);
    assert!(other.ready().now_or_never().is_none());
    drop(service.call(1));
    assert_eq!(other.ready().await.unwrap().call(1).await.unwrap(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_place_in_the_queue_of_the_inner_service_goes_back_too() {
    let breaker = breaker();
    let limited = tower::limit::ConcurrencyLimit::new(ok(), 1);
    let (mut first, mut third) = (limited.clone(), limited.clone());
    let mut queued = CircuitBreakerLayer::new(breaker.clone()).layer(limited);
    first.ready().await.unwrap();
    assert!(queued.ready().now_or_never().is_none());
    fail(&breaker, 2);
    assert!(matches!(queued.ready().await.unwrap().call(1).await, Err(Error::Rejected(_))));
    first.call(1).await.unwrap();
    assert_eq!(third.ready().await.unwrap().call(1).await.unwrap(), 2);
}

#[tokio::test(start_paused = true)]
async fn readiness_of_a_service_that_is_not_clone_serves_the_next_call() {
    let breaker = breaker();
    let probe = ok();
    let handle = probe.handle();
    let boxed = tower::util::BoxService::new(probe);
    let mut service = CircuitBreakerLayer::new(breaker.clone())
        .track(seawall_core::AtResult(|_: Result<&u32, &_>| seawall_core::Outcome::Success))
        .wrap(boxed);
    service.ready().await.unwrap();
    fail(&breaker, 2);
    assert!(matches!(service.call(1).await, Err(Error::Rejected(_))));
    assert_eq!(handle.calls(), 0);
    tokio::time::advance(5 * SECOND).await;
    assert_eq!(service.ready().await.unwrap().call(1).await.unwrap(), 2);
    assert_eq!(breaker.state(), State::Closed);
    drop(service);
    handle.assert_idle();
}

#[tokio::test(start_paused = true)]
async fn a_call_of_an_instance_that_was_skipped_is_refused_though_the_wait_is_over() {
    let breaker = breaker();
    fail(&breaker, 2);
    let probe = ok();
    let mut service = CircuitBreakerLayer::new(breaker).layer(probe);
    service.ready().await.unwrap();
    tokio::time::advance(5 * SECOND).await;
    assert!(matches!(service.call(1).await, Err(Error::Rejected(_))));
    assert_eq!(service.ready().await.unwrap().call(1).await.unwrap(), 2);
}

#[tokio::test(start_paused = true)]
async fn readiness_of_the_inner_service_is_passed_on() {
    let probe = ok();
    let handle = probe.handle();
    handle.set_ready(false);
    let mut service = CircuitBreakerLayer::new(breaker()).layer(probe);
    assert!(service.ready().now_or_never().is_none());
    handle.set_ready(true);
    assert_eq!(service.ready().await.unwrap().call(1).await.unwrap(), 2);
}

#[tokio::test(start_paused = true)]
async fn probes_are_bounded_and_each_gives_its_slot_back_on_drop() {
    let breaker = breaker();
    fail(&breaker, 2);
    tokio::time::advance(5 * SECOND).await;
    let probe: Inner = Probe::new(|_| Reply::Never);
    let handle = probe.handle();
    let service = CircuitBreakerLayer::new(breaker.clone()).layer(probe);
    let (mut a, mut b) = (service.clone(), service);
    a.ready().await.unwrap();
    b.ready().await.unwrap();
    let mut first = tokio_test::task::spawn(a.call(1));
    assert!(first.poll().is_pending());
    assert!(matches!(b.call(1).await, Err(Error::Rejected(_))));
    drop(first);
    assert_eq!(breaker.snapshot().probes_in_flight, 0);
    drop((a, b));
    handle.assert_idle();
}

/// A service whose own call allocates nothing.
#[derive(Clone)]
struct Bare;

impl Service<bool> for Bare {
    type Response = ();
    type Error = std::io::Error;
    type Future = std::future::Ready<Result<(), std::io::Error>>;

    fn poll_ready(
        &mut self,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), std::io::Error>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, ok: bool) -> Self::Future {
        let kind = std::io::ErrorKind::ConnectionReset;
        std::future::ready(if ok { Ok(()) } else { Err(kind.into()) })
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_on_the_request_path_allocates() {
    let breaker = breaker();
    let mut service = CircuitBreakerLayer::new(breaker.clone()).layer(Bare);
    let mut call = |ok| {
        let ready = service.ready().now_or_never().unwrap().unwrap();
        drop(ready.call(ok).now_or_never().unwrap());
    };
    let mut all = || {
        breaker.reset();
        breaker.admit().unwrap().success();
        breaker.admit_owned().unwrap().ignore();
        // Opens, refuses.
        call(true);
        call(false);
        call(false);
        assert!(breaker.admit().is_err());
        call(true);
        assert_eq!(breaker.state(), State::Open);
        drop(breaker.clone());
    };
    all();
    assert_eq!(allocations(all), 0);

    tokio::time::advance(5 * SECOND).await;
    let probe = || breaker.admit().unwrap().success();
    assert_eq!(allocations(probe), 0, "half-open and closed again");
    assert_eq!(breaker.state(), State::Closed);
}

#[test]
fn no_window_or_measure_allocates() {
    use seawall_circuit_breaker::{Config, OnDrop, Window};
    for window in [Window::Calls(1_000), Window::Time(10 * SECOND)] {
        let config = Config::builder()
            .window(window)
            .failure_rate(0.9)
            .slow_call_rate(SECOND, 0.9)
            .slow_calls_in_flight(true)
            .on_drop(OnDrop::FailureAfter(SECOND))
            .build()
            .unwrap();
        let (clock, hand) = Clock::manual();
        let breaker = CircuitBreaker::builder(config).clock(clock).count_outcomes().build();
        let calls = || {
            for n in 0..2_000 {
                let permit = breaker.admit().unwrap();
                hand.advance(SECOND / 50);
                if n % 3 == 0 { permit.failure() } else { permit.success() }
            }
        };
        assert_eq!(allocations(calls), 0, "{window:?}");
        assert_eq!(breaker.state(), State::Closed);
    }
}

#[test]
fn nothing_on_the_path_of_a_throttle_allocates() {
    use seawall_circuit_breaker::throttle::{Config, Priority, Throttle, ThrottleLayer};
    let throttle = Throttle::builder(Config::default()).named("orders").seed(1).build();
    let mut service = ThrottleLayer::new(throttle.clone()).layer(Bare);
    let calls = || {
        for n in 0..1_000 {
            if let Ok(permit) = throttle.admit(Priority::Critical) {
                if n % 3 == 0 { permit.refused() } else { permit.accepted() }
            }
            let ready = service.ready().now_or_never().unwrap().unwrap();
            drop(ready.call(n % 5 == 0).now_or_never().unwrap());
        }
    };
    assert_eq!(allocations(calls), 0);
    let seen = *throttle.snapshot().class(Priority::Critical);
    assert!(seen.shedding && seen.accepts > 300, "{seen:?}");
}
