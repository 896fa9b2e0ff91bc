//! The request path allocates nothing.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::{
    hint::black_box,
    pin::pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use seawall_rate_limit::{
    KeyedLimiter, Quota, RateLimitLayer, RateLimiter,
    algorithm::{FixedWindow, Several, SlidingCounter, SlidingLog},
};
use seawall_test_support::{CountingAllocator, allocations};
use tower::{Layer, Service, service_fn};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator::new();

#[test]
fn a_decision_allocates_nothing() {
    for limit in [3, 1_000] {
        let limiter = RateLimiter::new(Quota::per_second(limit).burst(1)).unwrap();
        let counted = allocations(|| {
            for _ in 0..100 {
                let _ = black_box(limiter.check());
                let _ = black_box(limiter.peek());
                black_box(limiter.check_at_most(2));
            }
        });
        assert_eq!(counted, 0);
    }
}

#[test]
fn a_window_allocates_nothing_once_it_is_built() {
    let quota = Quota::new(100, Duration::from_nanos(500));
    let log = RateLimiter::of(SlidingLog::new(quota).unwrap());
    let counter = RateLimiter::of(SlidingCounter::new(quota).unwrap());
    let fixed = RateLimiter::of(FixedWindow::new(quota).unwrap());
    let several = Several::new([FixedWindow::new(quota).unwrap()]).unwrap();
    let several = RateLimiter::of(several);
    let counted = allocations(|| {
        for _ in 0..10_000 {
            let _ = black_box(log.check());
            let _ = black_box(counter.check());
            let _ = black_box(fixed.check());
            let _ = black_box(several.check());
        }
    });
    assert_eq!(counted, 0);
}

#[test]
fn a_key_allocates_nothing_whether_it_is_known_or_new() {
    let limiter = KeyedLimiter::<str>::new(Quota::per_second(10), 1_000).unwrap();
    let keys: Vec<_> = (0..2_000).map(|number| format!("key {number}")).collect();
    let counted = allocations(|| {
        for key in keys.iter().chain(&keys) {
            let _ = black_box(limiter.check(key));
            let _ = black_box(limiter.peek(key));
        }
    });
    assert_eq!(counted, 0);
}

#[test]
fn a_wait_that_is_none_and_a_reservation_allocate_nothing() {
    let limiter = RateLimiter::new(Quota::per_second(1_000_000_000)).unwrap();
    let mut cx = Context::from_waker(Waker::noop());
    let counted = allocations(|| {
        for _ in 0..100 {
            assert!(pin!(limiter.until_ready(1)).poll(&mut cx).is_ready());
            limiter.reserve(1).unwrap().cancel();
        }
    });
    assert_eq!(counted, 0);
}

#[test]
fn the_layer_allocates_nothing_whether_it_lets_a_call_through_or_refuses_it() {
    let limiter = RateLimiter::new(Quota::per_second(1).burst(1)).unwrap().named("orders");
    let layer = RateLimitLayer::new(limiter).wait_up_to(Duration::from_millis(1));
    let inner = service_fn(|request: u32| std::future::ready(Ok::<_, std::io::Error>(request)));
    let mut service = layer.layer(inner);
    let mut cx = Context::from_waker(Waker::noop());
    let counted = allocations(|| {
        let mut passed = 0;
        for _ in 0..100 {
            assert!(service.poll_ready(&mut cx).is_ready());
            match pin!(service.call(1)).poll(&mut cx) {
                Poll::Ready(Ok(_)) => passed += 1,
                Poll::Ready(Err(error)) => assert!(error.rejection().is_some()),
                Poll::Pending => panic!("nobody waits"),
            }
        }
        assert_eq!(passed, 1);
    });
    assert_eq!(counted, 0);
}

#[test]
fn a_permit_allocates_nothing_also_where_the_limit_adapts() {
    use seawall_rate_limit::concurrency::{Aimd, ConcurrencyLimit, Gradient};

    let limits = [
        ConcurrencyLimit::new(2).unwrap(),
        ConcurrencyLimit::new(Aimd::new(Duration::from_nanos(500)).initial(2)).unwrap(),
        ConcurrencyLimit::new(Gradient::new().initial(2).window(Duration::from_nanos(1))).unwrap(),
    ];
    let mut cx = Context::from_waker(Waker::noop());
    for limit in limits {
        let limit = limit.named("orders");
        let counted = allocations(|| {
            for _ in 0..1_000 {
                let first = black_box(limit.try_acquire());
                let _ = black_box(limit.try_acquire());
                let _ = black_box(limit.try_acquire());
                if let Ok(permit) = first {
                    permit.success();
                }
                assert!(pin!(limit.acquire()).poll(&mut cx).is_ready());
            }
        });
        assert_eq!(counted, 0);
    }
}
