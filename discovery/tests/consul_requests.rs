//! What a lease and a query ask of Consul, to the request.

#![cfg(feature = "consul")]
#![allow(clippy::unwrap_used)] // A helper of tests is no test to the lint.

mod scripted;

use std::time::Duration;

use scripted::{Answer, Scripted, Seen, until};
use seawall_discovery::{
    Consistency, Consul, ConsulBuilder, LeaseState, Query, RegisterError, Registrar as _,
    Registration, Resolver as _,
};
use tokio::time::{Instant, sleep};

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn consul(server: &Scripted) -> ConsulBuilder {
    Consul::builder(&server.url()).backoff(ms(5), ms(20)).request_timeout(ms(1_000))
}

fn registration(ttl: u64) -> Registration {
    let registration = Registration::builder("orders", "127.0.0.1:1".parse().unwrap());
    registration.id("o1").ttl(ms(ttl)).build().unwrap()
}

const REGISTER: &str = "PUT /v1/agent/service/register replace-existing-checks=true";
const PASS: &str = "PUT /v1/agent/check/update/service:o1:ttl ";
const DEREGISTER: &str = "PUT /v1/agent/service/deregister/o1 ";

fn lines(seen: &[Seen]) -> Vec<String> {
    seen.iter().map(|seen| format!("{} {} {}", seen.method, seen.path, seen.raw)).collect()
}

#[tokio::test]
async fn a_lease_registers_passes_at_once_and_every_third_of_the_ttl_and_deregisters() {
    let server = Scripted::start(|_, _| Answer::json("")).await;
    let lease = consul(&server).build().unwrap().register(registration(600)).await.unwrap();
    let seen = server.requests(4).await;
    lease.shutdown().await.unwrap();
    sleep(ms(500)).await;
    assert_eq!(lines(&server.seen()), [REGISTER, PASS, PASS, PASS, DEREGISTER]);
    assert!(seen[1].at - seen[0].at < ms(100), "at once");
    for pair in seen[1..].windows(2) {
        let gap = pair[1].at - pair[0].at;
        assert!(gap >= ms(190) && gap < ms(300), "{gap:?}");
    }
}

#[tokio::test]
async fn an_unknown_check_is_registered_again_whatever_the_version_calls_it() {
    for (status, said) in [
        (404, "Unknown check ID \"service:o1:ttl\""),
        (500, "CheckID \"service:o1:ttl\" does not have associated TTL"),
    ] {
        let server = Scripted::start(move |number, _| match number {
            2 => Answer::error(status, said),
            _ => Answer::json(""),
        })
        .await;
        let lease = consul(&server).build().unwrap().register(registration(300)).await.unwrap();
        server.requests(5).await;
        // The pass after the registration is for a status that Consul kept.
        assert_eq!(lines(&server.seen())[..5], [REGISTER, PASS, PASS, REGISTER, PASS], "{said}");
        assert!(lease.state().is_registered());
    }
}

#[tokio::test]
async fn a_denied_heartbeat_shows_and_is_not_hurried() {
    let server = Scripted::start(|number, _| match number {
        0 => Answer::json(""),
        _ => Answer::error(403, "Permission denied"),
    })
    .await;
    let lease = consul(&server).build().unwrap().register(registration(600)).await.unwrap();
    until("denied", || {
        matches!(lease.state(), LeaseState::Failing { why, .. }
            if matches!(*why, RegisterError::Denied { .. }))
    })
    .await;
    sleep(ms(700)).await;
    let seen = lines(&server.seen());
    assert!((4..=5).contains(&seen.len()), "{seen:?}");
    assert!(seen[1..].iter().all(|line| line == PASS), "{seen:?}");
}

#[tokio::test]
async fn a_query_says_near_which_node_and_how_up_to_date() {
    for (consistency, told) in [
        (Consistency::Leader, ""),
        (Consistency::Consistent, "&consistent"),
        (Consistency::Stale, "&stale"),
        (Consistency::Cached, "&cached"),
    ] {
        let server = Scripted::start(|number, _| match number {
            0 => Answer::list(1, &["a"]),
            _ => Answer::never(),
        })
        .await;
        let query = Query::new().near("_agent").consistency(consistency);
        let _watch = consul(&server).query(query).build().unwrap().watch("orders");
        let seen = server.requests(2).await;
        assert_eq!(seen[0].raw, format!("near=_agent{told}"));
        assert_eq!(seen[1].raw, format!("near=_agent{told}&index=1&wait=60000ms"));
    }
}

#[tokio::test]
async fn each_datacenter_has_indexes_of_its_own() {
    let server = Scripted::start(|_, seen| match (&*seen.query["dc"], seen.index()) {
        ("a", None) => Answer::list(900, &["a"]),
        ("b", None) => Answer::list(5, &["b"]),
        _ => Answer::never(),
    })
    .await;
    let consul = consul(&server).build().unwrap();
    let watch = |dc: &str| consul.watch_with("orders", Query::new().datacenter(dc)).unwrap();
    let (a, b) = (watch("a"), watch("b"));
    server.requests(4).await;
    for (dc, index) in [("a", "900"), ("b", "5")] {
        let seen: Vec<_> = server.seen().into_iter().filter(|s| s.query["dc"] == dc).collect();
        assert_eq!((seen[0].index(), seen[1].index()), (None, Some(index)));
    }
    assert_eq!((a.current()[0].id().as_str(), b.current()[0].id().as_str()), ("a", "b"));
}

#[tokio::test]
async fn watches_that_all_return_at_once_do_not_all_ask_again_at_once() {
    // Every query that waits is let go at one moment, as when a server lost its history.
    let release = Instant::now() + ms(700);
    let server = Scripted::start(move |_, seen| match seen.index() {
        None => Answer::list(if Instant::now() < release { 10 } else { 3 }, &["a"]),
        Some("10") => Answer::list(3, &["a"]).after(release - Instant::now()),
        Some(_) => Answer::never(),
    })
    .await;
    let consul = consul(&server).max_in_flight(128).build().unwrap();
    let _watches: Vec<_> = (0..100).map(|n| consul.watch(&format!("s{n}"))).collect();
    server.requests(200).await;
    assert!(Instant::now() < release, "too slow to begin with");
    server.requests(300).await;
    let again: Vec<_> = server.seen().iter().skip(200).map(|seen| seen.at).collect();
    let again = &again[..100];
    let most = again
        .iter()
        .map(|start| again.iter().filter(|at| **at >= *start && **at - *start < ms(20)).count());
    let (most, spread) = (most.max().unwrap(), *again.iter().max().unwrap() - release);
    println!("100 watches let go at once: {most} asked within 20 ms, the last after {spread:?}");
    assert!(most <= 60, "{most} asked within 20 ms");
    assert!(spread >= ms(100) && spread < ms(1_500), "{spread:?}");
}
