//! Several agents, of which some are dead.

#![cfg(feature = "consul")]
#![allow(clippy::unwrap_used)] // A helper of tests is no test to the lint.

mod real;
mod scripted;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use real::{SOON, ask, next};
use scripted::{Answer, Scripted, Seen, until};
use seawall_discovery::{
    Consul, ConsulBuilder, RegisterError, Registrar as _, Registration, Resolver as _,
};
use seawall_test_support::ConsulServer;
use tokio::time::{Instant, sleep};

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// An agent that knows the instance `name`, and hangs whenever the test says so.
struct Agent {
    server: Scripted,
    hangs: Arc<AtomicBool>,
}

impl Agent {
    async fn start(name: &'static str, index: u64) -> Self {
        let hangs = Arc::new(AtomicBool::new(false));
        let hung = Arc::clone(&hangs);
        let answer = move |_, seen: &Seen| match &*seen.path {
            _ if hung.load(Relaxed) => Answer::never(),
            "/v1/status/leader" => Answer::json(r#""127.0.0.1:8300""#),
            "/v1/health/service/broken" => Answer::error(500, "No path to datacenter"),
            path if path.starts_with("/v1/health/") && seen.index().is_some() => Answer::never(),
            path if path.starts_with("/v1/health/") => Answer::list(index, &[name]),
            _ => Answer::json(""),
        };
        Self { server: Scripted::start(answer).await, hangs }
    }

    fn hang(&self, hangs: bool) {
        self.hangs.store(hangs, Relaxed);
    }

    /// What it was asked by a lease so far.
    fn told(&self) -> Vec<String> {
        let of_lease = |seen: &Seen| seen.path.strip_prefix("/v1/agent/").map(str::to_owned);
        let short = |path: String| path.split('/').nth(1).unwrap_or_default().to_owned();
        self.server.seen().iter().filter_map(of_lease).map(short).collect()
    }

    fn watched(&self, service: &str) -> Vec<Option<String>> {
        let seen = self.server.seen_at(&format!("/v1/health/service/{service}"));
        seen.iter().map(|seen| seen.index().map(str::to_owned)).collect()
    }
}

fn consul(first: &str, second: &str) -> ConsulBuilder {
    Consul::builder(first)
        .or(second)
        .backoff(ms(5), ms(20))
        .request_timeout(ms(200))
        .wait(ms(300))
        .wait_slack(ms(100))
        .return_after(ms(100))
}

fn registration(ttl: Duration) -> Registration {
    let registration = Registration::builder("orders", "127.0.0.1:1".parse().unwrap());
    registration.id("o1").ttl(ttl).shutdown_timeout(ms(1_500)).build().unwrap()
}

#[tokio::test]
async fn watches_move_from_a_dead_agent_start_over_there_and_return() {
    let (first, second) = (Agent::start("a", 900).await, Agent::start("b", 5).await);
    let consul = consul(&first.server.url(), &second.server.url()).build().unwrap();
    let watch = consul.watch("orders");
    let other = consul.watch("others");
    let id = || watch.current().first().map(|endpoint| endpoint.id().to_string());
    until("at the first", || id().as_deref() == Some("a") && other.current().len() == 1).await;
    until("waiting there", || first.watched("orders").len() >= 2).await;
    assert!(second.server.seen().is_empty());

    first.hang(true);
    until("at the second", || id().as_deref() == Some("b")).await;
    assert!(watch.state().is_fresh());
    until("the other too", || other.current()[0].id().as_str() == "b").await;
    // No index of the first agent is one of the second.
    until("waiting there", || second.watched("orders").len() >= 2).await;
    assert_eq!(second.watched("orders")[..2], [None, Some("5".to_owned())]);

    first.hang(false);
    until("back at the first", || id().as_deref() == Some("a")).await;
    let asked = first.watched("orders");
    let back = asked.iter().rposition(Option::is_none).unwrap();
    assert!(back > 0 && asked[..back].contains(&Some("900".to_owned())), "{asked:?}");
    until("waiting there again", || first.watched("orders").len() > back + 1).await;
}

#[tokio::test]
async fn one_service_that_an_agent_cannot_serve_moves_nobody() {
    let (first, second) = (Agent::start("a", 1).await, Agent::start("b", 1).await);
    let consul = consul(&first.server.url(), &second.server.url()).build().unwrap();
    let watch = consul.watch("broken");
    until("told", || watch.state().to_string().contains("No path to datacenter")).await;
    sleep(ms(200)).await;
    assert!(second.server.seen().is_empty(), "{:?}", second.server.seen());
}

#[tokio::test]
async fn register_heartbeats_and_deregister_go_to_the_same_agent_while_watches_are_elsewhere() {
    let (first, second) = (Agent::start("a", 1).await, Agent::start("b", 1).await);
    let consul = consul(&first.server.url(), &second.server.url()).return_after(SOON * 10);
    let consul = consul.build().unwrap();
    let lease = consul.register(registration(ms(3_000))).await.unwrap();
    let watch = consul.watch("orders");
    watch.ready(SOON).await.unwrap();
    first.hang(true);
    until("elsewhere", || watch.current()[0].id().as_str() == "b").await;
    first.hang(false);
    until("well", || lease.state().is_registered()).await;
    lease.shutdown().await.unwrap();
    assert_eq!(second.told(), [""; 0]);
    let told = first.told();
    assert_eq!((&*told[0], &*told[told.len() - 1]), ("register", "deregister"), "{told:?}");
}

#[tokio::test]
async fn a_lease_whose_agent_is_gone_for_its_ttl_moves_and_is_cleared_away_where_it_was() {
    let (first, second) = (Agent::start("a", 1).await, Agent::start("b", 1).await);
    let consul = consul(&first.server.url(), &second.server.url()).build().unwrap();
    let ttl = ms(600);
    let lease = consul.register(registration(ttl)).await.unwrap();
    first.hang(true);
    let start = Instant::now();
    until("registered with the second", || !second.told().is_empty()).await;
    let took = start.elapsed();
    assert!(took >= ttl && took < ttl * 3, "{took:?}");
    until("well", || lease.state().is_registered()).await;
    assert!(first.server.seen_at("deregister").iter().all(|seen| seen.at > start + ttl));

    first.hang(false);
    let before = first.server.seen_at("deregister").len();
    until("cleared", || first.server.seen_at("deregister").len() > before).await;
    sleep(ttl).await;
    let cleared = first.server.seen_at("/v1/agent/").len();
    lease.shutdown().await.unwrap();
    assert_eq!(first.server.seen_at("/v1/agent/").len(), cleared, "nothing more is told to it");
    let last = second.server.seen_at("/v1/agent/").pop().unwrap();
    assert_eq!(last.path, "/v1/agent/service/deregister/o1");
}

#[tokio::test]
async fn a_registration_goes_to_the_next_agent_when_the_first_hangs_or_refuses_connections() {
    let (first, second) = (Agent::start("a", 1).await, Agent::start("b", 1).await);
    first.hang(true);
    for dead in [first.server.url(), "http://127.0.0.1:1".to_owned()] {
        let consul = consul(&dead, &second.server.url()).build().unwrap();
        let lease = consul.register(registration(ms(3_000))).await.unwrap();
        lease.shutdown().await.unwrap();
        let last = second.server.seen_at("/v1/agent/").pop().unwrap();
        assert_eq!(last.path, "/v1/agent/service/deregister/o1");
    }
    // The one that hangs may have got the registration, so it is told of the end too.
    assert!(!first.server.seen_at("deregister").is_empty());
    let nobody = consul("http://127.0.0.1:1", "http://127.0.0.1:2").build().unwrap();
    let error = nobody.register(registration(ms(3_000))).await.unwrap_err();
    assert!(matches!(error, RegisterError::Unreachable { .. }), "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_loses_its_leader_loses_no_endpoint_and_no_registration() {
    let mut servers = ConsulServer::cluster(3).await;
    let leads =
        |server: &ConsulServer| ask(server, "/v1/agent/self").contains("\"leader\":\"true\"");
    let place = servers.iter().position(leads).unwrap();
    servers.swap(0, place);
    let consul = servers[1..].iter().fold(
        Consul::builder(&servers[0].http_url()).backoff(ms(20), ms(200)).request_timeout(ms(1_000)),
        |builder, server| builder.or(&server.http_url()),
    );
    let consul = consul.build().unwrap();
    let stays = Consul::new(&servers[1].http_url()).unwrap();
    let kept = stays.register(registration(ms(1_500))).await.unwrap();
    let address = "127.0.0.1:2".parse().unwrap();
    let moved = Registration::builder("orders", address).id("o2").ttl(ms(1_500)).build().unwrap();
    let moved = consul.register(moved).await.unwrap();
    let mut watch = consul.watch("orders");
    let mut seen = next(&mut watch).await;
    while seen.len() < 2 {
        seen.extend(next(&mut watch).await);
    }
    // The one that leads, that the watch follows and that holds `o2`.
    drop(servers.remove(0));
    let start = Instant::now();
    until("noticed", || !watch.state().is_fresh()).await;
    until("fresh", || watch.state().is_fresh() && kept.state().is_registered()).await;
    let fresh = start.elapsed();
    until("moved", || {
        servers.iter().any(|server| ask(server, "/v1/agent/services").contains("o2"))
    })
    .await;
    println!("leader killed: watch fresh after {fresh:?}, lease moved after {:?}", start.elapsed());
    assert!(watch.current().iter().any(|endpoint| endpoint.id().as_str() == "o1"));
    until("both", || watch.current().len() >= 2).await;
    moved.shutdown().await.unwrap();
    kept.shutdown().await.unwrap();
    for server in &servers {
        let services = ask(server, "/v1/agent/services");
        assert!(!services.contains("\"o1\"") && !services.contains("\"o2\""), "{services}");
    }
}
