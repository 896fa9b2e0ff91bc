//! A limit that is shared through a real redis-server.
#![cfg(feature = "redis")]
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::{sync::Arc, time::Duration};

use futures::future::join_all;
use redis::aio::MultiplexedConnection;
use seawall_rate_limit::{
    Quota,
    algorithm::{FixedWindow, Several, SlidingCounter, SlidingLog},
    redis::{IntoPlan, Plan, RedisLimiter},
};
use seawall_test_support::RedisServer;

async fn connection(redis: &RedisServer) -> MultiplexedConnection {
    let client = redis::Client::open(redis.url()).unwrap();
    client.get_multiplexed_async_connection().await.unwrap()
}

fn limiter(plan: impl IntoPlan, connection: &MultiplexedConnection, name: &str) -> RedisLimiter {
    let builder = RedisLimiter::fail_closed(plan).named(name).timeout(Duration::from_secs(10));
    builder.over(connection.clone()).unwrap()
}

async fn passed(limiter: &RedisLimiter, calls: usize) -> usize {
    let answers = join_all((0..calls).map(|_| limiter.check())).await;
    answers.iter().filter(|answer| answer.is_ok()).count()
}

#[tokio::test]
async fn limiters_of_one_name_share_one_limit_whatever_the_algorithm() {
    let redis = RedisServer::start().await;
    let connection = connection(&redis).await;
    let quota = Quota::per_hour(100);
    let plans: [Plan; 5] = [
        quota.into_plan().unwrap(),
        SlidingLog::new(quota).unwrap().into_plan().unwrap(),
        SlidingCounter::new(quota).unwrap().into_plan().unwrap(),
        FixedWindow::new(quota).unwrap().into_plan().unwrap(),
        Plan::all_of([
            quota.into_plan().unwrap(),
            SlidingLog::new(quota).unwrap().into_plan().unwrap(),
            Several::new([FixedWindow::new(Quota::per_hour(200)).unwrap()])
                .unwrap()
                .into_plan()
                .unwrap(),
        ])
        .unwrap(),
    ];
    for (index, plan) in plans.into_iter().enumerate() {
        let name = format!("limit {index}");
        let first = limiter(plan.clone(), &connection, &name);
        let second = limiter(plan, &connection, &name);
        assert_eq!(passed(&first, 60).await, 60, "{name}");
        assert_eq!(passed(&second, 60).await, 40, "{name}");
        let refused = second.check().await.unwrap_err();
        assert!(!refused.is_degraded(), "{refused:?}");
        assert!(refused.retry_after() <= Some(Duration::from_secs(3_601)), "{refused:?}");
        second.refund(5).await;
        assert_eq!(second.peek().await.unwrap().remaining(), 4, "{name}");
        assert_eq!(second.check_at_most(10).await, 5, "{name}");
    }
}

async fn calls_of(connection: &mut MultiplexedConnection, command: &str) -> u64 {
    let stats: String =
        redis::cmd("INFO").arg("commandstats").query_async(connection).await.unwrap();
    let line =
        stats.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{command}:calls=")));
    line.and_then(|line| line.split(',').next()).map_or(0, |calls| calls.parse().unwrap())
}

#[tokio::test]
async fn a_batch_is_one_script_call_and_nothing_else() {
    let redis = RedisServer::start().await;
    let mut connection = connection(&redis).await;
    let limiter = limiter(Quota::per_hour(1_000), &connection, "orders");
    // The first finds no script.
    assert!(limiter.check().await.is_ok());
    assert_eq!(calls_of(&mut connection, "evalsha").await, 1);
    assert_eq!(calls_of(&mut connection, "eval").await, 1);
    let _: () = redis::cmd("CONFIG").arg("RESETSTAT").query_async(&mut connection).await.unwrap();
    assert_eq!(passed(&limiter, 64).await, 64);
    assert_eq!(calls_of(&mut connection, "evalsha").await, 1);
    let stats: String =
        redis::cmd("INFO").arg("commandstats").query_async(&mut connection).await.unwrap();
    let mut commands: Vec<&str> =
        stats.lines().filter_map(|line| line.strip_prefix("cmdstat_")?.split(':').next()).collect();
    commands.sort_unstable();
    // The script's own commands, and those of this test.
    assert_eq!(commands, ["config|resetstat", "evalsha", "get", "info", "set", "time"]);
}

#[tokio::test]
async fn a_flushed_script_is_loaded_again_and_each_call_decided_once() {
    let redis = RedisServer::start().await;
    let mut connection = connection(&redis).await;
    let limiters: Vec<_> = (0..20)
        .map(|key| limiter(Quota::per_hour(10), &connection, &format!("key {key}")))
        .collect();
    for _ in 0..5 {
        let _: () = redis::cmd("SCRIPT").arg("FLUSH").query_async(&mut connection).await.unwrap();
        let answers = join_all(limiters.iter().map(|limiter| limiter.check_n(2))).await;
        assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    }
    let answers = join_all(limiters.iter().map(RedisLimiter::check)).await;
    assert!(answers.iter().all(Result::is_err), "{answers:?}");
}

#[tokio::test]
async fn a_killed_connection_comes_back_and_a_refused_question_costs_no_time_out() {
    let redis = RedisServer::start().await;
    let mut admin = connection(&redis).await;
    let limiter = RedisLimiter::fail_open(Quota::per_hour(10)).connect(&redis.url()).unwrap();
    assert!(!limiter.check().await.unwrap().is_degraded());
    let _: u64 = redis::cmd("CLIENT")
        .arg(&["KILL", "TYPE", "normal", "SKIPME", "yes"])
        .query_async(&mut admin)
        .await
        .unwrap();
    let mut attempts = 0;
    while limiter.check().await.unwrap().is_degraded() {
        attempts += 1;
        assert!(attempts < 250, "it does not come back");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn keys_expire_when_the_load_is_over() {
    let redis = RedisServer::start().await;
    let mut connection = connection(&redis).await;
    let quota = Quota::new(10, Duration::from_millis(200));
    let plan = Plan::all_of([
        quota.into_plan().unwrap(),
        SlidingLog::new(quota).unwrap().into_plan().unwrap(),
        SlidingCounter::new(quota).unwrap().into_plan().unwrap(),
        FixedWindow::new(quota).unwrap().into_plan().unwrap(),
    ]);
    let limiter = limiter(plan.unwrap(), &connection, "short");
    let _ = limiter.check_n(10).await;
    let size: u64 = redis::cmd("DBSIZE").query_async(&mut connection).await.unwrap();
    assert!(size > 0, "nothing was kept");
    for _ in 0..200 {
        let size: u64 = redis::cmd("DBSIZE").query_async(&mut connection).await.unwrap();
        if size == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("keys stay");
}

#[tokio::test]
async fn nothing_hangs_while_redis_does() {
    let redis = RedisServer::start().await;
    let connection = connection(&redis).await;
    let limiter =
        Arc::new(RedisLimiter::fail_open(Quota::per_hour(10)).over(connection.clone()).unwrap());
    assert!(!limiter.check().await.unwrap().is_degraded());
    redis.pause();
    let answers =
        tokio::time::timeout(Duration::from_secs(5), join_all((0..100).map(|_| limiter.check())));
    let answers = answers.await.expect("it hangs");
    assert!(answers.iter().all(|answer| answer.unwrap().is_degraded()), "{answers:?}");
    redis.resume();
    let mut attempts = 0;
    while limiter.peek().await.is_ok_and(|allowed| allowed.is_degraded()) {
        attempts += 1;
        assert!(attempts < 250, "it does not come back");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn layers_take_a_shared_limiter_in_place_of_a_local_one() {
    use seawall_rate_limit::RateLimitLayer;
    use tower::{ServiceBuilder, ServiceExt};

    let redis = RedisServer::start().await;
    let connection = connection(&redis).await;
    let limiter = limiter(Quota::per_hour(2), &connection, "layer");
    let by_key = limiter.keyed::<u32>().by(|request: &u32| Some(request % 2));
    let client = ServiceBuilder::new()
        .layer(RateLimitLayer::new(limiter).wait_up_to(Duration::from_millis(5)))
        .service_fn(async |request: u32| Ok::<_, std::io::Error>(request));
    for request in 0..2 {
        assert_eq!(client.clone().oneshot(request).await.unwrap(), request);
    }
    let error = client.oneshot(2).await.unwrap_err();
    assert_eq!(error.rejection().and_then(|refused| refused.refused_by()), Some("layer"));

    let keyed = ServiceBuilder::new()
        .layer(RateLimitLayer::new(by_key))
        .service_fn(async |request: u32| Ok::<_, std::io::Error>(request));
    for request in 0..4 {
        assert_eq!(keyed.clone().oneshot(request).await.unwrap(), request);
    }
    for request in 4..6 {
        assert!(keyed.clone().oneshot(request).await.is_err(), "{request}");
    }
}

#[cfg(feature = "http")]
#[tokio::test]
async fn a_server_answers_by_a_shared_limiter() {
    use axum::{Router, body::Body, http::Request, routing::get};
    use seawall_rate_limit::server::ServerLayer;
    use tower::ServiceExt;

    let redis = RedisServer::start().await;
    let connection = connection(&redis).await;
    let limiter = limiter(Quota::per_hour(1), &connection, "server");
    let app: Router =
        Router::new().route("/", get(|| async { "hello" })).layer(ServerLayer::new(limiter));
    let first = app.clone().oneshot(Request::new(Body::empty())).await.unwrap();
    assert_eq!(first.status(), 200);
    assert_eq!(first.headers()["ratelimit-policy"], "\"server\";q=1;w=3600");
    assert_eq!(first.headers()["ratelimit"], "\"server\";r=0;t=3600");
    let second = app.oneshot(Request::new(Body::empty())).await.unwrap();
    assert_eq!(second.status(), 429);
    assert!(second.headers().contains_key("retry-after"), "{second:?}");
}

#[tokio::test]
async fn a_waiting_layer_asks_again_when_the_answer_said() {
    use seawall_rate_limit::{RateLimitLayer, RateLimitService};
    use tower::{Layer, ServiceExt, service_fn};

    let redis = RedisServer::start().await;
    let connection = connection(&redis).await;
    let limiter = limiter(Quota::per_second(20).burst(1), &connection, "wait");
    let layer = RateLimitLayer::new(limiter).wait_up_to(Duration::from_secs(5));
    let service: RateLimitService<_, _, _> =
        layer.layer(service_fn(async |request: u32| Ok::<_, std::io::Error>(request)));
    for request in 0..3 {
        assert_eq!(service.clone().oneshot(request).await.unwrap(), request);
    }
}

#[tokio::test]
async fn keys_of_any_bytes_share_nothing() {
    let redis = RedisServer::start().await;
    let connection = connection(&redis).await;
    let quota = Quota::per_hour(1);
    let plain = limiter(quota, &connection, "a");
    let keyed = plain.keyed::<[u8]>();
    let others = [&b""[..], b"a", b"}", b"{", b"}:b0", b"{:a}:b0", b"\0", b"\xff\xfe", b"a\0a"];
    assert!(plain.check().await.is_ok());
    for key in others {
        assert!(keyed.check(key).await.is_ok(), "{key:?}");
        assert!(keyed.check(key).await.is_err(), "{key:?}");
    }
    let pairs = plain.keyed::<(String, String)>();
    for (a, b) in [("x", "yz"), ("xy", "z"), ("", "xyz"), ("xyz", "")] {
        assert!(pairs.check(&(a.into(), b.into())).await.is_ok(), "{a} {b}");
    }
}
