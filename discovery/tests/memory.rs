//! Registering with and watching a registry in memory, on paused time.

#![allow(clippy::unwrap_used)] // A helper of tests is no test to the lint.

use std::{sync::Arc, time::Duration};

use futures::{FutureExt as _, StreamExt as _};
use seawall_core::{Change, Health};
use seawall_discovery::{
    Lease, LeaseState, Memory, RegisterError, Registrar, Registration, Resolver,
};
use tokio::time::{Instant, advance, sleep};

const TTL: Duration = Duration::from_secs(9);

fn registration(port: u16) -> Registration {
    let address = format!("127.0.0.1:{port}").parse().unwrap();
    Registration::builder("orders", address).ttl(TTL).build().unwrap()
}

async fn register(registry: &Memory, port: u16) -> Lease {
    registry.register(registration(port)).await.unwrap()
}

fn ids(batch: &[Change]) -> Vec<String> {
    let name = |change: &Change| match change {
        Change::Insert(e) => format!("+{}", e.id()),
        Change::Update(e) => format!("~{}", e.id()),
        Change::Remove(id) => format!("-{id}"),
    };
    batch.iter().map(name).collect()
}

#[tokio::test(start_paused = true)]
async fn nodes_with_clones_of_one_handle_find_each_other() {
    let here = Memory::new();
    let there: Arc<dyn Registrar> = Arc::new(here.clone());
    let first = register(&here, 1).await;
    let resolver: Arc<dyn Resolver> = Arc::new(here.clone());
    let mut watch = resolver.watch("orders");
    assert_eq!(ids(&watch.next().await.unwrap()), ["+orders-127.0.0.1-1"]);
    let second = there.register(registration(2)).await.unwrap();
    assert_eq!(ids(&watch.next().await.unwrap()), ["+orders-127.0.0.1-2"]);
    first.shutdown().await.unwrap();
    assert_eq!(ids(&watch.next().await.unwrap()), ["-orders-127.0.0.1-1"]);
    drop(second);
    assert_eq!(ids(&watch.next().await.unwrap()), ["-orders-127.0.0.1-2"]);
}

#[tokio::test(start_paused = true)]
async fn heartbeats_keep_an_instance_alive_past_many_ttls() {
    let registry = Memory::new();
    let _lease = register(&registry, 1).await;
    let mut watch = registry.watch("orders");
    watch.next().await.unwrap();
    sleep(TTL * 50).await;
    assert_eq!(watch.next().now_or_never(), None, "nothing happened");
    assert_eq!(watch.current().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_falls_silent_is_gone_exactly_at_its_ttl() {
    let registry = Memory::new();
    let lease = register(&registry, 1).await;
    let mut watch = registry.watch("orders");
    watch.next().await.unwrap();
    // Let the first heartbeat pass, which is sent at once.
    sleep(Duration::from_millis(1)).await;
    let silent = Instant::now() - Duration::from_millis(1);
    lease.abandon();
    assert_eq!(ids(&watch.next().await.unwrap()), ["-orders-127.0.0.1-1"]);
    assert_eq!(silent.elapsed(), TTL);
}

#[tokio::test(start_paused = true)]
async fn a_successor_with_the_same_id_takes_over_without_a_gap() {
    let registry = Memory::new();
    let mut watch = registry.watch("orders");
    let first = register(&registry, 1).await;
    watch.next().await.unwrap();
    first.abandon();
    sleep(TTL / 2).await;
    let _second = register(&registry, 1).await;
    sleep(TTL * 2).await;
    assert_eq!(watch.next().now_or_never(), None);
    assert_eq!(watch.current().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_lost_its_data_has_the_instance_again_within_a_heartbeat() {
    let registry = Memory::new();
    let lease = register(&registry, 1).await;
    let mut watch = registry.watch("orders");
    watch.next().await.unwrap();
    sleep(Duration::from_secs(1)).await;
    registry.clear();
    let lost = Instant::now();
    assert_eq!(ids(&watch.next().await.unwrap()), ["-orders-127.0.0.1-1"]);
    assert_eq!(ids(&watch.next().await.unwrap()), ["+orders-127.0.0.1-1"]);
    assert!(lost.elapsed() <= TTL / 3, "{:?}", lost.elapsed());
    assert!(lease.state().is_registered());
}

#[tokio::test(start_paused = true)]
async fn health_and_weight_reach_the_watch_at_once() {
    let registry = Memory::new();
    let lease = register(&registry, 1).await;
    let mut watch = registry.watch("orders");
    watch.next().await.unwrap();
    let start = Instant::now();
    lease.set_weight(7).unwrap();
    assert_eq!(ids(&watch.next().await.unwrap()), ["~orders-127.0.0.1-1"]);
    assert_eq!(watch.current()[0].weight(), 7);
    lease.set_health(Health::Warning);
    watch.next().await.unwrap();
    assert_eq!(watch.current()[0].health(), Health::Warning);
    for out in [Health::Maintenance, Health::Critical] {
        lease.set_health(out);
        watch.next().await.unwrap();
        assert_eq!(watch.current().len(), 0, "{out:?}");
        lease.set_health(Health::Passing);
        watch.next().await.unwrap();
        assert_eq!(watch.current()[0].weight(), 7, "the weight stays");
    }
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert!(lease.set_weight(0).is_err());
}

#[tokio::test(start_paused = true)]
async fn shutdown_can_be_called_by_many_and_again() {
    let registry = Memory::new();
    let lease = register(&registry, 1).await;
    let (one, two) = tokio::join!(lease.shutdown(), lease.shutdown());
    one.unwrap();
    two.unwrap();
    lease.shutdown().await.unwrap();
    assert!(matches!(lease.state(), LeaseState::Ended { deregistered: true }));
    assert!(!registry.deregister("orders-127.0.0.1-1"), "it was gone already");
    advance(TTL * 3).await;
    assert_eq!(registry.watch("orders").current().len(), 0, "no heartbeat came after");
}

#[tokio::test(start_paused = true)]
async fn a_service_that_nobody_registered_is_fresh_and_empty() {
    let watch = Memory::new().watch("nobody");
    assert!(watch.state().is_fresh());
    assert_eq!(watch.current().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_lease_outlives_a_watch_and_the_handle() {
    let registry = Memory::new();
    let lease = register(&registry, 1).await;
    drop(registry.watch("orders"));
    let watch = registry.watch("orders");
    drop(registry);
    sleep(TTL * 2).await;
    assert_eq!(watch.current().len(), 1);
    drop(lease);
    sleep(Duration::from_millis(1)).await;
    assert_eq!(watch.current().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_silent_instance_returns_with_its_next_heartbeat_until_it_is_forgotten() {
    let registry = Memory::new();
    let watch = registry.watch("orders");
    let of = registration(1);
    seawall_discovery::Agent::register(&registry, &of, Health::Passing).await.unwrap();
    sleep(TTL + Duration::from_millis(1)).await;
    assert_eq!(watch.current().len(), 0, "critical");
    seawall_discovery::Agent::heartbeat(&registry, &of, Health::Passing).await.unwrap();
    assert_eq!(watch.current().len(), 1);
    // Five minutes after it became critical, by default.
    sleep(TTL + Duration::from_secs(300) - Duration::from_millis(1)).await;
    seawall_discovery::Agent::heartbeat(&registry, &of, Health::Passing).await.unwrap();
    sleep(TTL + Duration::from_secs(300)).await;
    let forgotten =
        seawall_discovery::Agent::heartbeat(&registry, &of, Health::Passing).await.unwrap_err();
    assert!(matches!(forgotten, RegisterError::Unknown { .. }), "{forgotten:?}");
}

#[tokio::test(start_paused = true)]
async fn an_instance_without_a_ttl_lives_until_it_is_deregistered() {
    let registry = Memory::new();
    let address = "127.0.0.1:1".parse().unwrap();
    let registration = Registration::builder("orders", address).without_ttl().build().unwrap();
    registry.register(registration).await.unwrap().abandon();
    sleep(Duration::from_secs(24 * 60 * 60)).await;
    let watch = registry.watch("orders");
    assert_eq!(watch.current().len(), 1);
    assert!(registry.deregister("orders-127.0.0.1-1"));
    assert_eq!(watch.current().len(), 0);
}
