//! Endpoints that are connected to before they get calls.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use common::{Probes, endpoint, of};
use seawall_core::{Change, Clock, Endpoint};
use seawall_load_balance::{
    Balancer, Config, ConfigBuilder, EndpointSet, EndpointState, SlowStart, WarmUp,
};
use seawall_test_support::{Probe, Readiness, Reply};
use tower::ServiceExt;

const LIMIT: Duration = Duration::from_secs(5);

fn config() -> ConfigBuilder {
    Config::builder().warm_up(LIMIT).clock(Clock::tokio())
}

/// Lets the tasks of balancers do what they can.
async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_new_endpoint_gets_calls_once_its_warm_up_has_passed() {
    let probes = Probes::echo(&["a", "b"]);
    let set = EndpointSet::from_endpoints([endpoint("a")]);
    let warm = WarmUp::new(probes.make(), |service: common::Echo| async move {
        tokio::time::sleep(Duration::from_secs(1)).await;
        service.oneshot(0).await.map(drop)
    });
    let balancer = Balancer::builder(set.clone(), warm).config(config()).build().unwrap();
    // There is nobody else: the call does not wait.
    assert_eq!(balancer.clone().oneshot(1).await.unwrap(), "a");
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert_eq!(of(&balancer, "a").state, EndpointState::In);

    set.apply([Change::Insert(endpoint("b"))]);
    settle().await;
    let snapshot = balancer.snapshot();
    assert_eq!(snapshot.endpoints[1].state, EndpointState::Connecting);
    assert!(!snapshot.panicking, "{snapshot:?}");
    for _ in 0..50 {
        assert_eq!(balancer.clone().oneshot(1).await.unwrap(), "a");
    }
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert_eq!(of(&balancer, "b").state, EndpointState::In);
    assert_eq!((of(&balancer, "b").calls, probes.handle("b").calls()), (0, 1));
    for _ in 0..50 {
        balancer.clone().oneshot(1).await.unwrap();
    }
    assert!(of(&balancer, "b").calls > 10, "{:?}", of(&balancer, "b"));
    probes.assert_idle();
}

#[tokio::test(start_paused = true)]
async fn a_warm_up_that_fails_is_tried_again_and_keeps_nobody_out_for_ever() {
    let probes = Probes::echo(&["a", "late", "never", "stuck"]);
    let attempts = Arc::new(AtomicUsize::new(0));
    let set = EndpointSet::from_endpoints([endpoint("a")]);
    let make = probes.make();
    /// Warms up as its name says.
    struct Named<M>(M, Arc<AtomicUsize>);
    impl<M> seawall_load_balance::MakeEndpoint for Named<M>
    where
        M: Fn(&Endpoint) -> Result<common::Echo, io::Error>,
    {
        type Service = common::Echo;
        type Error = io::Error;
        fn make(&self, endpoint: &Endpoint) -> Result<common::Echo, io::Error> {
            (self.0)(endpoint)
        }
        fn connect(
            &self,
            endpoint: &Endpoint,
        ) -> Option<seawall_load_balance::ConnectFuture<common::Echo>> {
            let (service, id) = ((self.0)(endpoint), endpoint.id().as_str());
            let passes = match id {
                "stuck" => return Some(Box::pin(std::future::pending())),
                "late" => self.1.fetch_add(1, Relaxed) >= 3,
                id => id == "a",
            };
            let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
            Some(Box::pin(async move { if passes { Ok(service?) } else { Err(refused().into()) } }))
        }
    }
    let named = Named(make, attempts.clone());
    let balancer = Balancer::builder(set.clone(), named).config(config()).build().unwrap();
    settle().await;
    assert_eq!(of(&balancer, "a").state, EndpointState::In);
    set.apply(["late", "never", "stuck"].map(|id| Change::Insert(endpoint(id))));
    tokio::time::sleep(Duration::from_secs(1)).await;
    // Three failures with growing pauses between them, then success.
    assert_eq!(attempts.load(Relaxed), 4);
    let state = |id| of(&balancer, id).state;
    assert_eq!(
        ["late", "never", "stuck"].map(state),
        [EndpointState::In, EndpointState::Connecting, EndpointState::Connecting]
    );
    for _ in 0..50 {
        balancer.clone().oneshot(1).await.unwrap();
    }
    assert_eq!(of(&balancer, "never").calls + of(&balancer, "stuck").calls, 0);
    tokio::time::sleep(LIMIT).await;
    for _ in 0..100 {
        balancer.clone().oneshot(1).await.unwrap();
    }
    assert!(of(&balancer, "never").calls > 10 && of(&balancer, "stuck").calls > 10);
}

#[test]
fn the_limit_ends_without_a_runtime_and_its_task() {
    let (clock, hand) = Clock::manual();
    let probes = Probes::echo(&["a", "b"]);
    let warm = WarmUp::new(probes.make(), |_| async { Ok::<_, io::Error>(()) });
    let set = EndpointSet::from_endpoints([endpoint("a")]);
    let config = Config::builder().warm_up(LIMIT).clock(clock);
    let mut balancer = Balancer::builder(set.clone(), warm).config(config).build().unwrap();
    hand.advance(LIMIT);
    drop(balancer.pick());
    set.apply([Change::Insert(endpoint("b"))]);
    for _ in 0..50 {
        drop(balancer.pick());
    }
    assert_eq!(of(&balancer, "b").calls, 0);
    hand.advance(LIMIT);
    for _ in 0..50 {
        drop(balancer.pick());
    }
    assert!(of(&balancer, "b").calls > 10);
}

#[tokio::test(start_paused = true)]
async fn a_service_is_waited_for_until_it_is_ready() {
    let set = EndpointSet::from_endpoints([endpoint("a")]);
    let readied = Arc::new(AtomicUsize::new(0));
    let counts = readied.clone();
    let make = move |_: &Endpoint| {
        let counts = counts.clone();
        let probe = Probe::<u32, u32, io::Error>::new(Reply::ok).readiness(move || {
            // As one that connects: ready at the third look.
            if counts.fetch_add(1, Relaxed) < 2 { Readiness::Later } else { Readiness::Ready }
        });
        Ok::<_, io::Error>(probe)
    };
    let warm = WarmUp::until_ready::<u32>(make);
    let balancer = Balancer::builder(set, warm).config(config()).build().unwrap();
    settle().await;
    assert_eq!((readied.load(Relaxed), of(&balancer, "a").state), (3, EndpointState::In));
    assert_eq!(balancer.services().len(), 1, "the service that was warmed up is the one in use");
    assert_eq!(balancer.oneshot(7).await.unwrap(), 7);
}

#[tokio::test(start_paused = true)]
async fn slow_start_begins_with_the_connection_and_a_move_warms_up_anew() {
    let probes = Probes::echo(&["a", "b"]);
    let warm = WarmUp::new(probes.make(), |_| async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        Ok::<_, io::Error>(())
    });
    let set = EndpointSet::from_endpoints([endpoint("a")]);
    let config = config().slow_start(SlowStart::new(Duration::from_secs(10)));
    let balancer = Balancer::builder(set.clone(), warm).config(config).build().unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    set.apply([Change::Insert(endpoint("b"))]);
    settle().await;
    assert_eq!(of(&balancer, "b").share, 0.0);
    tokio::time::sleep(Duration::from_millis(2001)).await;
    let fresh = of(&balancer, "b");
    assert_eq!((fresh.state, fresh.share), (EndpointState::Warming, 0.1));
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!((of(&balancer, "b").share - 0.5).abs() < 0.01, "{:?}", of(&balancer, "b"));

    let moved = Endpoint::new("a", "127.0.0.1:2".parse().unwrap());
    set.apply([Change::Insert(moved)]);
    settle().await;
    assert_eq!(of(&balancer, "a").state, EndpointState::Connecting);
    tokio::time::sleep(Duration::from_millis(2001)).await;
    assert_eq!(of(&balancer, "a").state, EndpointState::In);
    // Gone and back between two looks of the task: another endpoint, which is connected to as well.
    set.apply([Change::Remove("a".into())]);
    set.apply([Change::Insert(endpoint("a"))]);
    tokio::time::sleep(Duration::from_millis(2001)).await;
    assert_eq!(of(&balancer, "a").state, EndpointState::Warming);
}

#[tokio::test(start_paused = true)]
async fn endpoints_that_are_not_connected_yet_do_not_make_their_priority_fail_over() {
    let names = ["a", "n1", "n2", "n3", "n4", "spare"];
    let probes = Probes::echo(&names);
    let warm = WarmUp::new(probes.make(), |_| async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        Ok::<_, io::Error>(())
    });
    let spare = endpoint("spare").with_priority(1);
    let set = EndpointSet::from_endpoints([endpoint("a"), spare]);
    let balancer = Balancer::builder(set.clone(), warm).config(config()).build().unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    set.apply(names[1..5].iter().map(|id| Change::Insert(endpoint(id))));
    settle().await;
    for _ in 0..50 {
        assert_eq!(balancer.clone().oneshot(1).await.unwrap(), "a");
    }
    assert_eq!(balancer.snapshot().routes[0].percent, 100);
    tokio::time::sleep(Duration::from_secs(3)).await;
    for _ in 0..100 {
        balancer.clone().oneshot(1).await.unwrap();
    }
    assert!(names[1..5].iter().all(|id| of(&balancer, id).calls > 5));
    assert_eq!(of(&balancer, "spare").calls, 0);
}

#[test]
fn nonsense_is_refused_by_name() {
    for limit in [Duration::ZERO, Duration::from_secs(3601)] {
        assert_eq!(Config::builder().warm_up(limit).build().unwrap_err().field(), "warm_up");
    }
}

#[cfg(all(feature = "tonic", feature = "reqwest"))]
mod servers {
    use std::net::SocketAddr;

    use http::Method;
    use reqwest::Request;
    use seawall_load_balance::{
        reqwest::{MakeClient, balance},
        tonic::{MakeChannel, balance_with},
    };
    use seawall_test_support::{EchoClient, EchoRequest, FaultProxy, GrpcServer, HttpServer};

    use super::*;

    fn at(id: &str, address: SocketAddr) -> Endpoint {
        Endpoint::new(id, address.try_into().unwrap())
    }

    async fn until<S, T, R>(balancer: &Balancer<S, T, R>, id: &str, state: EndpointState)
    where
        S: Clone + Send + Sync + 'static,
    {
        let turned = async {
            while of(balancer, id).state != state {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let turned = tokio::time::timeout(Duration::from_secs(5), turned).await;
        assert!(turned.is_ok(), "{:?}", of(balancer, id));
    }

    #[tokio::test]
    async fn a_grpc_channel_is_connected_before_its_first_call() {
        let (one, two) = (GrpcServer::start().await, GrpcServer::start().await);
        let proxy = FaultProxy::start(two.address()).await;
        proxy.refuse();
        let set = EndpointSet::from_endpoints([at("one", one.address())]);
        let config = Config::builder().warm_up(Duration::from_secs(30));
        let channel = balance_with(set.clone(), MakeChannel::http(), config).unwrap();
        let balancer = channel.inner();
        until(balancer, "one", EndpointState::In).await;
        let mut client = EchoClient::new(channel.clone());
        // It is announced before it listens, as registries do, and that costs no call anything.
        set.apply([Change::Insert(at("two", proxy.address()))]);
        for _ in 0..20 {
            client.unary(EchoRequest::default()).await.unwrap();
        }
        let new = of(balancer, "two");
        assert_eq!((new.state, new.calls), (EndpointState::Connecting, 0));
        proxy.accept();
        until(balancer, "two", EndpointState::In).await;
        // The system makes a connection before the proxy takes it.
        let accepted = async {
            while proxy.connections() == 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(5), accepted).await.unwrap();
        assert_eq!((proxy.connections(), two.calls()), (1, 0), "connected, and not called");
        for _ in 0..50 {
            client.unary(EchoRequest::default()).await.unwrap();
        }
        assert!(two.calls() > 10);
        assert_eq!((proxy.connections(), of(balancer, "two").failures), (1, 0));
    }

    #[tokio::test]
    async fn an_http_client_has_a_connection_before_its_first_call() {
        let (one, two) = (HttpServer::start().await, HttpServer::start().await);
        let proxy = FaultProxy::start(two.address()).await;
        proxy.refuse();
        let set = EndpointSet::from_endpoints([at("one", one.address())]);
        let make =
            MakeClient::new("orders.test").warm_up("http://orders.test/nothing".parse().unwrap());
        let config = Config::builder().warm_up(Duration::from_secs(30));
        let balancer = balance(set.clone(), make, config).unwrap();
        until(&balancer, "one", EndpointState::In).await;
        let call = async || {
            let request = Request::new(Method::GET, "http://orders.test/ok".parse().unwrap());
            balancer.clone().oneshot(request).await.unwrap().text().await.unwrap()
        };
        set.apply([Change::Insert(at("two", proxy.address()))]);
        for _ in 0..20 {
            assert_eq!(call().await, "ok");
        }
        assert_eq!(of(&balancer, "two").calls, 0);
        proxy.accept();
        until(&balancer, "two", EndpointState::In).await;
        assert_eq!((proxy.connections(), two.calls()), (1, 1), "asked once, by nobody's call");
        for _ in 0..50 {
            assert_eq!(call().await, "ok");
        }
        assert!(of(&balancer, "two").calls > 10);
        assert_eq!(proxy.connections(), 1, "the connection is the one that was made beforehand");
    }

    #[tokio::test]
    async fn a_server_that_never_listens_is_found_out_by_calls_after_the_limit() {
        let one = GrpcServer::start().await;
        let proxy = FaultProxy::start(one.address()).await;
        proxy.refuse();
        let set = EndpointSet::from_endpoints([at("one", one.address())]);
        let config = Config::builder().warm_up(Duration::from_millis(100));
        let channel = balance_with(set.clone(), MakeChannel::http(), config).unwrap();
        let balancer = channel.inner();
        until(balancer, "one", EndpointState::In).await;
        set.apply([Change::Insert(at("dead", proxy.address()))]);
        let mut client = EchoClient::new(channel.clone());
        until(balancer, "dead", EndpointState::In).await;
        for _ in 0..50 {
            client.unary(EchoRequest::default()).await.unwrap();
        }
        let dead = of(balancer, "dead");
        assert!(dead.failures > 0 && dead.calls == dead.failures, "{dead:?}");
        assert_eq!(dead.state, EndpointState::Ejected);
    }
}
