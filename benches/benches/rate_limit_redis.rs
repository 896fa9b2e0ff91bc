//! Limits that are shared through a real redis-server over loopback: one iteration is one decision.
//!
//! The tasks share the iterations of a measurement. Beside ours stands the same script, sent once for
//! each decision over the same kind of connection.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use futures_util::future::join_all;
use redis::{Script, aio::MultiplexedConnection};
use seawall_rate_limit::{
    Quota,
    redis::{RedisKeyedLimiter, RedisLimiter},
};
use seawall_test_support::RedisServer;
use tokio::runtime::Runtime;

const KEYS: u64 = 10_000;
/// Longer than anything takes here: what is measured is no time-out.
const TIMEOUT: Duration = Duration::from_secs(5);

/// A server, a runtime and a connection, for all groups.
struct Setup {
    runtime: Runtime,
    connection: MultiplexedConnection,
    _redis: RedisServer,
}

impl Setup {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime starts");
        let (redis, connection) = runtime.block_on(async {
            // Nothing is written to a disk.
            let redis = RedisServer::builder().arg("--appendonly").arg("no").start().await;
            let client = redis::Client::open(redis.url()).expect("the url of a server is one");
            let connection = client.get_multiplexed_async_connection().await;
            (redis, connection.expect("the server answers"))
        });
        Self { runtime, connection, _redis: redis }
    }

    fn ours(&self, quota: Quota, name: &str) -> RedisKeyedLimiter<u64> {
        let builder = RedisLimiter::fail_closed(quota).named(name).timeout(TIMEOUT);
        builder.over(self.connection.clone()).expect("the quota can be kept").keyed()
    }

    /// The time that `tasks` take for `iterations` decisions together.
    #[expect(clippy::disallowed_methods, reason = "a bench measures real time")]
    fn run<D: Future<Output = bool> + Send + 'static>(
        &self,
        iterations: u64,
        tasks: u64,
        passes: bool,
        decide: impl Fn(u64) -> D + Clone + Send + 'static,
    ) -> Duration {
        self.runtime.block_on(async {
            let start = Instant::now();
            let tasks = (0..tasks).map(|task| {
                let decide = decide.clone();
                let share = iterations / tasks + u64::from(task < iterations % tasks);
                tokio::spawn(async move {
                    for turn in 0..share {
                        assert_eq!(decide(turn * tasks + task).await, passes);
                    }
                })
            });
            for done in join_all(tasks).await {
                done.expect("every decision is the expected one");
            }
            start.elapsed()
        })
    }
}

/// The script of the limiter, sent as one would without it.
#[derive(Clone)]
struct Plain {
    connection: MultiplexedConnection,
    script: Arc<Script>,
    rate: u64,
    cell: u64,
    size: u64,
}

impl Plain {
    fn new(setup: &Setup, rate: u64, cell: u64, size: u64) -> Self {
        let script = Arc::new(Script::new(include_str!("gcra.lua")));
        Self { connection: setup.connection.clone(), script, rate, cell, size }
    }

    async fn check(&self, key: String) -> bool {
        let mut connection = self.connection.clone();
        let answer: Vec<u64> = self
            .script
            .key(key)
            .arg(self.rate)
            .arg(self.cell)
            .arg(self.size)
            .invoke_async(&mut connection)
            .await
            .expect("the server answers");
        answer[0] == 1
    }
}

fn groups(c: &mut Criterion) {
    let setup = Setup::new();
    let billion = Quota::per_second(1_000_000_000);
    let plain = || Plain::new(&setup, 1_000, 1, 1_000_000_000);
    for (name, tasks, keys) in [
        ("redis_hot_key_64_tasks", 64, 1),
        ("redis_hot_key_256_tasks", 256, 1),
        ("redis_10k_keys_64_tasks", 64, KEYS),
        ("redis_single_task", 1, 1),
    ] {
        compare(c, &setup, name, tasks, keys, true, &plain(), &setup.ours(billion, name));
    }
    let name = "redis_denied_64_tasks";
    let ours = setup.ours(Quota::per_hour(1), name);
    let _ = setup.runtime.block_on(ours.check(&0));
    // One an hour: a unit for each microsecond, an hour of them for a cell.
    let plain = Plain::new(&setup, 1, 3_600_000_000, 3_600_000_000);
    setup.runtime.block_on(plain.check(format!("{name}:0")));
    compare(c, &setup, name, 64, 1, false, &plain, &ours);
}

#[expect(clippy::too_many_arguments, reason = "each of them is one thing that differs")]
fn compare(
    c: &mut Criterion,
    setup: &Setup,
    name: &'static str,
    tasks: u64,
    keys: u64,
    passes: bool,
    plain: &Plain,
    ours: &RedisKeyedLimiter<u64>,
) {
    let mut group = c.benchmark_group(name);
    group.throughput(Throughput::Elements(1));
    group.bench_function("one_script_per_request", |b| {
        b.iter_custom(|iterations| {
            let plain = plain.clone();
            setup.run(iterations, tasks, passes, move |turn| {
                let plain = plain.clone();
                async move { plain.check(format!("{name}:{}", turn % keys)).await }
            })
        });
    });
    group.bench_function("seawall_exact", |b| {
        b.iter_custom(|iterations| {
            let ours = ours.clone();
            setup.run(iterations, tasks, passes, move |turn| {
                let ours = ours.clone();
                async move { ours.check(&(turn % keys)).await.is_ok() }
            })
        });
    });
    group.finish();
}

criterion_group!(benches, groups);
criterion_main!(benches);
