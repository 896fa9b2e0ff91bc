//! What a shared limiter does while its redis-server is killed, hung, slow, cut off or replaced.
#![cfg(feature = "redis")]
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::time::Duration;

use futures::future::join_all;
use seawall_rate_limit::{
    Clock, Quota,
    redis::{Builder, IntoPlan, Plan, RedisLimiter},
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
async fn processes_whose_clocks_are_hours_apart_and_stand_still_share_one_limit() {
    let redis = RedisServer::start().await;
    let limiters: Vec<_> = (0..4)
        .map(|number| {
            let (clock, hand) = Clock::manual();
            hand.advance(Duration::from_secs(number * 5 * 3600));
            closed(100).with_clock(clock).timeout(HANG).connect(&redis.url()).unwrap()
        })
        .collect();
    let answers = join_all(limiters.iter().map(|limiter| ask(limiter, 50))).await;
    assert_eq!(answers.iter().map(|(passed, _)| passed).sum::<usize>(), 100, "{answers:?}");
    assert!(answers.iter().all(|(_, degraded)| *degraded == 0), "{answers:?}");
    for limiter in &limiters {
        let wait = limiter.check().await.unwrap_err().retry_after().unwrap();
        // 100 an hour are one in 36 s.
        assert!(wait > Duration::ZERO && wait <= Duration::from_secs(36), "{wait:?}");
    }
}

#[tokio::test]
async fn a_redis_that_is_emptied_costs_one_burst_and_no_answer() {
    let redis = RedisServer::start().await;
    let mut connection =
        redis::Client::open(redis.url()).unwrap().get_multiplexed_async_connection().await.unwrap();
    let limiter = closed(10).timeout(HANG).connect(&redis.url()).unwrap();
    assert_eq!(ask(&limiter, 6).await, (6, 0));
    for words in [&["FLUSHALL"][..], &["SCRIPT", "FLUSH"], &["CONFIG", "RESETSTAT"]] {
        let mut command = redis::cmd(words[0]);
        words[1..].iter().for_each(|word| _ = command.arg(word));
        command.exec_async(&mut connection).await.unwrap();
        let (passed, degraded) = ask(&limiter, 5).await;
        assert_eq!(degraded, 0, "{words:?}");
        assert!(passed <= 5);
    }
    // Ten since the flush, and no more.
    assert_eq!(ask(&limiter, 20).await, (0, 0));
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

#[tokio::test]
async fn a_silent_redis_costs_its_time_out_a_few_times_and_no_more() {
    let redis = RedisServer::start().await;
    let limiter = closed(1_000).connect(&redis.url()).unwrap();
    assert_eq!(ask(&limiter, 5).await, (5, 0));
    redis.pause();
    let start = tokio::time::Instant::now();
    let mut unsure = 0;
    for _ in 0..500 {
        let rejected = limiter.check().await.unwrap_err();
        assert!(rejected.is_degraded());
        unsure += usize::from(rejected.may_have_taken());
    }
    let took = start.elapsed();
    // Five, and one more for each second that this may take on a busy machine; each would be 50 ms.
    let probes = took.as_secs() as usize;
    assert!((5..=6 + probes).contains(&unsure), "{unsure} were asked in {took:?}");
    assert!(took < Duration::from_secs(5), "{took:?} for 500 decisions");
    redis.resume();
    recovered(&limiter).await;
    assert_eq!(ask(&limiter, 100).await, (100, 0));
}

#[tokio::test]
async fn a_process_keeps_to_its_share_until_redis_is_back() {
    let redis = RedisServer::start().await;
    let limiter =
        RedisLimiter::fail_local(Quota::per_hour(100), 0.25).connect(&redis.url()).unwrap();
    let keyed = limiter.keyed::<str>();
    assert_eq!(ask(&limiter, 40).await, (40, 0));
    redis.kill();
    for key in ["a", "b"] {
        let answers = timeout(HANG, join_all((0..60).map(|_| keyed.check(key)))).await.unwrap();
        let passed: Vec<_> = answers.iter().flatten().collect();
        assert_eq!(passed.len(), 25, "{key}: a quarter");
        assert!(passed.iter().all(|allowed| allowed.is_degraded()));
        let refused = answers.iter().filter_map(|answer| answer.as_ref().err());
        // 100 an hour, of which this process has a quarter.
        assert!(refused.into_iter().all(|r| r.retry_after() > Some(Duration::from_secs(100))));
    }
    assert_eq!(keyed.check_at_most("c", 60).await, 25);
    assert!(keyed.check_n("d", 26).await.unwrap_err().is_never());
    assert!(keyed.peek("a").await.is_err());
    redis.restart(Data::Keep).await;
    recovered(&limiter).await;
    // What passed meanwhile did not reach Redis.
    assert_eq!(ask(&limiter, 100).await, (60, 0));
}

#[tokio::test]
async fn a_share_is_of_every_limit_and_follows_a_change() {
    let redis = RedisServer::start().await;
    let plans =
        [Quota::per_minute(60), Quota::per_hour(80)].map(|quota| quota.into_plan().unwrap());
    let both = Plan::all_of(plans).unwrap();
    let limiter = RedisLimiter::fail_local(both, 0.5).connect(&redis.url()).unwrap();
    redis.kill();
    let (_, degraded) = ask(&limiter, 50).await;
    assert_eq!(degraded, 50);
    let rejected = limiter.check().await.unwrap_err();
    assert_eq!((rejected.index(), rejected.limit()), (0, 30));
    limiter.set_plan(Quota::per_hour(10)).unwrap();
    let answers = join_all((0..20).map(|_| limiter.check())).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 5);
}

#[test]
fn a_share_out_of_range_is_refused() {
    for share in [0.0, -0.5, 1.01, f64::NAN] {
        let error = RedisLimiter::fail_local(Quota::per_hour(10), share)
            .connect("redis://127.0.0.1:1/")
            .unwrap_err();
        assert!(
            std::error::Error::source(&error).unwrap().to_string().contains("share"),
            "{share}"
        );
    }
}

#[tokio::test]
async fn a_cluster_counts_each_key_once_and_goes_on_without_a_node() {
    const KEYS: u32 = 50;
    let nodes = RedisServer::cluster(3).await;
    let urls: Vec<String> = nodes.iter().map(RedisServer::url).collect();
    let urls: Vec<&str> = urls.iter().map(String::as_str).collect();
    let builder = closed(10).timeout(HANG);
    let keyed = builder.connect_cluster(&urls).await.unwrap().keyed::<u32>();
    let passes = async || {
        let asks = join_all((0..KEYS * 20).map(|n| {
            let keyed = keyed.clone();
            async move { keyed.check(&(n / 20)).await.is_ok() }
        }));
        let passed = |answers: &[bool]| answers.iter().filter(|passed| **passed).count();
        asks.await.chunks(20).map(passed).collect::<Vec<_>>()
    };
    assert_eq!(passes().await, vec![10; KEYS as usize]);

    nodes[0].kill();
    let known = async |key: &u32| match keyed.peek(key).await {
        Ok(allowed) => !allowed.is_degraded(),
        Err(rejected) => !rejected.is_degraded(),
    };
    for key in 0..KEYS {
        let mut attempts = 0;
        while !known(&key).await {
            attempts += 1;
            assert!(attempts < 300, "key {key} does not come back");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    // The replica may not have heard of the last writes: one burst more of a key at most.
    let again = passes().await;
    assert!(again.iter().all(|passed| *passed <= 10), "{again:?}");
    assert!(
        again.iter().filter(|passed| **passed == 0).count() > 20,
        "the others are kept: {again:?}"
    );
}
