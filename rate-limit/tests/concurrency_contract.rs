//! The layer keeps to the rules of tower, and to ours for layers.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::{future::poll_fn, io, time::Duration};

use futures::FutureExt;
use seawall_core::{Reason, Rejection};
use seawall_rate_limit::concurrency::{ConcurrencyLayer, ConcurrencyLimit, Config};
use seawall_test_support::{Probe, Readiness, Reply};
use tower::{Layer, Service, ServiceExt};

fn held() -> Probe<u32, u32, io::Error> {
    Probe::new(|request| Reply::Held(Ok(request)))
}

fn queueing(limit: u32, calls: u32) -> ConcurrencyLimit {
    let config = Config::builder(limit).queue(calls, Duration::from_secs(1));
    ConcurrencyLimit::of(config.build().unwrap())
}

#[tokio::test]
async fn a_call_above_the_limit_is_refused_and_calls_nobody() {
    let limit = ConcurrencyLimit::new(1).unwrap().named("orders");
    let probe = held().capacity(2);
    let handle = probe.handle();
    let mut service = ConcurrencyLayer::new(limit.clone()).layer(probe);
    let first = service.ready().await.unwrap().call(1);
    let error = service.ready().await.unwrap().call(2).await.unwrap_err();
    let rejection = Rejection::find(&error).unwrap();
    assert_eq!((rejection.reason(), rejection.refused_by()), (Reason::Overloaded, Some("orders")));
    assert_eq!((handle.calls(), handle.reserved()), (1, 0));
    handle.release(1);
    assert_eq!(first.await.unwrap(), 1);
    assert_eq!(limit.snapshot().in_flight, 0);
    handle.assert_idle();
}

#[tokio::test]
async fn readiness_is_that_of_the_service_inside_and_takes_no_permit() {
    let limit = ConcurrencyLimit::new(1).unwrap();
    let probe = held();
    let handle = probe.handle();
    let mut service = ConcurrencyLayer::new(limit.clone()).layer(probe);
    let _busy = limit.try_acquire().unwrap();
    assert!(service.ready().now_or_never().unwrap().is_ok());
    assert_eq!(limit.snapshot().in_flight, 1);
    handle.set_ready(false);
    assert!(service.clone().ready().now_or_never().is_none());
    let broken = held().readiness(|| Readiness::Error(io::ErrorKind::BrokenPipe.into()));
    assert!(ConcurrencyLayer::new(limit).layer(broken).ready().await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_call_that_waits_holds_no_place_inside_and_becomes_ready_after_the_wait() {
    let limit = queueing(1, 5);
    let probe = held().capacity(1);
    let handle = probe.handle();
    let busy = limit.try_acquire().unwrap();
    let mut service = ConcurrencyLayer::new(limit.clone()).layer(probe.clone());
    let mut call = Box::pin(service.ready().await.unwrap().call(7));
    assert!((&mut call).now_or_never().is_none());
    assert_eq!((handle.reserved(), handle.calls(), limit.snapshot().waiting), (0, 0, 1));
    let mut other = probe;
    assert!(poll_fn(|cx| other.poll_ready(cx)).now_or_never().is_some());
    drop(busy);
    assert!((&mut call).now_or_never().is_none(), "the place inside is another's");
    assert_eq!(limit.snapshot().in_flight, 1);
    drop(other);
    assert!((&mut call).now_or_never().is_none());
    handle.release(1);
    assert_eq!(call.await.unwrap(), 7);
    handle.assert_idle();
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_dropped_gives_everything_back_at_every_step() {
    let limit = queueing(1, 5);
    let probe = held();
    let handle = probe.handle();
    let mut service = ConcurrencyLayer::new(limit.clone()).layer(probe);
    let mut calling = Box::pin(service.ready().await.unwrap().call(1));
    assert!((&mut calling).now_or_never().is_none());
    let mut waiting = Box::pin(service.ready().await.unwrap().call(2));
    assert!((&mut waiting).now_or_never().is_none());
    let mut next = Box::pin(service.ready().await.unwrap().call(3));
    assert!((&mut next).now_or_never().is_none());
    drop(waiting);
    assert_eq!((limit.snapshot().in_flight, limit.snapshot().waiting), (1, 1));
    handle.set_ready(false);
    drop(calling);
    assert!(
        (&mut next).now_or_never().is_none(),
        "it has its permit, and the service is not ready"
    );
    assert_eq!((limit.snapshot().in_flight, limit.snapshot().waiting), (1, 0));
    drop(next);
    assert_eq!(limit.snapshot().in_flight, 0);
    handle.assert_idle();
}

#[tokio::test]
async fn all_services_of_a_layer_and_their_clones_share_the_limit() {
    let layer = ConcurrencyLayer::new(ConcurrencyLimit::new(2).unwrap());
    let (mut one, mut two) = (layer.layer(held()), layer.clone().layer(held()));
    let _first = one.ready().await.unwrap().call(1);
    let _second = two.ready().await.unwrap().call(2);
    assert!(one.clone().oneshot(3).await.is_err());
}

#[tokio::test]
async fn an_error_of_the_service_inside_is_passed_on_as_it_is() {
    let limit = ConcurrencyLimit::new(1).unwrap();
    let probe = Probe::<u32, u32, _>::new(|_| Reply::error(io::Error::other("inner")));
    let error = ConcurrencyLayer::new(limit.clone()).layer(probe).oneshot(1).await.unwrap_err();
    assert_eq!(error.into_inner().unwrap().to_string(), "inner");
    assert_eq!(limit.snapshot().in_flight, 0);
}
