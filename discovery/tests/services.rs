//! Following the list of services.

#![cfg(feature = "consul")]
#![allow(clippy::unwrap_used)] // A helper of tests is no test to the lint.

mod real;
mod scripted;

use std::time::Duration;

use real::SOON;
use scripted::{Answer, Scripted, until};
use seawall_discovery::{Consul, Query, Registrar as _, Registration, Services};
use seawall_test_support::ConsulServer;
use tokio::time::timeout;

async fn changed(services: &mut Services) -> Vec<String> {
    let names = timeout(SOON, services.changed()).await.expect("a change in time");
    names.iter().map(|(name, tags)| format!("{name}{tags:?}")).collect()
}

#[tokio::test]
async fn the_list_of_services_follows_what_is_registered() {
    let agent = ConsulServer::start().await;
    let consul = Consul::new(&agent.http_url()).unwrap();
    let mut services = consul.services();
    assert!(!services.state().is_fresh());
    assert_eq!(changed(&mut services).await, ["consul[]"]);
    assert!(services.state().is_fresh());
    let address = "127.0.0.1:1".parse().unwrap();
    let registration = Registration::builder("orders", address).tags(["b", "a"]).build().unwrap();
    let lease = consul.register(registration).await.unwrap();
    assert_eq!(changed(&mut services).await, ["consul[]", r#"orders["a", "b"]"#]);
    let mut late = services.clone();
    lease.shutdown().await.unwrap();
    assert_eq!(changed(&mut services).await, ["consul[]"]);
    assert_eq!(changed(&mut late).await, ["consul[]"]);
}

#[tokio::test]
async fn the_list_is_asked_for_by_the_rules_of_blocking_queries() {
    let list =
        |index: usize, json: &'static str| Answer::json(json).header("X-Consul-Index", index);
    let server = Scripted::start(move |number, _| match number {
        0 => list(5, r#"{"consul": [], "a": ["y", "x"]}"#),
        1 => list(6, r#"{"consul": null, "a": ["x", "y"]}"#),
        2 => Answer::error(500, "No cluster leader"),
        // It lost its data: nothing but itself is as good as nothing.
        3 => list(2, r#"{"consul": []}"#),
        4 => list(3, r#"{"consul": [], "b": []}"#),
        _ => Answer::never(),
    })
    .await;
    let ms = Duration::from_millis;
    let consul = Consul::builder(&server.url()).backoff(ms(5), ms(20)).build().unwrap();
    let query = Query::new().datacenter("dc2").filter("ServiceName != x");
    let mut services = consul.services_with(query).unwrap();
    assert_eq!(changed(&mut services).await, [r#"a["x", "y"]"#, "consul[]"]);
    // Neither the order of tags, nor a failure, nor the loss of its data shows in the list.
    assert_eq!(changed(&mut services).await, ["b[]", "consul[]"]);
    assert!(services.state().is_fresh());
    let seen = server.requests(6).await;
    let indexes: Vec<_> = seen.iter().map(|seen| seen.index().unwrap_or("-")).collect();
    assert_eq!(indexes, ["-", "5", "6", "-", "2", "3"]);
    assert_eq!(seen[1].path, "/v1/catalog/services");
    assert_eq!((&*seen[1].query["dc"], &*seen[1].query["filter"]), ("dc2", "ServiceName+%21%3D+x"));
    let other = services.clone();
    drop(services);
    assert_eq!(server.open().0, 1, "the other still follows");
    drop(other);
    until("abandoned", || server.open().0 == 0).await;
    assert_eq!(consul.services_with(Query::new().tag("a")).unwrap_err().field(), "query.tag");
}
