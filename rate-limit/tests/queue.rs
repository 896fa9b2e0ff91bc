//! Waiting for windows and for several limits: in turn, at the first instant that is left.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::FutureExt;
use proptest::prelude::*;
use seawall_core::Instant;
use seawall_rate_limit::{
    Clock, Quota, RateLimiter, TokenBucket,
    algorithm::{Algorithm, FixedWindow, FromQuotas, Several, SlidingCounter, SlidingLog},
};
use tokio::time::advance;

const SECOND: u64 = 1_000_000_000;
const QUOTAS: [Quota; 2] = [Quota::per_second(10), Quota::new(25, Duration::from_secs(60))];

fn limiter<A: FromQuotas>(quotas: &[Quota]) -> RateLimiter<A> {
    RateLimiter::of(A::from_quotas(quotas).unwrap())
}

#[derive(Clone, Debug)]
enum Step {
    Pass(u64),
    Check(u32),
    Book(u32),
    /// Gives up the wait of this number.
    Drop(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => prop_oneof![0..SECOND / 3, 0..3 * SECOND].prop_map(Step::Pass),
        3 => (0..12_u32).prop_map(Step::Check),
        3 => (0..12_u32).prop_map(Step::Book),
        1 => (0..8_usize).prop_map(Step::Drop),
    ];
    proptest::collection::vec(step, 1..60)
}

/// The slow and obvious queue: the first in it tries at each instant that somebody could pass at,
/// against a limiter that never waits, and all behind it wait for it.
fn follows<A: FromQuotas>(quotas: &[Quota], steps: Vec<Step>) -> Result<(), TestCaseError> {
    let (clock, hand) = Clock::manual();
    let ours = limiter::<A>(quotas).with_clock(clock);
    let (model_clock, model_hand) = Clock::manual();
    let mut passed: Vec<(u64, u32)> = Vec::new();
    let mut waiting = Vec::new();

    // When a call passes that comes after all of these.
    let first = |passed: &[(u64, u32)], now: u64, cost: u32| -> Option<u64> {
        let model = limiter::<A>(quotas).with_clock(model_clock.clone());
        let mut latest = 0;
        for &(at, cost) in passed {
            model_hand.set(Instant::from_nanos(at));
            assert!(model.check_n(cost).is_ok(), "{cost} at {at} after {passed:?}");
            latest = at;
        }
        let now = now.max(latest);
        model_hand.set(Instant::from_nanos(now));
        match model.check_n(cost) {
            Ok(_) => Some(now),
            Err(rejected) => rejected.retry_after().map(|wait| now + wait.as_nanos() as u64),
        }
    };

    for step in steps {
        let now = hand.now().as_nanos();
        match step {
            Step::Pass(nanos) => hand.advance(Duration::from_nanos(nanos)),
            Step::Check(cost) => {
                let left = ours.snapshot().remaining;
                let expected = if cost == 0 { Some(now) } else { first(&passed, now, cost) };
                match ours.check_n(cost) {
                    Ok(allowed) => {
                        prop_assert_eq!(expected, Some(now), "{} at {} {:?}", cost, now, passed);
                        prop_assert_eq!(allowed.remaining(), left - cost);
                        passed.extend((cost > 0).then_some((now, cost)));
                    }
                    Err(rejected) => {
                        let wait = rejected.retry_after().map(|wait| now + wait.as_nanos() as u64);
                        prop_assert_eq!(wait, expected, "{} at {} {:?}", cost, now, passed);
                        prop_assert!(wait > Some(now) || rejected.is_never());
                    }
                }
            }
            Step::Book(cost) => {
                let expected = if cost == 0 { Some(now) } else { first(&passed, now, cost) };
                match ours.reserve(cost) {
                    Ok(reservation) => {
                        let ready = now + reservation.delay().as_nanos() as u64;
                        prop_assert_eq!(Some(ready), expected, "{} at {} {:?}", cost, now, passed);
                        passed.extend((cost > 0).then_some((ready, cost)));
                        waiting.push((ready, cost, reservation));
                    }
                    Err(rejected) => prop_assert!(rejected.is_never() && expected.is_none()),
                }
            }
            Step::Drop(number) if number < waiting.len() => {
                let (ready, cost, reservation) = waiting.remove(number);
                reservation.cancel();
                if ready > now && cost > 0 {
                    let at = passed.iter().position(|&entry| entry == (ready, cost)).unwrap();
                    passed.remove(at);
                }
            }
            Step::Drop(_) => {}
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn a_log_lets_those_who_wait_pass_in_turn(steps in steps()) {
        follows::<SlidingLog>(&QUOTAS[..1], steps)?;
    }

    #[test]
    fn a_counter_lets_those_who_wait_pass_in_turn(steps in steps()) {
        follows::<SlidingCounter>(&QUOTAS[..1], steps)?;
    }

    #[test]
    fn a_fixed_window_lets_those_who_wait_pass_in_turn(steps in steps()) {
        follows::<FixedWindow>(&QUOTAS[..1], steps)?;
    }

    #[test]
    fn several_windows_let_those_who_wait_pass_in_turn(steps in steps()) {
        follows::<Several<SlidingLog>>(&QUOTAS, steps)?;
    }

    #[test]
    fn several_buckets_let_those_who_wait_pass_in_turn(steps in steps()) {
        follows::<Several<TokenBucket>>(&QUOTAS, steps)?;
    }
}

/// Two cells are left of ten, a call of five waits, a call of one behind it.
async fn nobody_steals<A: Algorithm>(algorithm: A) {
    let limiter = RateLimiter::of(algorithm).with_clock(Clock::tokio());
    limiter.check_n(8).unwrap();
    let mut large = Box::pin(limiter.until_ready(5));
    assert!((&mut large).now_or_never().is_none());
    assert!(limiter.check().is_err(), "a newcomer passed in front of one who waits");
    let mut small = Box::pin(limiter.until_ready(1));
    assert!((&mut small).now_or_never().is_none(), "a newcomer passed in front of one who waits");
    drop(small);
    drop(large);
    assert!(limiter.check_n(2).is_ok(), "who has given up keeps nobody");

    let start = tokio::time::Instant::now();
    let late = limiter.until_ready(5).within(Duration::from_millis(1)).await.unwrap_err();
    assert_eq!(start.elapsed(), Duration::ZERO, "a deadline that cannot be met fails at once");
    let wait = late.retry_after().unwrap();
    limiter.until_ready(5).within(wait).await.unwrap();
    assert!(start.elapsed() >= wait && start.elapsed() <= wait + Duration::from_millis(1));
    assert!(limiter.until_ready(11).await.unwrap_err().is_never());
}

#[tokio::test(start_paused = true)]
async fn no_newcomer_passes_in_front_of_those_who_wait_and_who_gives_up_keeps_nobody() {
    let quota = QUOTAS[0];
    nobody_steals(TokenBucket::new(quota).unwrap()).await;
    nobody_steals(SlidingLog::new(quota).unwrap()).await;
    nobody_steals(SlidingCounter::new(quota).unwrap()).await;
    nobody_steals(FixedWindow::new(quota).unwrap()).await;
    nobody_steals(Several::<TokenBucket>::from_quotas(&QUOTAS).unwrap()).await;
}

/// A large call among small ones that never end, many of which give up.
async fn in_turn<A: Algorithm>(algorithm: A) {
    let limiter = RateLimiter::of(algorithm).with_clock(Clock::tokio());
    let order = Arc::new(Mutex::new(Vec::new()));
    let mut tasks = Vec::new();
    for number in 0..64 {
        let (limiter, order) = (limiter.clone(), order.clone());
        let cost = if number == 20 { 10 } else { 1 };
        tasks.push(tokio::spawn(async move {
            limiter.until_ready(cost).await.unwrap();
            order.lock().unwrap().push(number);
        }));
        tokio::task::yield_now().await;
    }
    for task in tasks.iter().skip(11).step_by(3) {
        task.abort();
    }
    for _ in 0..2_000 {
        advance(Duration::from_millis(10)).await;
        for _ in 0..64 {
            // Whose time has come has passed.
            tokio::task::yield_now().await;
        }
        // Each small one that asks anew is behind all who wait.
        let waits = tasks.iter().any(|task| !task.is_finished());
        assert!(!waits || limiter.check().is_err(), "a newcomer passed");
        if !waits {
            break;
        }
    }
    let order = order.lock().unwrap().clone();
    let given_up = |number| number >= 11 && (number - 11) % 3 == 0;
    let expected: Vec<_> = (0..64).filter(|&number| !given_up(number)).collect();
    assert_eq!(order, expected);
}

#[tokio::test(start_paused = true)]
async fn the_order_is_kept_when_a_third_of_the_queue_gives_up() {
    let quota = QUOTAS[0];
    in_turn(SlidingLog::new(quota).unwrap()).await;
    in_turn(SlidingCounter::new(quota).unwrap()).await;
    in_turn(FixedWindow::new(quota).unwrap()).await;
    in_turn(Several::<FixedWindow>::from_quotas(&[quota, Quota::per_minute(99)]).unwrap()).await;
    in_turn(TokenBucket::new(quota).unwrap()).await;
}

#[test]
fn reservations_that_nobody_uses_do_not_grow_a_queue_without_end() {
    let (clock, _hand) = Clock::manual();
    let limiter = limiter::<FixedWindow>(&[Quota::per_second(1)]).with_clock(clock);
    let booked = (0..70_000).filter(|_| limiter.reserve(1).is_ok()).count();
    assert_eq!(booked, 65_537, "one at once, the others wait");
    let wait = limiter.reserve(1).unwrap_err().retry_after();
    assert_eq!(wait, Some(Duration::from_secs(65_537)));
}
