//! Registering with and watching a real Consul agent that is killed, hung and restarted.

#![cfg(feature = "consul")]
#![allow(clippy::unwrap_used)] // A helper of tests is no test to the lint.

mod real;

use std::time::Duration;

use real::{SOON, ask, next, until};
use seawall_core::Health;
use seawall_discovery::{
    Consul, EmptyAnswers, Lease, LeaseState, RegisterError, Registrar, Registration, Resolver,
    WatchState,
};
use seawall_test_support::{ConsulServer, Data, FaultProxy, Faults};
use tokio::time::Instant;

const TTL: Duration = Duration::from_secs(3);

fn client(server: &ConsulServer) -> Consul {
    let ms = Duration::from_millis;
    let builder = Consul::builder(&server.http_url()).backoff(ms(20), ms(200));
    builder.request_timeout(ms(1_000)).build().unwrap()
}

fn registration(port: u16) -> Registration {
    let address = format!("127.0.0.1:{port}").parse().unwrap();
    let timeout = Duration::from_secs(2);
    Registration::builder("orders", address).ttl(TTL).shutdown_timeout(timeout).build().unwrap()
}

async fn register(consul: &Consul, port: u16) -> Lease {
    consul.register(registration(port)).await.unwrap()
}

#[tokio::test]
async fn an_instance_is_found_changed_and_gone_as_its_lease_says() {
    let server = ConsulServer::start().await;
    let consul = client(&server);
    consul.ping().await.unwrap();
    let mut watch = consul.watch("orders");
    let registration = Registration::builder("orders", "127.0.0.1:1".parse().unwrap())
        .id("orders-é%41")
        .weight(7)
        .warning_weight(2)
        .tags(["canary"])
        .metadata("version", "3")
        .zone("eu-1")
        .ttl(TTL)
        .build()
        .unwrap();
    let lease = consul.register(registration).await.unwrap();
    assert_eq!(next(&mut watch).await, ["+1"]);
    let found = watch.current()[0].clone();
    assert_eq!((found.id().as_str(), found.weight()), ("orders-é%41", 7));
    assert_eq!((found.zone(), found.metadata("version")), (Some("eu-1"), Some("3")));
    assert_eq!(found.tags().collect::<Vec<_>>(), ["canary"]);

    lease.set_health(Health::Warning);
    assert_eq!(next(&mut watch).await, ["~1"]);
    let found = watch.current()[0].clone();
    assert_eq!((found.health(), found.weight()), (Health::Warning, 2));

    lease.set_health(Health::Critical);
    assert_eq!(next(&mut watch).await, ["-orders-é%41"]);
    lease.set_health(Health::Passing);
    assert_eq!(next(&mut watch).await, ["+1"]);

    lease.set_health(Health::Maintenance);
    assert_eq!(next(&mut watch).await, ["-orders-é%41"]);
    lease.set_health(Health::Passing);
    assert_eq!(next(&mut watch).await, ["+1"]);

    lease.set_weight(9).unwrap();
    assert_eq!(next(&mut watch).await, ["~1"]);
    assert_eq!(watch.current()[0].weight(), 9);

    lease.shutdown().await.unwrap();
    assert_eq!(next(&mut watch).await, ["-orders-é%41"]);
    lease.shutdown().await.unwrap();
    assert!(!ask(&server, "/v1/agent/services").contains("orders"));
}

#[tokio::test]
async fn an_agent_that_lost_its_data_has_the_instance_again_within_a_heartbeat_and_a_second() {
    let server = ConsulServer::start().await;
    let consul = client(&server);
    let lease = register(&consul, 1).await;
    let mut watch = consul.watch("orders");
    assert_eq!(next(&mut watch).await, ["+1"]);
    // The indexes of the new agent start far below those of the old one.
    server.restart(Data::Lose).await;
    let restarted = Instant::now();
    until("registered", || ask(&server, "/v1/agent/services").contains("orders")).await;
    let took = restarted.elapsed();
    println!("from a restart without data to being registered again, heartbeats of 1 s: {took:?}");
    assert!(took <= TTL / 3 + Duration::from_secs(1), "{took:?}");
    until("fresh", || watch.state().is_fresh()).await;
    assert_eq!(watch.current().len(), 1);
    until("known to be", || lease.state().is_registered()).await;
    // The watch has followed into the new history.
    let second = register(&consul, 2).await;
    assert_eq!(next(&mut watch).await, ["+2"], "and nothing was ever removed");
    drop((lease, second));
}

#[tokio::test]
async fn an_agent_that_lost_its_data_for_good_empties_the_set_after_the_grace() {
    let server = ConsulServer::start().await;
    let ms = Duration::from_millis;
    let consul = Consul::builder(&server.http_url())
        .backoff(ms(20), ms(100))
        .empty_answers(EmptyAnswers::HoldFor(ms(1_500)))
        .build()
        .unwrap();
    register(&consul, 1).await.abandon();
    let mut watch = consul.watch("orders");
    assert_eq!(next(&mut watch).await, ["+1"]);
    server.restart(Data::Lose).await;
    until(
        "held",
        || matches!(watch.state(), WatchState::Stale { why, .. } if why.contains("no instance")),
    )
    .await;
    assert_eq!(watch.current().len(), 1);
    assert_eq!(next(&mut watch).await, ["-orders-127.0.0.1-1"]);
    assert!(watch.state().is_fresh());
}

#[tokio::test]
async fn a_dead_agent_leaves_the_last_set_in_use() {
    let server = ConsulServer::start().await;
    let consul = client(&server);
    let lease = register(&consul, 1).await;
    let watch = consul.watch("orders");
    watch.ready(SOON).await.unwrap();
    server.kill();
    until("stale", || !watch.state().is_fresh()).await;
    until("failing", || !lease.state().is_registered()).await;
    assert_eq!(watch.current().len(), 1);
    let WatchState::Stale { why, .. } = watch.state() else { panic!("{:?}", watch.state()) };
    let expected = format!("consul at {} is unreachable: ", server.http_url());
    assert!(why.starts_with(&expected), "{why}");
    let LeaseState::Failing { why, .. } = lease.state() else { panic!("{:?}", lease.state()) };
    assert!(why.line().to_lowercase().contains("connect"), "{}", why.line());
    let error = consul.ping().await.unwrap_err().line();
    assert!(error.contains("onnection refused") && !error.contains('\n'), "{error}");

    let start = Instant::now();
    let error = lease.shutdown().await.unwrap_err();
    assert!(error.to_string().contains("orders-127.0.0.1-1"), "{error}");
    let took = start.elapsed();
    assert!(took < lease.registration().shutdown_timeout() + Duration::from_secs(1), "{took:?}");
    assert!(matches!(lease.state(), LeaseState::Ended { deregistered: false }));
}

#[tokio::test]
async fn a_hung_agent_goes_on_where_it_was_when_it_wakes_up() {
    let server = ConsulServer::start().await;
    let consul = client(&server);
    let lease = register(&consul, 1).await;
    let mut watch = consul.watch("orders");
    assert_eq!(next(&mut watch).await, ["+1"]);
    server.pause();
    until("failing", || !lease.state().is_registered()).await;
    let error = consul.ping().await.unwrap_err().line();
    assert!(error.ends_with("no answer within 1s"), "{error}");
    assert_eq!(watch.current().len(), 1);
    server.resume();
    until("registered", || lease.state().is_registered()).await;
    let second = register(&consul, 2).await;
    assert!(next(&mut watch).await.contains(&"+2".to_owned()));
    drop((lease, second));
}

#[tokio::test]
async fn a_lease_that_ends_while_the_agent_hangs_leaves_no_ghost() {
    let server = ConsulServer::start().await;
    let consul = client(&server);
    let lease = register(&consul, 1).await;
    server.pause();
    until("failing", || !lease.state().is_registered()).await;
    let ended = tokio::spawn(async move { lease.shutdown().await });
    tokio::time::sleep(Duration::from_millis(300)).await;
    server.resume();
    ended.await.unwrap().unwrap();
    tokio::time::sleep(TTL / 3).await;
    assert!(!ask(&server, "/v1/agent/services").contains("orders"));
}

#[tokio::test]
async fn a_network_that_delays_resets_and_swallows_costs_no_endpoint_and_no_registration() {
    let server = ConsulServer::start().await;
    let proxy = FaultProxy::start(server.address()).await;
    let ms = Duration::from_millis;
    let consul = Consul::builder(&format!("http://{}", proxy.address()))
        .backoff(ms(20), ms(200))
        .request_timeout(ms(500))
        .wait(ms(500))
        .wait_slack(ms(300))
        .build()
        .unwrap();
    let lease = register(&consul, 1).await;
    let mut watch = consul.watch("orders");
    assert_eq!(next(&mut watch).await, ["+1"]);

    proxy.set_both(Faults { latency: ms(60), jitter: ms(60), ..Faults::NONE });
    for _ in 0..10 {
        proxy.reset();
        tokio::time::sleep(ms(60)).await;
    }
    until("fresh after resets", || watch.state().is_fresh()).await;

    proxy.set_both(Faults::BLACK_HOLE);
    until("stale in a black hole", || !watch.state().is_fresh()).await;
    until("failing in a black hole", || !lease.state().is_registered()).await;
    proxy.heal();
    proxy.refuse();
    tokio::time::sleep(ms(200)).await;
    proxy.accept();
    until("fresh again", || watch.state().is_fresh()).await;
    until("registered again", || lease.state().is_registered()).await;

    let second = register(&consul, 2).await;
    assert_eq!(next(&mut watch).await, ["+2"], "and nothing was ever removed");
    lease.shutdown().await.unwrap();
    second.shutdown().await.unwrap();
    assert!(!ask(&server, "/v1/agent/services").contains("orders"));
}

#[tokio::test]
async fn an_instance_without_heartbeats_is_registered_again_too() {
    let server = ConsulServer::start().await;
    let consul = client(&server);
    let address = "127.0.0.1:1".parse().unwrap();
    let registration = Registration::builder("orders", address).without_ttl().build().unwrap();
    let lease = consul.register(registration).await.unwrap();
    let mut watch = consul.watch("orders");
    assert_eq!(next(&mut watch).await, ["+1"]);
    consul.deregister("orders-127.0.0.1-1").await.unwrap();
    assert_eq!(next(&mut watch).await, ["-orders-127.0.0.1-1"]);
    // Any change makes the lease look, long before its ten seconds have passed.
    lease.set_health(Health::Maintenance);
    until("registered", || ask(&server, "/v1/agent/services").contains("orders")).await;
    lease.set_health(Health::Passing);
    assert_eq!(next(&mut watch).await, ["+1"]);
    drop(lease);
    assert_eq!(next(&mut watch).await, ["-orders-127.0.0.1-1"]);
}

#[tokio::test]
async fn a_new_life_does_not_inherit_the_maintenance_of_the_old_one() {
    let server = ConsulServer::start().await;
    let consul = client(&server);
    let lease = register(&consul, 1).await;
    let mut watch = consul.watch("orders");
    assert_eq!(next(&mut watch).await, ["+1"]);
    lease.set_health(Health::Maintenance);
    assert_eq!(next(&mut watch).await, ["-orders-127.0.0.1-1"]);
    lease.abandon();
    let again = register(&consul, 1).await;
    assert_eq!(next(&mut watch).await, ["+1"]);
    drop(again);
}

#[tokio::test]
async fn deregistering_what_is_not_there_is_done() {
    let server = ConsulServer::start().await;
    client(&server).deregister("nobody").await.unwrap();
}

#[tokio::test]
async fn without_the_right_token_access_is_denied_and_with_it_everything_works() {
    const ROOT: &str = "11111111-2222-3333-4444-555555555555";
    let acl = format!(
        r#"{{"acl": {{"enabled": true, "default_policy": "deny", "tokens": {{"master": "{ROOT}"}}}},
            "primary_datacenter": "dc1"}}"#
    );
    let server = ConsulServer::builder().config(acl).start().await;
    let refused = client(&server).register(registration(1)).await.unwrap_err();
    assert!(matches!(refused, RegisterError::Denied { .. }), "{refused:?}");

    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&file, "wrong\n").unwrap();
    let consul = Consul::builder(&server.http_url())
        .token_file(file.path())
        .backoff(Duration::from_millis(20), Duration::from_millis(100))
        .build()
        .unwrap();
    let mut watch = consul.watch("orders");
    until(
        "denied",
        || matches!(watch.state(), WatchState::Stale { why, .. } if why.contains("denies access")),
    )
    .await;
    // Rotated while everything runs.
    std::fs::write(&file, format!("{ROOT}\n")).unwrap();
    let mut lease = consul.register(registration(1)).await;
    for _ in 0..50 {
        if lease.is_ok() {
            break;
        }
        // The management token takes a moment to exist after the start.
        tokio::time::sleep(Duration::from_millis(100)).await;
        lease = consul.register(registration(1)).await;
    }
    let lease = lease.unwrap();
    assert_eq!(next(&mut watch).await, ["+1"]);
    std::fs::write(&file, "wrong again\n").unwrap();
    until("denied", || {
        matches!(lease.state(), LeaseState::Failing { why, .. }
            if matches!(*why, RegisterError::Denied { .. }))
    })
    .await;
    std::fs::write(&file, ROOT).unwrap();
    // An empty answer right after a refusal would be held back.
    until("granted", || lease.state().is_registered() && watch.state().is_fresh()).await;
    lease.shutdown().await.unwrap();
    assert_eq!(next(&mut watch).await, ["-orders-127.0.0.1-1"]);
}
