//! The balancer keeps to the contract of a tower service, and holds its services to it.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::{io, task::Poll, time::Duration};

use common::{Probes, endpoint, of};
use seawall_core::{Change, Reason};
use seawall_load_balance::{Balancer, CloneRequest, Config, EndpointSet};
use seawall_test_support::{Readiness, Reply};
use tokio_test::{assert_pending, assert_ready, task::spawn};
use tower::{Service, ServiceExt};

#[tokio::test(start_paused = true)]
async fn it_calls_the_instance_that_it_polled_ready() {
    let probes = Probes::echo(&["a", "b", "c"]);
    let mut balancer = Balancer::builder(probes.set(), probes.make()).build().unwrap();
    for _ in 0..50 {
        // A probe that is called without having been polled ready panics.
        balancer.ready().await.unwrap().call(0).await.unwrap();
    }
    probes.assert_idle();
}

#[tokio::test(start_paused = true)]
async fn it_is_ready_when_nothing_else_is() {
    let probes = Probes::echo(&["a"]);
    probes.handle("a").set_ready(false);
    let mut balancer = Balancer::builder(EndpointSet::new(), probes.make()).build().unwrap();
    let mut ready = spawn(balancer.ready());
    assert!(assert_ready!(ready.poll()).is_ok());
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_is_not_ready_is_left_for_one_that_is() {
    let probes = Probes::echo(&["a", "b"]);
    probes.handle("a").set_ready(false);
    let balancer = Balancer::builder(probes.set(), probes.make()).build().unwrap();
    for _ in 0..20 {
        assert_eq!(balancer.clone().oneshot(0).await.unwrap(), "b");
    }
    assert_eq!((of(&balancer, "a").calls, of(&balancer, "a").in_flight), (0, 0));
    assert_eq!(of(&balancer, "b").calls, 20);
    probes.assert_idle();
}

#[tokio::test(start_paused = true)]
async fn a_call_waits_when_three_endpoints_are_not_ready_and_holds_but_one() {
    let ids = ["a", "b", "c", "d"];
    let probes = Probes::echo(&ids);
    ids.iter().for_each(|id| probes.handle(id).set_ready(false));
    let balancer = Balancer::builder(probes.set(), probes.make()).build().unwrap();
    let mut call = spawn(balancer.clone().oneshot(0));
    assert_pending!(call.poll());
    let polled = ids.iter().filter(|id| probes.handle(id).readiness_polls() > 0).count();
    assert_eq!(polled, 3, "at most two are left");
    let held: u64 = ids.iter().map(|id| of(&balancer, id).in_flight).sum();
    assert_eq!(held, 1);
    ids.iter().for_each(|id| probes.handle(id).set_ready(true));
    assert!(call.is_woken());
    assert!(assert_ready!(call.poll()).is_ok());
    probes.assert_idle();
}

#[tokio::test(start_paused = true)]
async fn a_dropped_call_gives_everything_back() {
    let probes = Probes::held(&["a"]);
    let balancer = Balancer::builder(probes.set(), probes.make()).build().unwrap();
    let mut call = spawn(balancer.clone().oneshot(0));
    assert_pending!(call.poll());
    assert_eq!(of(&balancer, "a").in_flight, 1);
    drop(call);
    let after = of(&balancer, "a");
    assert_eq!((after.in_flight, after.successes, after.failures), (0, 0, 0));
    assert_eq!(probes.handle("a").cancelled(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_was_never_polled_is_not_in_flight_after_its_drop() {
    let probes = Probes::echo(&["a"]);
    let mut balancer = Balancer::builder(probes.set(), probes.make()).build().unwrap();
    drop(balancer.call(0));
    assert_eq!(of(&balancer, "a").in_flight, 0);
    assert_eq!(probes.handle("a").calls(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_empty_set_is_refused_after_the_stated_wait() {
    let probes = Probes::echo(&[]);
    let config = Config::builder().name("orders").wait_for_endpoints(Duration::from_secs(3));
    let balancer =
        Balancer::builder(EndpointSet::new(), probes.make()).config(config).build().unwrap();
    let start = tokio::time::Instant::now();
    let error = balancer.oneshot(0).await.unwrap_err();
    assert_eq!(start.elapsed(), Duration::from_secs(3));
    let rejection = error.rejection().unwrap();
    assert_eq!((rejection.reason(), rejection.refused_by()), (Reason::NoEndpoint, Some("orders")));
}

#[tokio::test(start_paused = true)]
async fn no_wait_is_no_wait() {
    let probes = Probes::echo(&[]);
    let config = Config::builder().wait_for_endpoints(Duration::ZERO);
    let balancer =
        Balancer::builder(EndpointSet::new(), probes.make()).config(config).build().unwrap();
    let mut call = spawn(balancer.oneshot(0));
    assert!(assert_ready!(call.poll()).unwrap_err().rejection().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_waiting_call_takes_the_first_endpoint_that_comes() {
    let probes = Probes::echo(&["a"]);
    let set = EndpointSet::new();
    let balancer = Balancer::builder(set.clone(), probes.make()).build().unwrap();
    let mut calls: Vec<_> = (0..100).map(|_| spawn(balancer.clone().oneshot(0))).collect();
    calls.iter_mut().for_each(|call| assert_pending!(call.poll()));
    set.apply([Change::Insert(endpoint("drained").with_weight(0))]);
    for call in &mut calls {
        assert!(call.is_woken());
        assert_pending!(call.poll(), "an endpoint without weight is none");
    }
    set.apply([Change::Insert(endpoint("a"))]);
    for call in &mut calls {
        assert!(call.is_woken());
        assert_eq!(assert_ready!(call.poll()).unwrap(), "a");
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_whose_readiness_fails_is_made_anew_and_the_call_goes_elsewhere() {
    let probe = |id: &'static str| {
        seawall_test_support::Probe::new(move |_: u32| Reply::ok(id.to_owned())).readiness(
            move || match id {
                "broken" => Readiness::Error(io::Error::other("worker is gone")),
                _ => Readiness::Ready,
            },
        )
    };
    let made = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let making = made.clone();
    let set = EndpointSet::from_endpoints([endpoint("broken"), endpoint("well")]);
    let balancer = Balancer::builder(set, move |endpoint: &seawall_core::Endpoint| {
        making.lock().unwrap().push(endpoint.id().to_string());
        Ok::<_, io::Error>(probe(if endpoint.id().as_str() == "well" { "well" } else { "broken" }))
    })
    .config(Config::builder().ejection(None))
    .build()
    .unwrap();
    for _ in 0..40 {
        // `Once` suffices: the request was not handed over yet.
        assert_eq!(balancer.clone().oneshot(0).await.unwrap(), "well");
    }
    let made = made.lock().unwrap();
    let broken = made.iter().filter(|id| *id == "broken").count() as u64;
    assert!(broken > 1, "{made:?}");
    assert_eq!(made.iter().filter(|id| *id == "well").count(), 1);
    assert_eq!(of(&balancer, "broken").failures, broken);
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_whose_service_cannot_be_made_is_skipped_and_tried_again_later() {
    let fails = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(true));
    let tries = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let (failing, trying) = (fails.clone(), tries.clone());
    let set = EndpointSet::from_endpoints([endpoint("bad"), endpoint("good")]);
    let config = Config::builder().clock(seawall_core::Clock::tokio());
    let balancer = Balancer::builder(set, move |endpoint: &seawall_core::Endpoint| {
        let id = endpoint.id().to_string();
        if id == "bad" && failing.load(std::sync::atomic::Ordering::SeqCst) {
            trying.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            return Err("no such certificate");
        }
        Ok(seawall_test_support::Probe::new(move |_: u32| Reply::<_, io::Error>::ok(id.clone())))
    })
    .config(config)
    .build()
    .unwrap();
    for _ in 0..50 {
        assert_eq!(balancer.clone().oneshot(0).await.unwrap(), "good");
    }
    assert_eq!(tries.load(std::sync::atomic::Ordering::SeqCst), 1, "left alone for a second");
    let bad = of(&balancer, "bad");
    assert_eq!(bad.construction_error.as_deref(), Some("no such certificate"));
    assert_eq!((bad.failures, bad.share), (1, 0.0));

    fails.store(false, std::sync::atomic::Ordering::SeqCst);
    tokio::time::advance(Duration::from_secs(1)).await;
    for _ in 0..50 {
        balancer.clone().oneshot(0).await.unwrap();
    }
    let bad = of(&balancer, "bad");
    assert!(bad.successes > 10, "{bad:?}");
    assert_eq!(bad.construction_error, None);
}

#[tokio::test(start_paused = true)]
async fn when_no_service_can_be_made_the_call_is_refused_at_once() {
    let probes = Probes::echo(&[]);
    let set = EndpointSet::from_endpoints([endpoint("x"), endpoint("y")]);
    let balancer = Balancer::builder(set, probes.make()).resend(CloneRequest).build().unwrap();
    let mut call = spawn(balancer.oneshot(0));
    let Poll::Ready(Err(error)) = call.poll() else { panic!("still pending") };
    assert_eq!(error.rejection().unwrap().reason(), Reason::NoEndpoint);
    assert_eq!(error.rejection().unwrap().retry_after(), Some(Duration::from_secs(1)));
}
