//! Proofs against a real server, with a time of their own in the script.

use std::{sync::Arc, time::Duration};

use ::redis::aio::MultiplexedConnection;
use proptest::{prelude::*, test_runner::TestRunner};
use seawall_core::Instant;
use seawall_test_support::RedisServer;
use tokio::runtime::Runtime;

use super::{
    DECIDE,
    ask::{Ask, Kind},
    batch::Batch,
    link::{Link, Script, Single},
    plan::{IntoPlan, Plan},
    store::Question,
};
use crate::{
    Allowed, Quota, Rejected, TokenBucket,
    algorithm::{Algorithm, FixedWindow, Several, SlidingCounter, SlidingLog},
};

/// The script with a time that is told in place of Redis's own; keys stay, because they expire by the
/// server's clock.
fn script_at(now: u64) -> Script {
    let told = format!("{{ '{}', '{}' }}", now / 1_000_000, now % 1_000_000);
    let text = DECIDE.replace("call('TIME')", &told);
    assert_ne!(text, DECIDE, "the script reads its clock in another way");
    let stays = text.replace("ceil(micros / 1000) + 1", "3600000");
    assert_ne!(stays, text, "the script lets keys expire in another way");
    let text = stays;
    Script::new(&text)
}

type Told = (bool, u32, u32, Duration, Option<Duration>, usize);

fn told(answer: Result<Allowed, Rejected>) -> Told {
    match answer {
        Ok(it) => (true, it.limit(), it.remaining(), it.reset_after(), None, it.index()),
        Err(it) => {
            (false, it.limit(), it.remaining(), it.reset_after(), it.retry_after(), it.index())
        }
    }
}

/// Alike but for less than a nanosecond, by which the local bucket rounds its times.
fn are_alike(shared: &Told, local: &Told) -> bool {
    let nanosecond = Duration::from_nanos(1);
    let is_near = |a: Duration, b: Duration| a.abs_diff(b) <= nanosecond;
    let (a, b) = (shared, local);
    let waits = match (a.4, b.4) {
        (Some(a), Some(b)) => is_near(a, b),
        (a, b) => a == b,
    };
    (a.0, a.1, a.2, a.5) == (b.0, b.1, b.2, b.5) && is_near(a.3, b.3) && waits
}

/// Redis with one key for each case.
struct Bench {
    runtime: Runtime,
    connection: MultiplexedConnection,
    _redis: RedisServer,
}

impl Bench {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (redis, connection) = runtime.block_on(async {
            let redis = RedisServer::start().await;
            let client = ::redis::Client::open(redis.url()).unwrap();
            let connection = client.get_multiplexed_async_connection().await.unwrap();
            (redis, connection)
        });
        Self { runtime, connection, _redis: redis }
    }

    fn ask(&self, key: u64, plan: &Plan, now: u64, asks: &[Ask]) -> Vec<super::ask::Answer> {
        self.runtime.block_on(async {
            use futures_util::StreamExt;
            let link = Single { connection: self.connection.clone(), script: script_at(now) };
            let (questions, answers): (Vec<_>, Vec<_>) = asks
                .iter()
                .map(|&ask| {
                    let (tell, answer) = tokio::sync::oneshot::channel();
                    let key = Arc::from(key.to_string().as_bytes());
                    let deadline = tokio::time::Instant::now();
                    (Question { key, plan: plan.clone(), ask, deadline, tell: Some(tell) }, answer)
                })
                .unzip();
            let mut batch = Batch::new(questions);
            let mut replies = link.send(batch.calls("proof"));
            while let Some(replies) = replies.next().await {
                batch.tell(replies);
            }
            let mut all = Vec::new();
            for answer in answers {
                all.push(answer.await.unwrap().unwrap());
            }
            all
        })
    }
}

/// A quota that both count exactly: its limit divides its period, or is small.
fn quota() -> impl Strategy<Value = Quota> {
    let limits = prop_oneof![1..=12_u32, Just(100), Just(1_000), Just(1_000_000), Just(20_000_000)];
    let periods = prop_oneof![Just(1_000_u64), Just(10_000), Just(1_000_000), Just(60_000_000)];
    (limits, periods)
        .prop_map(|(limit, period)| (limit, Duration::from_micros(period)))
        .prop_filter("at most one a nanosecond, in whole numbers", |(limit, period)| {
            *limit <= 12 || (period.as_nanos().is_multiple_of(u128::from(*limit)))
        })
        .prop_map(|(limit, period)| Quota::new(limit, period))
}

#[derive(Clone, Debug)]
struct Step {
    /// In thousandths of the period.
    later: u64,
    asks: Vec<(u8, u32, u64)>,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let later = prop_oneof![Just(0_u64), 1..300_u64, 900..1_100_u64, 0..3_000_u64];
    let ask = (0..10_u8, prop_oneof![Just(1_u32), 0..6_u32, 0..20_u32], 0..3_u64);
    let step =
        (later, prop::collection::vec(ask, 1..6)).prop_map(|(later, asks)| Step { later, asks });
    prop::collection::vec(step, 1..12)
}

/// Both decide the same, at the same whole microseconds.
fn equals<A: Algorithm + IntoPlan>(make: impl Fn(Quota) -> A) {
    let bench = Bench::new();
    let key = std::cell::Cell::new(0);
    let mut runner = TestRunner::new(ProptestConfig { cases: 64, ..ProptestConfig::default() });
    let outcome = runner.run(
        &(quota(), steps(), 1_700_000_000_000_000..1_700_000_600_000_000_u64),
        |(quota, steps, start)| {
            key.set(key.get() + 1);
            let algorithm = make(quota);
            let plan = algorithm.clone().into_plan().unwrap();
            let mut state = algorithm.rest();
            let mut now = start;
            let scale = (u64::from(quota.limit()) / 20).max(1) as u32;
            for step in steps {
                now += u64::try_from(quota.period().as_micros()).unwrap() * step.later / 1_000;
                let at = Instant::from_nanos(now * 1_000);
                let asks: Vec<Ask> = step
                    .asks
                    .iter()
                    .map(|&(kind, cost, spare)| {
                        let kind = if kind == 0 { Kind::Peek } else { Kind::Take };
                        Ask { kind, cost: cost * scale, spare: spare * u64::from(scale) }
                    })
                    .collect();
                let answers = bench.ask(key.get(), &plan, now, &asks);
                for (ask, answer) in asks.iter().zip(answers) {
                    let (cost, spare) = (ask.cost, ask.spare as u32);
                    let local = match ask.kind {
                        Kind::Peek => algorithm.look(&state, at, cost, spare),
                        _ => algorithm.take(&mut state, at, cost, spare),
                    };
                    let (shared, local) = (told(answer.result), told(local));
                    prop_assert!(
                        are_alike(&shared, &local),
                        "{ask:?} at {now}: {shared:?}, {local:?}"
                    );
                }
            }
            Ok(())
        },
    );
    if let Err(error) = outcome {
        panic!("{error}");
    }
}

#[test]
fn a_token_bucket_decides_as_the_local_one() {
    equals(|quota| TokenBucket::new(quota).unwrap());
}

#[test]
fn a_token_bucket_with_a_burst_of_its_own_decides_as_the_local_one() {
    equals(|quota| TokenBucket::new(quota.burst(quota.limit().div_ceil(3) * 2)).unwrap());
}

#[test]
fn a_sliding_log_decides_as_the_local_one() {
    equals(|quota| SlidingLog::new(Quota::new(quota.limit().min(5_000), quota.period())).unwrap());
}

#[test]
fn a_sliding_counter_decides_as_the_local_one() {
    equals(|quota| SlidingCounter::new(quota).unwrap());
}

#[test]
fn a_fixed_window_decides_as_the_local_one() {
    equals(|quota| FixedWindow::new(quota).unwrap());
}

#[test]
fn several_limits_decide_as_the_local_ones() {
    equals(|quota| {
        let larger = Quota::new(quota.limit() / 2 + 1, quota.period() * 3);
        Several::new([quota, larger].map(|quota| SlidingCounter::new(quota).unwrap())).unwrap()
    });
}

#[test]
fn rates_are_kept_to_the_microsecond_above_a_million_and_for_three_a_second() {
    let bench = Bench::new();
    let start = 1_700_000_000_000_001;
    let quotas = [(3, 3), (7, 1_000), (7_000_003, 9), (1_000_000_000, 5_000)];
    for (key, (limit, burst)) in (1_000_000..).zip(quotas) {
        let plan = Quota::per_second(limit).burst(burst).into_plan().unwrap();
        // So many that the bucket is never full again.
        let step = (u64::from(burst) - 1) * 1_000_000 / u64::from(limit);
        let mut passed = 0_u64;
        for now in (0..50).map(|count| start + count * step) {
            let answers = bench.ask(key, &plan, now, &[Ask::at_most(u32::MAX)]);
            passed += u64::from(answers[0].cells);
            let exact = u64::from(burst) + (now - start) * u64::from(limit) / 1_000_000;
            assert_eq!(passed, exact, "{limit} a second, {} us", now - start);
        }
    }
}
