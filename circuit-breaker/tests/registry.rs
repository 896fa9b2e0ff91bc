//! One breaker for each key.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod common;

use common::{SECOND, after_two, fail};
use seawall_circuit_breaker::{
    Clock, Config, Error, State,
    registry::{Registry, RegistryLayer, WhenFull},
};
use seawall_test_support::{Probe, Reply};
use tower::{Layer, Service, ServiceExt};

fn registry(capacity: usize) -> Registry<String> {
    let config = after_two().build().unwrap();
    Registry::builder(config)
        .capacity(capacity)
        .named(|key: &String| key.as_str().into())
        .build()
        .unwrap()
}

#[test]
fn keys_have_breakers_of_their_own_and_clones_share_them() {
    let registry = registry(10);
    fail(&registry.get("a"), 2);
    assert_eq!(registry.clone().get("a").state(), State::Open);
    assert_eq!(registry.get("b").state(), State::Closed);
    let rejection = registry.get("a").rejection(registry.get("a").admit().unwrap_err());
    assert_eq!(rejection.refused_by(), Some("a"));
    assert_eq!(registry.len(), 2);
}

#[test]
fn a_flood_of_keys_neither_grows_it_nor_washes_an_open_breaker_away() {
    let registry = registry(50);
    fail(&registry.get("sick"), 2);
    for n in 0..10_000 {
        registry.get(&format!("key-{n}")).admit().unwrap().success();
        assert!(registry.len() <= 50);
    }
    assert_eq!(registry.find("sick").unwrap().state(), State::Open);
}

#[test]
fn a_registry_full_of_open_breakers_does_as_it_was_told() {
    for (policy, admits) in [(WhenFull::Admit, true), (WhenFull::Reject, false)] {
        let config = after_two().build().unwrap();
        let registry: Registry<u32> =
            Registry::builder(config).capacity(2).when_full(policy).build().unwrap();
        fail(&registry.get(&1), 2);
        fail(&registry.get(&2), 2);
        assert_eq!(registry.get(&3).admit().is_ok(), admits, "{policy:?}");
        assert_eq!(registry.len(), 2);
    }
}

#[test]
fn a_key_may_have_settings_of_its_own() {
    let registry: Registry<u32> = Registry::builder_with(|limit: &u32| {
        Config::builder().consecutive_failures(*limit).build().unwrap()
    })
    .build()
    .unwrap();
    for limit in [1, 5] {
        fail(&registry.get(&limit), limit);
        assert_eq!(registry.get(&limit).state(), State::Open);
    }
    let mut all: Vec<_> = registry.snapshot().into_iter().map(|(key, _)| key).collect();
    all.sort_unstable();
    assert_eq!(all, [1, 5]);
    assert!(registry.remove(&5).is_some());
    assert_eq!(registry.get(&5).state(), State::Closed);
}

#[test]
fn a_registry_without_room_is_refused() {
    let error = Registry::<u32>::builder(Config::default()).capacity(0).build().unwrap_err();
    assert_eq!(error.field(), "capacity");
}

#[test]
fn threads_that_ask_at_once_get_the_same_breaker() {
    let registry = registry(2_000);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for n in 0..500 {
                    registry.get(&format!("{n}"));
                }
            });
        }
    });
    assert_eq!(registry.len(), 500);
}

#[tokio::test(start_paused = true)]
async fn the_layer_asks_the_breaker_of_each_request() {
    let config = after_two().build().unwrap();
    let registry: Registry<u32> = Registry::builder(config).clock(Clock::tokio()).build().unwrap();
    let probe: Probe<u32, u32, std::io::Error> = Probe::new(|n| {
        if n % 2 == 0 { Reply::ok(n) } else { Reply::error(std::io::Error::other("odd")) }
    });
    let handle = probe.handle();
    let layer = RegistryLayer::new(registry.clone(), |n: &u32| *n);
    let mut service = layer.layer(probe);
    for _ in 0..2 {
        assert!(matches!(service.ready().await.unwrap().call(1).await, Err(Error::Inner(_))));
    }
    assert!(matches!(service.ready().await.unwrap().call(1).await, Err(Error::Rejected(_))));
    assert_eq!(service.ready().await.unwrap().call(2).await.unwrap(), 2);
    assert_eq!(handle.calls(), 3);
    tokio::time::advance(5 * SECOND).await;
    assert!(matches!(service.ready().await.unwrap().call(1).await, Err(Error::Inner(_))));
    drop(service);
    handle.assert_idle();
}
