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
        // From before it is sent, so that what it takes itself counts too.
        let start = Instant::now();
        let seen = async {
            timeout(PATIENCE, watch.next()).await.unwrap();
            start.elapsed()
        };
        let (seen, ended) = tokio::join!(seen, lease.shutdown());
        ended.unwrap();
        delays.push(seen);
        assert!(watch.current().is_empty());
    }
    delays.sort();
    let (middle, late) = (delays[50], delays[98]);
    println!("from a deregistration to the event: median {middle:?}, p99 {late:?}");
    assert!(late <= Duration::from_millis(100), "{late:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_hundred_watches_starve_no_heartbeat_and_no_change() {
    const SERVICES: usize = 300;
    let server = ConsulServer::start().await;
    let consul = Consul::new(&server.http_url()).unwrap();
    let name = |n: usize| format!("s{n}");
    // Consul wakes the watches of a service that nobody registered at any change, so each has one.
    let others = join_all((5..SERVICES).map(|n| {
        let registration = registration(&name(n)).without_ttl().build().unwrap();
        let consul = consul.clone();
        async move { consul.register(registration).await.unwrap() }
    }));
    let mut others = others.await;
    let mut leases = Vec::new();
    for n in 0..5 {
        let registration = registration(&name(n)).ttl(Duration::from_millis(1_500));
        leases.push(consul.register(registration.build().unwrap()).await.unwrap());
    }
    let mut watches: Vec<_> = (0..SERVICES).map(|n| consul.watch(&name(n))).collect();
    let found = join_all(watches.iter().map(|watch| watch.ready(PATIENCE))).await;
    assert!(found.iter().all(Result::is_ok));
    let mut states: Vec<_> = leases.iter().map(seawall_discovery::Lease::states).collect();
    states.iter_mut().for_each(|state| state.mark_unchanged());
    for watch in &mut watches {
        watch.next().await.unwrap();
    }

    // One change each on services whose queries are in turn, spread over more than one round.
    let start = Instant::now();
    let changed = others.drain(..60).zip(&mut watches[5..65]).enumerate();
    let delays = changed.map(|(place, (lease, watch))| async move {
        tokio::time::sleep(Duration::from_millis(50) * place as u32).await;
        lease.shutdown().await.unwrap();
        let ended = Instant::now();
        timeout(PATIENCE, watch.next()).await.unwrap();
        ended.elapsed()
    });
    let mut delays = join_all(delays).await;
    delays.sort();
    let (middle, most) = (delays[30], delays[59]);
    println!(
        "from a change to its event, 300 services in turn: median {middle:?}, at most {most:?}"
    );
    // Five turns of half a second each, and the requests themselves.
    assert!(most < Duration::from_secs(5), "{most:?}");

    let delay = start.elapsed();
    tokio::time::sleep(Duration::from_secs(3).saturating_sub(delay)).await;
    for (lease, state) in leases.iter().zip(&mut states) {
        assert!(lease.state().is_registered());
        assert!(!state.has_changed().unwrap(), "{lease:?} missed a heartbeat");
    }
    assert_eq!(watches[..5].iter().map(|watch| watch.current().len()).sum::<usize>(), 5);
    drop((others, leases));
}

/// What this process used of a processor so far.
#[cfg(target_os = "linux")]
fn processor_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<_> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: u64 = fields[11..13].iter().map(|field| field.parse::<u64>().unwrap()).sum();
    Duration::from_millis(ticks * 10)
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_hundred_idle_watches_cost_little() {
    const SERVICES: usize = 500;
    let server = ConsulServer::start().await;
    let mut figures = Vec::new();
    for in_flight in [64, 180] {
        let consul = Consul::builder(&server.http_url()).max_in_flight(in_flight).build().unwrap();
        let watches: Vec<_> = (0..SERVICES).map(|n| consul.watch(&format!("s{n}"))).collect();
        let states = || watches.iter().filter(|watch| watch.state().is_fresh()).count();
        let start = Instant::now();
        while states() < SERVICES && start.elapsed() < PATIENCE {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(states(), SERVICES);
        let (before, start) = (processor_time(), Instant::now());
        tokio::time::sleep(Duration::from_secs(3)).await;
        let share = (processor_time() - before).as_secs_f64() / start.elapsed().as_secs_f64();
        println!(
            "{SERVICES} idle watches, {in_flight} in flight: {:.1} % of a core",
            share * 100.0
        );
        figures.push(share);
    }
    assert!(figures.iter().all(|share| *share < 0.5), "{figures:?}");
}
