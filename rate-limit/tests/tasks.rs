//! Many threads on one limiter.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    thread,
    time::Duration,
};

use seawall_rate_limit::{Clock, Quota, RateLimiter};

#[test]
fn threads_never_exceed_the_quota_by_one() {
    // A rate that does not divide a second, and a clock that moves under the threads.
    let (clock, hand) = Clock::manual();
    let quota = Quota::new(7, Duration::from_micros(3)).burst(100);
    let limiter = RateLimiter::new(quota).unwrap().with_clock(clock);
    let passed = AtomicU64::new(0);
    thread::scope(|scope| {
        for number in 0..64_u32 {
            let (limiter, hand, passed) = (limiter.clone(), hand.clone(), &passed);
            scope.spawn(move || {
                for round in 0..2_000 {
                    let cost = 1 + (number + round) % 3;
                    if limiter.check_n(cost).is_ok() {
                        passed.fetch_add(cost.into(), Relaxed);
                    }
                    if round % 8 == 0 {
                        hand.advance(Duration::from_nanos(41));
                    }
                }
            });
        }
    });
    // What is left, and nothing else, passes now.
    while limiter.check().is_ok() {
        passed.fetch_add(1, Relaxed);
    }
    // The cell that is due within the next nanosecond may be among them.
    let most = 100 + (hand.now().as_nanos() + 1) * 7 / 3_000;
    let passed = passed.into_inner();
    assert!(passed <= most, "{passed} passed, {most} may");
    // The demand is above the rate all the time, so that nothing of it is lost either.
    assert!(passed + 1 >= most, "{passed} passed, {most} may");
}

#[test]
fn clones_share_one_quota() {
    let (clock, _hand) = Clock::manual();
    let limiter = RateLimiter::new(Quota::per_second(2)).unwrap().with_clock(clock);
    let clone = limiter.clone();
    assert!(limiter.check().is_ok());
    assert!(clone.check().is_ok());
    assert!(limiter.check().is_err());
    assert!(clone.check().is_err());
}
