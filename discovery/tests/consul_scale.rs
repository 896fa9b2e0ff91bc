//! Many services on one real agent: how soon a change is seen, and whether heartbeats still pass.

#![cfg(feature = "consul")]
#![allow(clippy::unwrap_used)] // A helper of tests is no test to the lint.

use std::time::Duration;

use futures::{StreamExt as _, future::join_all};
use seawall_discovery::{Consul, Registrar as _, Registration, RegistrationBuilder, Resolver as _};
use seawall_test_support::ConsulServer;
use tokio::time::{Instant, timeout};

const PATIENCE: Duration = Duration::from_secs(20);

fn registration(service: &str) -> RegistrationBuilder {
    Registration::builder(service, "127.0.0.1:1".parse().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deregistration_is_seen_at_once_on_each_of_a_hundred_services() {
    let server = ConsulServer::start().await;
    let consul = Consul::builder(&server.http_url()).max_in_flight(128).build().unwrap();
    let mut services = Vec::new();
    for n in 0..100 {
        let service = format!("s{n}");
        let registration = registration(&service).without_ttl().build().unwrap();
        let lease = consul.register(registration).await.unwrap();
        let mut watch = consul.watch(&service);
        timeout(PATIENCE, watch.next()).await.unwrap();
        services.push((lease, watch));
    }
    // Every query waits at the agent by then.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let mut delays = Vec::new();
    for (lease, mut watch) in services {
        let (seen, ended) = tokio::join!(
            async {
                timeout(PATIENCE, watch.next()).await.unwrap();
                Instant::now()
            },
            async {
                lease.shutdown().await.unwrap();
                Instant::now()
            },
        );
        delays.push(seen.saturating_duration_since(ended));
        assert!(watch.current().is_empty());
    }
    delays.sort();
    let (middle, late) = (delays[50], delays[98]);
    println!("from a deregistration to the event: median {middle:?}, p99 {late:?}");
    // Beyond this, it was no event but the end of a wait or of a turn.
    assert!(late < Duration::from_millis(400), "{late:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_hundred_watches_starve_no_heartbeat_and_no_change() {
    let server = ConsulServer::start().await;
    let consul = Consul::new(&server.http_url()).unwrap();
    let mut leases = Vec::new();
    for n in 0..5 {
        let registration = registration(&format!("s{n}")).ttl(Duration::from_millis(1_500));
        leases.push(consul.register(registration.build().unwrap()).await.unwrap());
    }
    let watches: Vec<_> = (0..300).map(|n| consul.watch(&format!("s{n}"))).collect();
    let found = join_all(watches[..5].iter().map(|watch| watch.ready(PATIENCE))).await;
    assert!(found.iter().all(Result::is_ok), "{found:?}");
    let mut states: Vec<_> = leases.iter().map(seawall_discovery::Lease::states).collect();
    states.iter_mut().for_each(|state| state.mark_unchanged());

    let registered = consul.register(registration("s299").build().unwrap()).await.unwrap();
    let start = Instant::now();
    watches[299].ready(PATIENCE).await.unwrap();
    let delay = start.elapsed();
    println!("from a registration to the event, 300 services in turn: {delay:?}");
    // 300 services have 64 places for half a second each.
    assert!(delay < Duration::from_secs(6), "{delay:?}");

    tokio::time::sleep(Duration::from_secs(3).saturating_sub(delay)).await;
    for (lease, state) in leases.iter().zip(&mut states) {
        assert!(lease.state().is_registered());
        assert!(!state.has_changed().unwrap(), "{lease:?} missed a heartbeat");
    }
    assert_eq!(watches[..5].iter().map(|watch| watch.current().len()).sum::<usize>(), 5);
    drop((registered, leases));
}
