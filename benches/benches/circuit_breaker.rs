//! One admitted success through a closed breaker, or one refusal by an open one.
//!
//! Each peer does the same through the call that its own documentation shows. Two threads share one
//! breaker by reference; in the layer's case each has a clone of the service, as clients do.

use std::{
    convert::Infallible,
    hint::black_box,
    pin::pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use criterion::{Criterion, criterion_group, criterion_main};
use failsafe::CircuitBreaker as _;
use recloser::Recloser;
use seawall_benches::{Bare, two_threads};
use seawall_circuit_breaker::{
    CircuitBreaker, CircuitBreakerLayer, Config, Window, config::Builder,
};
use tower_service::Service;

/// Longer than a bench runs.
const LONG: Duration = Duration::from_secs(3_600);

fn breaker(config: Builder) -> CircuitBreaker {
    CircuitBreaker::new(config.open_wait(LONG).build().expect("the settings are in range"))
}

fn hundred() -> Builder {
    Config::builder().window(Window::Calls(100)).failure_rate(0.5).minimum_calls(100)
}

fn success() -> Result<u32, Infallible> {
    Ok(black_box(1))
}

#[inline]
fn ours(breaker: &CircuitBreaker) {
    if let Ok(permit) = breaker.admit() {
        let answer = success();
        let _ = black_box(answer);
        permit.success();
    }
}

fn failsafe(breaker: &impl failsafe::CircuitBreaker) {
    let _ = black_box(breaker.call(success));
}

fn recloser(breaker: &Recloser) {
    let _ = black_box(breaker.call(success));
}

/// Benches `call` alone and from two threads at once.
fn both(c: &mut Criterion, group: &str, name: &str, call: impl Fn() + Sync) {
    c.benchmark_group(group).bench_function(name, |b| b.iter(&call));
    c.benchmark_group(format!("{group}_2_threads"))
        .bench_function(name, |b| b.iter_custom(|n| two_threads(n, || &call)));
}

fn consecutive(c: &mut Criterion) {
    let group = "breaker_consecutive";
    let breaker = breaker(Config::builder().consecutive_failures(5));
    both(c, group, "seawall", || ours(&breaker));
    let policy =
        failsafe::failure_policy::consecutive_failures(5, failsafe::backoff::constant(LONG));
    let peer = failsafe::Config::new().failure_policy(policy).build();
    both(c, group, "failsafe", || failsafe(&peer));
}

fn count_window(c: &mut Criterion) {
    let group = "breaker_count_window";
    let breaker = breaker(hundred());
    both(c, group, "seawall", || ours(&breaker));
    let peer = Recloser::custom().error_rate(0.5).closed_len(100).open_wait(LONG).build();
    both(c, group, "recloser", || recloser(&peer));
}

fn time_window(c: &mut Criterion) {
    let group = "breaker_time_window";
    let breaker =
        breaker(Config::builder().window(Window::Time(Duration::from_secs(30))).failure_rate(0.2));
    both(c, group, "seawall", || ours(&breaker));
    let peer = failsafe::Config::new().build();
    both(c, group, "failsafe", || failsafe(&peer));
}

fn rejected(c: &mut Criterion) {
    let group = "breaker_rejected";
    let breaker = breaker(Config::builder().consecutive_failures(1));
    if let Ok(permit) = breaker.admit() {
        permit.failure();
    }
    assert!(breaker.admit().is_err());
    both(c, group, "seawall", || {
        let _ = black_box(breaker.admit());
    });

    let peer = Recloser::custom().error_rate(0.5).closed_len(1).open_wait(LONG).build();
    for _ in 0..10 {
        let _ = peer.call(|| Err::<u32, _>(()));
    }
    assert!(matches!(peer.call(success), Err(::recloser::Error::Rejected)));
    both(c, group, "recloser", || recloser(&peer));

    let policy =
        failsafe::failure_policy::consecutive_failures(1, failsafe::backoff::constant(LONG));
    let peer = failsafe::Config::new().failure_policy(policy).build();
    let _ = peer.call(|| Err::<u32, _>(()));
    assert!(!peer.is_call_permitted());
    both(c, group, "failsafe", || failsafe(&peer));
}

/// Polls until there is an answer: the peer's future waits for its lock while the other thread has it.
#[inline]
fn call<S: Service<u32>>(service: &mut S) {
    let mut cx = Context::from_waker(Waker::noop());
    while service.poll_ready(&mut cx).is_pending() {
        std::hint::spin_loop();
    }
    let mut response = pin!(service.call(1));
    loop {
        if let Poll::Ready(answer) = response.as_mut().poll(&mut cx) {
            black_box(answer.is_ok());
            return;
        }
        std::hint::spin_loop();
    }
}

fn both_services<S>(c: &mut Criterion, name: &str, service: S)
where
    S: Service<u32> + Clone + Send + Sync,
{
    let group = "breaker_layer";
    c.benchmark_group(group).bench_function(name, |b| {
        let mut service = service.clone();
        b.iter(|| call(&mut service));
    });
    c.benchmark_group(format!("{group}_2_threads")).bench_function(name, |b| {
        b.iter_custom(|n| {
            two_threads(n, || {
                let mut service = service.clone();
                move || call(&mut service)
            })
        });
    });
}

fn layer(c: &mut Criterion) {
    use tower::Layer;

    both_services(c, "bare", Bare);
    let layer = CircuitBreakerLayer::new(breaker(hundred()));
    both_services(c, "seawall", layer.layer(Bare));
    let peer = tower_resilience::circuitbreaker::CircuitBreakerLayer::builder()
        .sliding_window_size(100)
        .minimum_number_of_calls(100)
        .failure_rate_threshold(0.5)
        .build()
        .expect("the settings are in range");
    both_services(c, "tower_resilience", peer.layer(Bare));
}

criterion_group!(benches, consecutive, count_window, time_window, rejected, layer);
criterion_main!(benches);
