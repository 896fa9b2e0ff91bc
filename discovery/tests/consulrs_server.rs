//! Registering over a client of the `consulrs` crate with a real agent.

#![cfg(all(feature = "consul", feature = "consulrs"))]
#![allow(clippy::unwrap_used)] // A helper of tests is no test to the lint.

use std::{sync::Arc, time::Duration};

use consulrs::client::{ConsulClient, ConsulClientSettingsBuilder};
use futures::StreamExt as _;
use seawall_core::{Change, Health};
use seawall_discovery::{
    Check, Consul, ConsulRs, RegisterError, Registrar as _, Registration, RegistrationBuilder,
    Resolver as _, Watch,
};
use seawall_test_support::{ConsulServer, Data, HttpServer};
use tokio::time::{Instant, timeout};

const TTL: Duration = Duration::from_secs(3);
const ID: &str = "orders-127.0.0.1-1";

fn registrar(server: &ConsulServer, token: &str) -> ConsulRs {
    let mut settings = ConsulClientSettingsBuilder::default();
    let settings = settings.address(server.http_url()).token(token).build().unwrap();
    ConsulRs::new(Arc::new(ConsulClient::new(settings).unwrap()))
        .request_timeout(Duration::from_secs(1))
        .unwrap()
}

fn registration() -> RegistrationBuilder {
    Registration::builder("orders", "127.0.0.1:1".parse().unwrap()).ttl(TTL)
}

async fn next(watch: &mut Watch) -> Vec<Change> {
    timeout(Duration::from_secs(5), watch.next()).await.expect("a change in time").unwrap()
}

#[tokio::test]
async fn an_instance_lives_as_its_lease_says() {
    let server = ConsulServer::start().await;
    let registrar = registrar(&server, "");
    let mut watch = Consul::new(&server.http_url()).unwrap().watch("orders");
    let registration = registration().weight(7).warning_weight(2).tags(["a"]).zone("eu");
    let lease = registrar.register(registration.build().unwrap()).await.unwrap();
    next(&mut watch).await;
    let found = watch.current()[0].clone();
    assert_eq!((found.weight(), found.zone()), (7, Some("eu")));
    assert_eq!(found.tags().collect::<Vec<_>>(), ["a"]);

    lease.set_health(Health::Warning);
    next(&mut watch).await;
    assert_eq!(watch.current()[0].weight(), 2);
    for out in [Health::Critical, Health::Maintenance] {
        lease.set_health(out);
        assert_eq!(next(&mut watch).await, [Change::Remove(ID.into())], "{out:?}");
        lease.set_health(Health::Passing);
        assert!(matches!(next(&mut watch).await[..], [Change::Insert(_)]), "{out:?}");
    }
    lease.shutdown().await.unwrap();
    assert_eq!(next(&mut watch).await, [Change::Remove(ID.into())]);
}

#[tokio::test]
async fn checks_that_the_agent_makes_by_itself_count_too() {
    let (agent, server) = (ConsulServer::start().await, HttpServer::start().await);
    let mut watch = Consul::new(&agent.http_url()).unwrap().watch("orders");
    let every = Duration::from_secs(1);
    let tcp = Check::tcp(server.address().try_into().unwrap(), every);
    let registration = registration().check(Check::http(server.url("/x"), every)).check(tcp);
    server.set_path(Some("/ok"));
    let lease = registrar(&agent, "").register(registration.build().unwrap()).await.unwrap();
    assert!(matches!(next(&mut watch).await[..], [Change::Insert(_)]));
    server.set_path(Some("/status/500"));
    assert_eq!(next(&mut watch).await, [Change::Remove(ID.into())]);
    lease.shutdown().await.unwrap();
}

#[tokio::test]
async fn an_agent_that_lost_its_data_has_the_instance_again_within_a_heartbeat_and_a_second() {
    let server = ConsulServer::start().await;
    let lease = registrar(&server, "").register(registration().build().unwrap()).await.unwrap();
    server.restart(Data::Lose).await;
    let restarted = Instant::now();
    let watch = Consul::new(&server.http_url()).unwrap().watch("orders");
    watch.ready(Duration::from_secs(5)).await.unwrap();
    let took = restarted.elapsed();
    assert!(took <= TTL / 3 + Duration::from_secs(1), "{took:?}");
    drop(lease);
}

#[tokio::test]
async fn a_hung_agent_is_an_error_in_time() {
    let server = ConsulServer::start().await;
    let registrar = registrar(&server, "");
    server.pause();
    let error = registrar.register(registration().build().unwrap()).await.unwrap_err();
    assert_eq!(
        error.line(),
        format!("consul at {} is unreachable: no answer within 1s", server.http_url())
    );
    server.resume();
    registrar.deregister(ID).await.unwrap();
}

#[tokio::test]
async fn what_the_crate_would_panic_over_is_an_error() {
    let server = ConsulServer::start().await;
    let registrar = registrar(&server, "not\nsendable");
    let error = registrar.register(registration().build().unwrap()).await.unwrap_err();
    assert!(matches!(error, RegisterError::Garbled { .. }), "{error:?}");
    assert!(!error.line().contains("sendable"), "{}", error.line());
}

#[tokio::test]
async fn what_the_crate_cannot_do_is_refused_before_it_is_tried() {
    // Nothing listens there.
    let settings = ConsulClientSettingsBuilder::default().address("http://127.0.0.1:1").build();
    let registrar = ConsulRs::new(Arc::new(ConsulClient::new(settings.unwrap()).unwrap()));
    let check = Check::tcp("h:1".parse().unwrap(), TTL).trust_any_certificate();
    for (field, registration) in [
        ("id", registration().id("a%41")),
        ("ttl", registration().without_ttl()),
        ("check.certificate", registration().check(check)),
    ] {
        let error = registrar.register(registration.build().unwrap()).await.unwrap_err();
        let RegisterError::Config(error) = error else { panic!("{field}: {error:?}") };
        assert_eq!(error.field(), field);
    }
    assert!(registrar.clone().request_timeout(Duration::ZERO).is_err());
    let error = registrar.register(registration().build().unwrap()).await.unwrap_err();
    assert!(matches!(error, RegisterError::Unreachable { .. }), "{error:?}");
}
