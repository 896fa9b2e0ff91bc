//! What a client of others' notices of a registry that is down: nothing.

#![cfg(feature = "consul")]
#![allow(clippy::unwrap_used)] // A helper of tests is no test to the lint.

mod real;

use std::time::Duration;

use real::{ask, until};
use seawall_core::Address;
use seawall_discovery::{Consul, Registrar as _, Registration, Resolver as _, Watch};
use seawall_test_support::{ConsulServer, Data, FaultProxy, HttpServer};
use tokio::time::{Instant, advance, pause, resume, sleep};

const TTL: Duration = Duration::from_secs(3);

/// A client that calls whom its watch names, in turn.
struct Client {
    http: reqwest::Client,
    watch: Watch,
    sent: usize,
    lost: usize,
}

impl Client {
    async fn call(&mut self) {
        let endpoints = self.watch.current();
        self.sent += 1;
        let Some(endpoint) = endpoints.get(self.sent % endpoints.len().max(1)) else {
            self.lost += 1;
            return;
        };
        let answer = self.http.get(format!("http://{}/ok", endpoint.address())).send().await;
        self.lost += usize::from(!answer.is_ok_and(|answer| answer.status().is_success()));
    }
}

#[tokio::test]
async fn a_client_whose_consul_is_dead_for_a_minute_loses_no_request() {
    let agent = ConsulServer::start().await;
    let consul = Consul::new(&agent.http_url()).unwrap();
    let servers = [HttpServer::start().await, HttpServer::start().await];
    let mut leases = Vec::new();
    for server in &servers {
        let address = Address::try_from(server.address()).unwrap();
        let registration = Registration::builder("orders", address).ttl(TTL).build().unwrap();
        leases.push(consul.register(registration).await.unwrap());
    }
    let watch = consul.watch("orders");
    until("both", || watch.current().len() == 2).await;
    let mut client = Client { http: reqwest::Client::new(), watch, sent: 0, lost: 0 };
    client.call().await;

    agent.kill();
    until("stale", || !client.watch.state().is_fresh()).await;
    // The minute passes on tokio's clock; calls, refusals and everything else are real.
    pause();
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(60) {
        advance(Duration::from_millis(50)).await;
        client.call().await;
    }
    let (dead, during) = (start.elapsed(), client.sent);
    resume();
    assert!(!client.watch.state().is_fresh() && client.watch.current().len() == 2);

    // It comes back without its data, so that the services have to register again meanwhile.
    let restart = agent.restart(Data::Lose);
    tokio::pin!(restart);
    while futures::FutureExt::now_or_never(&mut restart).is_none() {
        client.call().await;
        sleep(Duration::from_millis(5)).await;
    }
    let back = Instant::now();
    while !client.watch.state().is_fresh() && back.elapsed() < Duration::from_secs(20) {
        client.call().await;
        sleep(Duration::from_millis(5)).await;
    }
    let fresh = back.elapsed();
    for _ in 0..200 {
        client.call().await;
    }
    assert!(client.watch.state().is_fresh(), "{}", client.watch.state());
    let Client { sent, lost, .. } = client;
    println!(
        "consul dead for {dead:?} of tokio's clock: {during} calls; then restarted without data, \
         fresh after {fresh:?}: {sent} calls, {lost} lost"
    );
    assert_eq!(lost, 0, "of {sent}");
    assert_eq!(client.watch.current().len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_random_life_over_a_bad_network_leaves_a_ghost_with_a_real_agent() {
    let ms = Duration::from_millis;
    let agent = ConsulServer::start().await;
    let proxy = FaultProxy::start(agent.address()).await;
    let builder = Consul::builder(&format!("http://{}", proxy.address()));
    let consul = builder.request_timeout(ms(500)).build().unwrap();
    let lives = (0..40_u64).map(|seed| {
        let consul = consul.clone();
        async move {
            let mut rng = fastrand::Rng::with_seed(seed);
            let address = Address::new("127.0.0.1", 1 + seed as u16).unwrap();
            let registration = Registration::builder("orders", address).ttl(ms(600));
            let registration = registration.shutdown_timeout(ms(8_000)).build().unwrap();
            let lease = loop {
                match consul.register(registration.clone()).await {
                    Ok(lease) => break lease,
                    // It may have arrived all the same.
                    Err(_) => sleep(ms(50)).await,
                }
            };
            for _ in 0..rng.usize(2..12) {
                sleep(ms(rng.u64(..300))).await;
                match rng.u8(..4) {
                    0 => lease.set_weight(rng.u16(1..)).unwrap(),
                    1 => lease.set_health(seawall_core::Health::Warning),
                    2 => lease.set_health(seawall_core::Health::Maintenance),
                    _ => drop(consul.deregister(lease.registration().id()).await),
                }
            }
            lease.shutdown().await.is_ok()
        }
    });
    let lives: Vec<_> = lives.map(tokio::spawn).collect();
    for _ in 0..8 {
        sleep(ms(120)).await;
        proxy.reset();
    }
    // Its data outlives it, so that what was registered stands there again.
    agent.restart(Data::Keep).await;
    sleep(ms(150)).await;
    proxy.reset();
    let mut confirmed = 0;
    for life in lives {
        confirmed += usize::from(life.await.unwrap());
    }
    // Whatever is still under way arrives by then.
    sleep(ms(700)).await;
    let left = ask(&agent, "/v1/agent/services").matches("\"ID\":").count();
    println!("{confirmed} of 40 ends were confirmed, {left} instances are left");
    assert!(confirmed >= 35, "{confirmed} ends were confirmed");
    assert!(left <= 40 - confirmed, "{left} left of {confirmed} confirmed");
}
