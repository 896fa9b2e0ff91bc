//! Clients are limited by a key of their requests, and wait for it.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::{io, time::Duration};

use futures::FutureExt;
use seawall_core::Rejection;
use seawall_rate_limit::{ByKey, Clock, KeyedLimiter, Quota, RateLimitLayer, key::WithoutKey};
use seawall_test_support::{Probe, Reply};
use tokio::time::Instant;
use tower::{Layer, Service, ServiceExt};

const SLOT: Duration = Duration::from_millis(100);

fn limiter() -> KeyedLimiter<u32> {
    let limiter = KeyedLimiter::new(Quota::per_second(10).burst(1), 100).unwrap();
    limiter.with_clock(Clock::tokio()).named("tenants")
}

/// Zero is no key.
fn by(limiter: KeyedLimiter<u32>) -> ByKey<u32, fn(&u32) -> Option<u32>> {
    limiter.by(|tenant| Some(*tenant).filter(|tenant| *tenant > 0))
}

fn echo() -> Probe<u32, u32, io::Error> {
    Probe::new(Reply::ok)
}

#[tokio::test(start_paused = true)]
async fn calls_of_one_key_wait_for_each_other_and_for_nobody_else() {
    let service = RateLimitLayer::new(by(limiter())).wait_up_to(SLOT * 2).layer(echo());
    let start = Instant::now();
    let calls: Vec<_> = [1, 1, 1, 1, 2, 3, 3]
        .into_iter()
        .map(|key| {
            let service = service.clone();
            tokio::spawn(async move { (service.oneshot(key).await.is_ok(), start.elapsed()) })
        })
        .collect();
    let mut done = Vec::new();
    for call in calls {
        done.push(call.await.unwrap());
    }
    let zero = Duration::ZERO;
    // The fourth of the first key would have to wait longer than it may.
    let expected = [
        (true, zero),
        (true, SLOT),
        (true, SLOT * 2),
        (false, zero),
        (true, zero),
        (true, zero),
        (true, SLOT),
    ];
    assert_eq!(done, expected);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_names_the_limiter_and_the_wait() {
    let mut service = RateLimitLayer::new(by(limiter())).layer(echo());
    service.ready().await.unwrap().call(1).await.unwrap();
    let error = service.ready().await.unwrap().call(1).await.unwrap_err();
    let rejection = Rejection::find(&error).unwrap();
    assert_eq!(rejection.refused_by(), Some("tenants"));
    assert_eq!(rejection.retry_after(), Some(SLOT));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_dropped_while_it_waits_gives_its_turn_back() {
    let limiter = limiter();
    let service = RateLimitLayer::new(by(limiter.clone())).wait_up_to(SLOT * 9).layer(echo());
    limiter.check(&1).unwrap();
    let mut calls: Vec<_> = (0..3)
        .map(|_| {
            let mut call = Box::pin(service.clone().oneshot(1));
            assert!((&mut call).now_or_never().is_none());
            call
        })
        .collect();
    assert_eq!(limiter.peek(&1).unwrap_err().retry_after(), Some(SLOT * 4));
    calls.pop();
    assert_eq!(limiter.peek(&1).unwrap_err().retry_after(), Some(SLOT * 3), "the last one goes");
    // What a later one has built on stays.
    calls.remove(0);
    assert_eq!(limiter.peek(&1).unwrap_err().retry_after(), Some(SLOT * 3));
    drop(calls);
    assert_eq!(limiter.peek(&1).unwrap_err().retry_after(), Some(SLOT * 2));
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_was_taken_before_a_change_of_quota_keeps_its_time() {
    let limiter = limiter();
    let service = RateLimitLayer::new(by(limiter.clone())).wait_up_to(SLOT * 9).layer(echo());
    limiter.check(&1).unwrap();
    let start = Instant::now();
    let kept = tokio::spawn(service.clone().oneshot(1));
    let dropped = tokio::spawn(service.clone().oneshot(1));
    tokio::task::yield_now().await;
    limiter.set_quota(Quota::per_second(3).burst(1)).unwrap();
    dropped.abort();
    kept.await.unwrap().unwrap();
    assert_eq!(start.elapsed(), SLOT);
    // Two turns and the one before them are owed still.
    assert!(limiter.peek(&1).is_err());
}

#[tokio::test(start_paused = true)]
async fn a_call_without_a_key_is_treated_as_the_limiter_says() {
    let ask = async |without_key| {
        let layer = RateLimitLayer::new(by(limiter()).without_key(without_key));
        let service = layer.layer(echo());
        let mut passed = 0;
        for _ in 0..3 {
            passed += u32::from(service.clone().oneshot(0).await.is_ok());
        }
        let keyed = service.clone().oneshot(7).await.is_ok();
        assert!(keyed, "{without_key:?}");
        passed
    };
    assert_eq!(ask(WithoutKey::Share).await, 1);
    assert_eq!(ask(WithoutKey::Refuse).await, 0);
    assert_eq!(ask(WithoutKey::Pass).await, 3);
}

#[tokio::test(start_paused = true)]
async fn a_call_costs_what_a_function_says_and_waits_for_that() {
    let limiter = KeyedLimiter::<u32>::new(Quota::per_second(10), 100).unwrap();
    let limiter = limiter.with_clock(Clock::tokio());
    let layer = RateLimitLayer::new(by(limiter)).wait_up_to(SLOT * 9).cost(|cost: &u32| *cost);
    let service = layer.layer(echo());
    let start = Instant::now();
    for _ in 0..3 {
        service.clone().oneshot(7).await.unwrap();
    }
    assert_eq!(start.elapsed(), SLOT * 11);
    let error = service.oneshot(11).await.unwrap_err();
    assert!(error.rejection().unwrap().is_never());
}
