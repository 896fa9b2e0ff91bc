//! Waiting in turn.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::FutureExt;
use seawall_rate_limit::{Clock, Quota, RateLimiter};
use tokio::time::{Instant, advance, sleep};

/// `limit` a second, one at once, and the first one is taken.
fn busy(limit: u32) -> RateLimiter {
    let limiter = RateLimiter::new(Quota::per_second(limit).burst(1)).unwrap();
    let limiter = limiter.with_clock(Clock::tokio());
    limiter.check().unwrap();
    limiter
}

const SLOT: Duration = Duration::from_millis(100);

#[tokio::test(start_paused = true)]
async fn callers_pass_in_the_order_in_which_they_asked() {
    let limiter = busy(10);
    let order = Arc::new(Mutex::new(Vec::new()));
    let start = Instant::now();
    let tasks: Vec<_> = (0..64)
        .map(|number| {
            let (limiter, order) = (limiter.clone(), order.clone());
            tokio::spawn(async move {
                limiter.until_ready(1).await.unwrap();
                order.lock().unwrap().push(number);
                start.elapsed()
            })
        })
        .collect();
    for (number, task) in (1..).zip(tasks) {
        assert_eq!(task.await.unwrap(), SLOT * number);
    }
    assert_eq!(*order.lock().unwrap(), (0..64).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_newcomer_does_not_get_in_front_of_a_large_cost() {
    let limiter = RateLimiter::new(Quota::per_second(10).burst(5)).unwrap();
    let limiter = limiter.with_clock(Clock::tokio());
    limiter.check_n(5).unwrap();
    let mut large = Box::pin(limiter.until_ready(5));
    assert!((&mut large).now_or_never().is_none());
    for _ in 0..4 {
        advance(SLOT).await;
        assert!(limiter.check().is_err(), "what refills belongs to who waits");
    }
    let start = Instant::now();
    large.await.unwrap();
    assert_eq!(start.elapsed(), SLOT);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_that_cannot_be_met_fails_at_once_and_changes_nothing() {
    let limiter = busy(10);
    let before = limiter.snapshot();
    let start = Instant::now();
    let wait = limiter.until_ready(1).within(SLOT - Duration::from_nanos(1));
    let rejected = wait.await.unwrap_err();
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert_eq!(rejected.retry_after(), Some(SLOT));
    assert_eq!(limiter.snapshot(), before);

    limiter.until_ready(1).within(SLOT).await.unwrap();
    assert_eq!(start.elapsed(), SLOT);
}

#[tokio::test(start_paused = true)]
async fn a_cost_above_the_burst_never_waits() {
    let limiter = busy(10);
    assert!(limiter.until_ready(2).await.unwrap_err().is_never());
    assert!(limiter.reserve(2).unwrap_err().is_never());
}

#[tokio::test(start_paused = true)]
async fn the_last_in_the_queue_gives_everything_back_when_it_is_dropped() {
    let limiter = busy(10);
    let mut first = Box::pin(limiter.until_ready(1));
    assert!((&mut first).now_or_never().is_none());
    let before = limiter.snapshot();
    let mut second = Box::pin(limiter.until_ready(1));
    assert!((&mut second).now_or_never().is_none());
    assert_ne!(limiter.snapshot(), before);
    drop(second);
    assert_eq!(limiter.snapshot(), before);
    drop(first);
    advance(SLOT).await;
    assert!(limiter.check().is_ok());
}

#[tokio::test(start_paused = true)]
async fn what_others_have_built_on_is_not_given_back() {
    let limiter = busy(10);
    let mut first = Box::pin(limiter.until_ready(1));
    assert!((&mut first).now_or_never().is_none());
    let start = Instant::now();
    let mut second = Box::pin(limiter.until_ready(1));
    assert!((&mut second).now_or_never().is_none());
    drop(first);
    // The second keeps its turn, and the third comes after it.
    assert_eq!(limiter.reserve(1).unwrap().delay(), SLOT * 3);
    second.await.unwrap();
    assert_eq!(start.elapsed(), SLOT * 2);
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_is_over_gives_nothing_back() {
    let limiter = busy(10);
    limiter.until_ready(1).await.unwrap();
    assert!(limiter.check().is_err());
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_was_never_polled_takes_nothing() {
    let limiter = busy(10);
    let before = limiter.snapshot();
    drop(limiter.until_ready(1));
    assert_eq!(limiter.snapshot(), before);
}

#[tokio::test(start_paused = true)]
async fn the_queue_moves_on_when_half_of_it_is_dropped() {
    let limiter = busy(1_000);
    let start = Instant::now();
    let tasks: Vec<_> = (0..200)
        .map(|_| {
            let limiter = limiter.clone();
            tokio::spawn(async move { limiter.until_ready(1).await.map(|_| start.elapsed()) })
        })
        .collect();
    sleep(Duration::from_millis(51)).await;
    for task in tasks.iter().skip(1).step_by(2) {
        task.abort();
    }
    let mut done = Vec::new();
    for task in tasks {
        if let Ok(passed) = task.await {
            done.push(passed.unwrap());
        }
    }
    assert_eq!(done.len(), 125, "the first 50 had passed, and half of the others stayed");
    assert!(done.is_sorted());
    assert!(done.windows(2).all(|pair| pair[1] - pair[0] >= Duration::from_millis(1)));
    assert_eq!(done[124], Duration::from_millis(199));
}

#[test]
fn reservations_follow_the_clock_and_cancel_as_in_golang() {
    let (clock, hand) = Clock::manual();
    let limiter = RateLimiter::new(Quota::per_second(10).burst(4)).unwrap().with_clock(clock);
    limiter.check_n(4).unwrap();
    let large = limiter.reserve(3).unwrap();
    let small = limiter.reserve(1).unwrap();
    assert_eq!((large.delay(), small.delay()), (SLOT * 3, SLOT * 4));
    // One of its three cells is built on.
    large.cancel();
    assert_eq!(limiter.reserve(1).unwrap().delay(), SLOT * 3);

    hand.advance(SLOT * 4);
    assert_eq!(small.delay(), Duration::ZERO);
    let before = limiter.snapshot();
    small.cancel();
    assert_eq!(limiter.snapshot(), before, "what may be acted on is used");
}

#[test]
fn a_reservation_that_is_dropped_keeps_its_cells() {
    let (clock, _hand) = Clock::manual();
    let limiter = RateLimiter::new(Quota::per_second(10).burst(1)).unwrap().with_clock(clock);
    drop(limiter.reserve(1).unwrap());
    drop(limiter.reserve(1).unwrap());
    assert_eq!(limiter.reserve(1).unwrap().delay(), SLOT * 2);
    assert_eq!(limiter.reserve(0).unwrap().delay(), Duration::ZERO);
}
