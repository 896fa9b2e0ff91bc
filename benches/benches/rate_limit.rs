//! Rate limiters: one iteration is one decision.
//!
//! All sides allow a billion a second where nothing is to be refused, so that what is measured is
//! the decision.

use std::{hint::black_box, num::NonZeroU32, time::Duration};

use criterion::{Criterion, criterion_group, criterion_main};
use seawall_benches::{Bare, call_now, timed, two_threads};
use seawall_rate_limit::{
    KeyedLimiter, Quota, RateLimitLayer, RateLimiter,
    algorithm::{SlidingCounter, SlidingLog},
};
use tower::{Layer, Service};
use tower_resilience::ratelimiter::{RateLimiterLayer, WindowType};

const BILLION: u32 = 1_000_000_000;
const TASKS: u64 = 64;

fn seawall() -> RateLimiter {
    RateLimiter::new(Quota::per_second(BILLION)).expect("a billion a second can be kept")
}

fn governor() -> governor::DefaultDirectRateLimiter {
    governor::RateLimiter::direct(governor::Quota::per_second(per_second(BILLION)))
}

fn per_second(limit: u32) -> NonZeroU32 {
    NonZeroU32::new(limit).expect("not zero")
}

fn token_bucket(c: &mut Criterion) {
    let mut group = c.benchmark_group("limit_token_bucket");
    let limiter = seawall();
    group.bench_function("seawall", |b| b.iter(|| black_box(limiter.check())));
    let limiter = governor();
    group.bench_function("governor", |b| b.iter(|| black_box(limiter.check())));
    group.finish();

    let mut group = c.benchmark_group("limit_token_bucket_2_threads");
    let limiter = seawall();
    group.bench_function("seawall", |b| {
        b.iter_custom(|iterations| {
            two_threads(iterations, || {
                let limiter = limiter.clone();
                move || {
                    let _ = black_box(limiter.check());
                }
            })
        });
    });
    let limiter = governor();
    group.bench_function("governor", |b| {
        b.iter_custom(|iterations| {
            two_threads(iterations, || {
                || {
                    let _ = black_box(limiter.check());
                }
            })
        });
    });
    group.finish();

    let mut group = c.benchmark_group("limit_token_bucket_denied");
    let limiter = RateLimiter::new(Quota::per_hour(1)).expect("one an hour can be kept");
    let _ = limiter.check();
    group.bench_function("seawall", |b| b.iter(|| black_box(limiter.check())));
    let limiter = governor::RateLimiter::direct(governor::Quota::per_hour(per_second(1)));
    let _ = limiter.check();
    group.bench_function("governor", |b| b.iter(|| black_box(limiter.check())));
    group.finish();
}

const KEYS: usize = 100_000;

/// Walks over the keys in turn.
struct Turn(usize);

impl Turn {
    fn next(&mut self) -> usize {
        self.0 = if self.0 + 1 == KEYS { 0 } else { self.0 + 1 };
        self.0
    }
}

fn keyed(c: &mut Criterion) {
    let names: Vec<String> = (0..KEYS).map(|number| format!("tenant-{number}")).collect();
    let strings = KeyedLimiter::<str>::new(Quota::per_second(BILLION), KEYS)
        .expect("a billion a second can be kept");
    let strings = |turn: usize| strings.check(&names[turn]).is_ok();
    let peer = governor::RateLimiter::keyed(governor::Quota::per_second(per_second(BILLION)));
    let peer_strings = |turn: usize| peer.check_key(&names[turn]).is_ok();
    compare(c, "limit_keyed_100k_strings", strings, peer_strings);
    compare_2_threads(c, "limit_keyed_100k_strings_2_threads", strings, peer_strings);

    let numbers = KeyedLimiter::<u64>::new(Quota::per_second(BILLION), KEYS)
        .expect("a billion a second can be kept");
    let peer = governor::RateLimiter::keyed(governor::Quota::per_second(per_second(BILLION)));
    compare(
        c,
        "limit_keyed_100k_u64",
        |turn| numbers.check(&(turn as u64)).is_ok(),
        |turn| peer.check_key(&(turn as u64)).is_ok(),
    );
    compare_2_threads(
        c,
        "limit_keyed_hot_key_2_threads",
        |_| numbers.check(&7).is_ok(),
        |_| peer.check_key(&7).is_ok(),
    );
}

fn compare(
    c: &mut Criterion,
    name: &str,
    seawall: impl Fn(usize) -> bool,
    governor: impl Fn(usize) -> bool,
) {
    let mut group = c.benchmark_group(name);
    // All keys are known before anything is measured.
    assert!((0..KEYS).all(|turn| seawall(turn) && governor(turn)));
    let mut turn = Turn(0);
    group.bench_function("seawall", |b| b.iter(|| seawall(turn.next())));
    group.bench_function("governor", |b| b.iter(|| governor(turn.next())));
    group.finish();
}

fn compare_2_threads(
    c: &mut Criterion,
    name: &str,
    seawall: impl Fn(usize) -> bool + Sync,
    governor: impl Fn(usize) -> bool + Sync,
) {
    fn caller(check: impl Fn(usize) -> bool) -> impl FnMut() {
        let mut turn = Turn(0);
        move || {
            black_box(check(turn.next()));
        }
    }
    let mut group = c.benchmark_group(name);
    group.bench_function("seawall", |b| b.iter_custom(|n| two_threads(n, || caller(&seawall))));
    group.bench_function("governor", |b| b.iter_custom(|n| two_threads(n, || caller(&governor))));
    group.finish();
}

/// All in a layer, because the peer is nothing else.
fn windows(c: &mut Criterion) {
    // A billion a second, with a log that is short enough to fit into memory.
    let (limit, period) = (1_000, Duration::from_micros(1));
    let quota = Quota::new(limit, period);
    let log = SlidingLog::new(quota).expect("a billion a second can be kept");
    let counter = SlidingCounter::new(quota).expect("a billion a second can be kept");

    let mut group = c.benchmark_group("limit_sliding_window");
    let mut service = RateLimitLayer::new(RateLimiter::of(counter)).layer(Bare);
    group.bench_function("seawall_counter", |b| b.iter(|| call_now(&mut service, black_box(1))));
    let mut service = RateLimitLayer::new(RateLimiter::of(log)).layer(Bare);
    group.bench_function("seawall_log", |b| b.iter(|| call_now(&mut service, black_box(1))));
    let mut service = RateLimiterLayer::builder()
        .limit_for_period(limit as usize)
        .refresh_period(period)
        .window_type(WindowType::SlidingLog)
        .timeout_duration(Duration::ZERO)
        .build()
        .expect("a billion a second can be kept")
        .layer(Bare);
    group.bench_function("tower_resilience_log", |b| {
        b.iter(|| call_now(&mut service, black_box(1)));
    });
    group.finish();
}

fn layer(c: &mut Criterion) {
    let seawall = RateLimitLayer::new(seawall()).layer(Bare);
    let peer = RateLimiterLayer::builder()
        .limit_for_period(BILLION as usize)
        .refresh_period(Duration::from_secs(1))
        .timeout_duration(Duration::ZERO)
        .build()
        .expect("a billion a second can be kept")
        .layer(Bare);

    let mut group = c.benchmark_group("limit_layer");
    let mut bare = Bare;
    group.bench_function("bare", |b| b.iter(|| call_now(&mut bare, black_box(1))));
    let mut service = seawall.clone();
    group.bench_function("seawall", |b| b.iter(|| call_now(&mut service, black_box(1))));
    let mut service = peer.clone();
    group.bench_function("tower_resilience", |b| b.iter(|| call_now(&mut service, black_box(1))));
    group.finish();

    let mut group = c.benchmark_group("limit_layer_2_threads");
    group.bench_function("bare", |b| b.iter_custom(|n| calls(n, &Bare)));
    group.bench_function("seawall", |b| b.iter_custom(|n| calls(n, &seawall)));
    group.bench_function("tower_resilience", |b| b.iter_custom(|n| calls(n, &peer)));
    group.finish();
}

fn calls<S>(iterations: u64, service: &S) -> Duration
where
    S: Service<u64> + Clone + Sync,
{
    two_threads(iterations, || {
        let mut service = service.clone();
        move || {
            let _ = black_box(call_now(&mut service, black_box(1)));
        }
    })
}

/// Each of the tasks takes one permit, then the next task has its turn.
fn in_turn<F>(iterations: u64, acquire: impl Fn() -> F) -> Duration
where
    F: AsyncFn() + 'static,
{
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime with a timer");
    let local = tokio::task::LocalSet::new();
    let tasks: Vec<_> = (0..TASKS)
        .map(|number| {
            let acquire = acquire();
            let turns = iterations / TASKS + u64::from(number < iterations % TASKS);
            local.spawn_local(async move {
                for _ in 0..turns {
                    acquire().await;
                    tokio::task::yield_now().await;
                }
            })
        })
        .collect();
    timed(|| {
        local.block_on(&runtime, async {
            for task in tasks {
                task.await.expect("a task that only waits does not fail");
            }
        });
    })
}

fn fairness(c: &mut Criterion) {
    let mut group = c.benchmark_group("limit_wait_fairness_64_tasks");
    let limiter = seawall();
    group.bench_function("seawall", |b| {
        b.iter_custom(|iterations| {
            in_turn(iterations, || {
                let limiter = limiter.clone();
                async move || {
                    let _ = black_box(limiter.until_ready(1).await);
                }
            })
        });
    });
    let limiter = std::rc::Rc::new(
        leaky_bucket::RateLimiter::builder()
            .max(BILLION as usize)
            .initial(BILLION as usize)
            .refill(BILLION as usize / 1_000)
            .interval(Duration::from_millis(1))
            .fair(true)
            .build(),
    );
    group.bench_function("leaky_bucket", |b| {
        b.iter_custom(|iterations| {
            in_turn(iterations, || {
                let limiter = limiter.clone();
                async move || limiter.acquire(1).await
            })
        });
    });
    group.finish();
}

criterion_group!(benches, token_bucket, keyed, windows, layer, fairness);
criterion_main!(benches);
