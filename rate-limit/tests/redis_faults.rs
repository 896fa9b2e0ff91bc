//! What a shared limiter does while its redis-server is killed, hung, slow, cut off or replaced.
#![cfg(feature = "redis")]
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::time::Duration;

use futures::future::join_all;
use seawall_rate_limit::{
    Quota,
    redis::{Builder, RedisLimiter},
};
use seawall_test_support::{Data, FaultProxy, Faults, RedisServer};
use tokio::time::timeout;

/// Ample against the 50 ms that a decision may take, so that a loaded machine passes.
const HANG: Duration = Duration::from_secs(5);

fn closed(limit: u32) -> Builder {
    RedisLimiter::fail_closed(Quota::per_hour(limit))
}

fn open(limit: u32) -> Builder {
    RedisLimiter::fail_open(Quota::per_hour(limit))
}

/// How many of `calls` at once passed by Redis's word, and how many were answered without it.
async fn ask(limiter: &RedisLimiter, calls: usize) -> (usize, usize) {
    let answers = timeout(HANG, join_all((0..calls).map(|_| limiter.check()))).await;
    let answers = answers.expect("a decision hangs");
    let degraded = |answer: &Result<_, _>| match answer {
        Ok(allowed) => seawall_rate_limit::Allowed::is_degraded(allowed),
        Err(rejected) => seawall_rate_limit::Rejected::is_degraded(rejected),
    };
    let passed = answers.iter().filter(|answer| answer.is_ok() && !degraded(answer)).count();
    (passed, answers.iter().filter(|answer| degraded(answer)).count())
}

/// Peeks until Redis is heard again, without a new limiter or connection of the test's.
async fn recovered(limiter: &RedisLimiter) {
    for _ in 0..200 {
        let answer = timeout(HANG, limiter.peek()).await.expect("a decision hangs");
        let degraded = match answer {
            Ok(allowed) => allowed.is_degraded(),
            Err(rejected) => rejected.is_degraded(),
        };
        if !degraded {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("it does not come back");
}

#[tokio::test]
async fn a_kill_keeps_what_was_taken_and_a_lost_disk_costs_one_burst() {
    let redis = RedisServer::start().await;
    let limiter = closed(10).connect(&redis.url()).unwrap();
    assert_eq!(ask(&limiter, 6).await, (6, 0));
    redis.kill();
    assert_eq!(ask(&limiter, 20).await, (0, 20));
    redis.restart(Data::Keep).await;
    recovered(&limiter).await;
    // An append-only file keeps every answered decision over a kill of the process.
    assert_eq!(ask(&limiter, 20).await, (4, 0));
    redis.restart(Data::Lose).await;
    recovered(&limiter).await;
    let (passed, degraded) = ask(&limiter, 20).await;
    assert!(passed <= 10, "{passed} passed, {degraded} were degraded");
}

#[tokio::test]
async fn a_hung_server_takes_no_more_than_the_limit_when_it_goes_on() {
    let redis = RedisServer::start().await;
    let limiter = closed(100).connect(&redis.url()).unwrap();
    assert_eq!(ask(&limiter, 30).await, (30, 0));
    redis.pause();
    assert_eq!(ask(&limiter, 40).await, (0, 40));
    redis.resume();
    recovered(&limiter).await;
    // The 40 may have been taken when it went on, or not: nobody asked for them twice.
    let (passed, degraded) = ask(&limiter, 200).await;
    assert_eq!(degraded, 0);
    assert!((30..=70).contains(&passed), "{passed} passed");
}

#[tokio::test]
async fn a_slow_network_is_no_outage() {
    let redis = RedisServer::start().await;
    let proxy = FaultProxy::start(redis.address()).await;
    let slow = Faults { latency: Duration::from_millis(20), ..Faults::NONE };
    proxy.set_download(slow);
    // A machine that is busy with other tests must not turn 20 ms into a time-out.
    let builder = closed(50).timeout(Duration::from_secs(5));
    let limiter = builder.connect(&format!("redis://{}/", proxy.address())).unwrap();
    assert_eq!(ask(&limiter, 80).await, (50, 0));
}

#[tokio::test]
async fn resets_and_black_holes_end_in_the_named_policy_and_heal() {
    let redis = RedisServer::start().await;
    let proxy = FaultProxy::start(redis.address()).await;
    let url = format!("redis://{}/", proxy.address());
    let opened = open(1_000).named("open").connect(&url).unwrap();
    let shut = closed(1_000).named("closed").connect(&url).unwrap();
    assert_eq!((ask(&opened, 10).await, ask(&shut, 10).await), ((10, 0), (10, 0)));

    proxy.set_download(Faults::BLACK_HOLE);
    assert!(opened.check().await.unwrap().is_degraded());
    assert!(shut.check().await.unwrap_err().is_degraded());
    assert_eq!((ask(&opened, 20).await, ask(&shut, 20).await), ((0, 20), (0, 20)));
    proxy.heal();
    join_all([recovered(&opened), recovered(&shut)]).await;

    for _ in 0..5 {
        proxy.reset();
        // Whatever the reset hit, nothing hangs and nothing passes twice.
        ask(&opened, 5).await;
        ask(&shut, 5).await;
    }
    join_all([recovered(&opened), recovered(&shut)]).await;
    let (passed, degraded) = ask(&shut, 1_100).await;
    assert!(passed <= 990 && degraded == 0, "{passed} passed, {degraded} were degraded");
}

#[tokio::test]
async fn a_failover_costs_one_extra_burst_at_most() {
    let primary = RedisServer::start().await;
    let replica = primary.replica().await;
    let before = closed(20).connect(&primary.url()).unwrap();
    assert_eq!(ask(&before, 20).await, (20, 0));
    primary.kill();
    assert_eq!(ask(&before, 5).await, (0, 5));
    replica.promote().await;
    // What stands before Redis, a name or a Sentinel, now points here.
    let after = closed(20).connect(&replica.url()).unwrap();
    recovered(&after).await;
    let (passed, degraded) = ask(&after, 100).await;
    assert!(passed <= 20 && degraded == 0, "{passed} passed, {degraded} were degraded");
    assert_eq!(ask(&after, 100).await, (0, 0));
}
