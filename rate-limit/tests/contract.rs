//! The rules of tower, and ours for layers.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::{future::poll_fn, io, time::Duration};

use futures::FutureExt;
use seawall_core::{Reason, Rejection};
use seawall_rate_limit::{Clock, Pacer, Quota, RateLimitLayer, RateLimiter};
use seawall_test_support::{Probe, Readiness, Reply};
use tokio::time::Instant;
use tower::{Layer, Service, ServiceExt};

const SLOT: Duration = Duration::from_millis(100);

fn limiter(burst: u32) -> RateLimiter {
    let limiter = RateLimiter::new(Quota::per_second(10).burst(burst)).unwrap();
    limiter.with_clock(Clock::tokio()).named("orders")
}

fn echo() -> Probe<u32, u32, io::Error> {
    Probe::new(Reply::ok)
}

#[tokio::test(start_paused = true)]
async fn a_refusal_names_the_limiter_and_the_wait_and_calls_nobody() {
    let probe = echo();
    let handle = probe.handle();
    let mut service = RateLimitLayer::new(limiter(1)).layer(probe);
    assert_eq!(service.ready().await.unwrap().call(7).await.unwrap(), 7);
    let error = service.ready().await.unwrap().call(8).await.unwrap_err();
    let rejection = Rejection::find(&error).unwrap();
    assert_eq!(rejection.reason(), Reason::LimitReached);
    assert_eq!(rejection.refused_by(), Some("orders"));
    assert_eq!(rejection.retry_after(), Some(SLOT));
    assert_eq!(handle.calls(), 1);
    handle.assert_idle();
}

#[tokio::test(start_paused = true)]
async fn readiness_is_that_of_the_service_inside_also_while_the_limit_is_reached() {
    let probe = echo();
    let handle = probe.handle();
    let limiter = limiter(1);
    let mut service = RateLimitLayer::new(limiter.clone()).layer(probe);
    limiter.check().unwrap();
    assert!(service.ready().now_or_never().unwrap().is_ok());
    handle.set_ready(false);
    let mut other = service.clone();
    assert!(other.ready().now_or_never().is_none());

    let broken = echo().readiness(|| Readiness::Error(io::ErrorKind::BrokenPipe.into()));
    let mut service = RateLimitLayer::new(limiter).layer(broken);
    assert!(service.ready().await.is_err(), "an error of the service inside is passed on");
}

#[tokio::test(start_paused = true)]
async fn readiness_takes_nothing_from_the_limiter() {
    let limiter = limiter(3);
    let mut service = RateLimitLayer::new(limiter.clone()).layer(echo());
    for _ in 0..10 {
        service.ready().await.unwrap();
        drop(service.clone());
    }
    drop(service);
    assert_eq!(limiter.snapshot().remaining, 3);
}

#[tokio::test(start_paused = true)]
async fn the_place_that_a_refused_call_held_goes_to_others() {
    let probe = echo().capacity(1);
    let handle = probe.handle();
    let limiter = limiter(1);
    limiter.check().unwrap();
    let mut service = RateLimitLayer::new(limiter).layer(probe.clone());
    assert!(service.ready().await.unwrap().call(1).await.is_err());
    assert_eq!(handle.reserved(), 0);
    let mut other = probe;
    assert!(poll_fn(|cx| other.poll_ready(cx)).now_or_never().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_call_that_waits_holds_no_place_and_becomes_ready_after_the_wait() {
    let probe = echo().capacity(1);
    let handle = probe.handle();
    let limiter = limiter(1);
    limiter.check().unwrap();
    let mut service = RateLimitLayer::new(limiter).wait_up_to(SLOT).layer(probe);
    let start = Instant::now();
    let call = service.ready().await.unwrap().call(7);
    let mut call = Box::pin(call);
    assert!((&mut call).now_or_never().is_none());
    assert_eq!((handle.reserved(), handle.calls()), (0, 0));
    assert_eq!(call.await.unwrap(), 7);
    assert_eq!(start.elapsed(), SLOT);
    handle.assert_idle();

    handle.set_ready(false);
}

#[tokio::test(start_paused = true)]
async fn after_its_wait_a_call_waits_for_the_service_inside() {
    let probe = echo();
    let handle = probe.handle();
    let limiter = limiter(1);
    limiter.check().unwrap();
    let mut service = RateLimitLayer::new(limiter).wait_up_to(SLOT).layer(probe);
    let call = tokio::spawn(service.ready().await.unwrap().call(7));
    handle.set_ready(false);
    tokio::time::sleep(SLOT * 2).await;
    assert!(!call.is_finished());
    handle.set_ready(true);
    assert_eq!(call.await.unwrap().unwrap(), 7);
    handle.assert_idle();
}

#[tokio::test(start_paused = true)]
async fn a_call_that_would_wait_too_long_is_refused_at_once() {
    let limiter = limiter(1);
    let layer = RateLimitLayer::new(limiter.clone()).wait_up_to(SLOT * 2);
    let mut service = layer.layer(echo());
    limiter.check().unwrap();
    let waiting: Vec<_> = (0..2).map(|n| tokio::spawn(service.clone().oneshot(n))).collect();
    tokio::task::yield_now().await;
    let error = service.ready().await.unwrap().call(9).now_or_never().unwrap().unwrap_err();
    assert_eq!(error.rejection().unwrap().retry_after(), Some(SLOT));
    for call in waiting {
        assert!(call.await.unwrap().is_ok());
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_dropped_while_it_waits_gives_its_turn_back() {
    let probe = echo();
    let handle = probe.handle();
    let limiter = limiter(1);
    limiter.check().unwrap();
    let before = limiter.snapshot();
    let mut service = RateLimitLayer::new(limiter.clone()).wait_up_to(SLOT).layer(probe);
    let call = service.ready().await.unwrap().call(7);
    assert_ne!(limiter.snapshot(), before);
    drop(call);
    assert_eq!(limiter.snapshot(), before);
    assert_eq!(handle.calls(), 0);
}

#[tokio::test(start_paused = true)]
async fn all_services_of_a_layer_and_their_clones_share_the_limit() {
    let layer = RateLimitLayer::new(limiter(2));
    let one = layer.layer(echo());
    let two = layer.clone().layer(echo());
    assert!(one.clone().oneshot(1).await.is_ok());
    assert!(two.oneshot(2).await.is_ok());
    assert!(one.oneshot(3).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn an_error_of_the_service_inside_is_passed_on_as_it_is() {
    let probe = Probe::<u32, u32, _>::new(|_| Reply::error(io::Error::other("inner")));
    let service = RateLimitLayer::new(limiter(1)).layer(probe);
    let error = service.oneshot(1).await.unwrap_err();
    assert_eq!(error.into_inner().unwrap().to_string(), "inner");
}

#[tokio::test(start_paused = true)]
async fn a_queue_holds_as_many_as_it_says_and_lets_them_out_evenly() {
    let pacer = Pacer::new(Quota::per_second(10), 3).unwrap().with_clock(Clock::tokio());
    let service = RateLimitLayer::paced(&pacer).layer(echo());
    let start = Instant::now();
    let calls: Vec<_> = (0..6).map(|n| tokio::spawn(service.clone().oneshot(n))).collect();
    let mut done = Vec::new();
    for call in calls {
        done.push(call.await.unwrap().is_ok());
    }
    assert_eq!(done, [true, true, true, true, false, false]);
    assert_eq!(start.elapsed(), SLOT * 3);
}
