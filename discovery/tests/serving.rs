//! A server is registered exactly while it can be called, and answers health checks so.

#![cfg(feature = "tonic")]
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use axum::{Router, routing::get};
use seawall_core::Health;
use seawall_discovery::{
    HealthLayer, Memory, Registrar as _, Registration, Resolver as _, ServeError, ServerHealth,
    Serving,
};
use tokio::{
    net::TcpListener,
    sync::{Notify, oneshot},
    time::timeout,
};
use tonic::transport::{Channel, Server};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

const SHORT: Duration = Duration::from_millis(50);

async fn status(address: SocketAddr) -> (u16, String) {
    let response = reqwest::get(format!("http://{address}/health")).await.unwrap();
    (response.status().as_u16(), response.text().await.unwrap())
}

fn answered(status: u16, word: &str) -> (u16, String) {
    (status, word.to_owned())
}

#[tokio::test]
async fn it_is_found_only_while_it_serves_and_calls_in_flight_end_well() {
    let registry = Memory::new();
    let watch = registry.watch("orders");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let registration = Registration::new("orders", address.try_into().unwrap()).unwrap();
    let serving = Serving::new(registry, registration).propagation(Duration::from_millis(500));
    let health = serving.health();

    let (ready, is_ready) = oneshot::channel::<()>();
    let (signal, signalled) = oneshot::channel::<()>();
    let slow = Arc::new(Notify::new());
    let entered = Arc::new(Notify::new());
    let routes = (Arc::clone(&slow), Arc::clone(&entered));
    let app = Router::new()
        .route(
            "/slow",
            get(async move || {
                routes.1.notify_one();
                routes.0.notified().await;
                "done"
            }),
        )
        .layer(HealthLayer::new(health.clone()));
    let run = tokio::spawn(serving.run(
        async { is_ready.await.unwrap() },
        async { signalled.await.unwrap() },
        |stop| async move { axum::serve(listener, app).with_graceful_shutdown(stop).await },
    ));

    assert_eq!(status(address).await, answered(503, "starting"));
    assert!(watch.current().is_empty(), "it is not ready");
    ready.send(()).unwrap();
    watch.ready(Duration::from_secs(5)).await.unwrap();
    assert_eq!(status(address).await, answered(200, "passing"));

    let call = tokio::spawn(reqwest::get(format!("http://{address}/slow")));
    entered.notified().await;
    signal.send(()).unwrap();
    while !watch.current().is_empty() {
        tokio::task::yield_now().await;
    }
    assert_eq!(status(address).await, answered(503, "stopping"), "others learn of it first");
    while reqwest::get(format!("http://{address}/health")).await.is_ok() {
        tokio::task::yield_now().await;
    }
    assert!(!run.is_finished(), "a call is in flight");
    slow.notify_one();
    assert_eq!(call.await.unwrap().unwrap().text().await.unwrap(), "done");
    run.await.unwrap().unwrap();
}

#[tokio::test]
async fn what_does_not_drain_in_time_is_an_error() {
    let registry = Memory::new();
    let registration = Registration::new("orders", "127.0.0.1:1".parse().unwrap()).unwrap();
    let serving = Serving::new(registry.clone(), registration).propagation(SHORT).drain(SHORT);
    let ended = serving
        .run(async {}, async {}, |_stop| std::future::pending::<Result<(), Infallible>>())
        .await;
    assert!(matches!(ended, Err(ServeError::NotDrained { after: SHORT })), "{ended:?}");
    assert!(registry.watch("orders").current().is_empty());
}

#[tokio::test]
async fn a_server_that_fails_is_deregistered_and_its_error_is_told() {
    let registry = Memory::new();
    let registration = Registration::new("orders", "127.0.0.1:1".parse().unwrap()).unwrap();
    let serving = Serving::new(registry.clone(), registration);
    let failed = async {
        registry.watch("orders").ready(Duration::from_secs(5)).await.unwrap();
        Err::<(), _>(std::io::Error::other("the disk is full"))
    };
    let ended = serving.run(async {}, std::future::pending(), |_| failed).await;
    let Err(ServeError::Server(error)) = ended else { panic!("{ended:?}") };
    assert_eq!(error.to_string(), "the disk is full");
    assert!(registry.watch("orders").current().is_empty());
}

#[tokio::test]
async fn health_and_grpc_health_are_those_of_the_lease() {
    let registry = Memory::new();
    let registration = Registration::new("orders", "127.0.0.1:1".parse().unwrap()).unwrap();
    let lease = registry.register(registration).await.unwrap();
    let health = ServerHealth::of(&lease);

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let http = listener.local_addr().unwrap();
    let app = Router::new().layer(HealthLayer::new(health.clone()));
    // A layer of a router goes around its routes, and here there are none but the fallback.
    tokio::spawn(async move { axum::serve(listener, app).await });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let grpc = listener.local_addr().unwrap();
    drop(listener);
    tokio::spawn(Server::builder().add_service(health.grpc()).serve(grpc));

    let channel = Channel::from_shared(format!("http://{grpc}")).unwrap().connect_lazy();
    let mut client = HealthClient::new(channel);
    let mut statuses = loop {
        match client.watch(HealthCheckRequest::default()).await {
            Ok(response) => break response.into_inner(),
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    };
    let mut last = None;
    for (set, code, word, serving) in [
        (Health::Passing, 200, "passing", ServingStatus::Serving),
        (Health::Critical, 503, "critical", ServingStatus::NotServing),
        (Health::Warning, 200, "warning", ServingStatus::Serving),
        (Health::Maintenance, 503, "maintenance", ServingStatus::NotServing),
        (Health::Passing, 200, "passing", ServingStatus::Serving),
    ] {
        lease.set_health(set);
        assert_eq!(status(http).await, answered(code, word));
        let check = client.check(HealthCheckRequest::default()).await.unwrap();
        assert_eq!(check.into_inner().status(), serving);
        let told = timeout(Duration::from_secs(5), statuses.message()).await.unwrap();
        assert_eq!(told.unwrap().unwrap().status(), serving);
        assert_ne!(last, Some(serving), "a change only");
        last = Some(serving);
    }
    lease.shutdown().await.unwrap();
    assert_eq!(status(http).await, answered(503, "stopping"));
    let told = timeout(Duration::from_secs(5), statuses.message()).await.unwrap();
    assert_eq!(told.unwrap().unwrap().status(), ServingStatus::NotServing);
    let end = timeout(Duration::from_secs(5), statuses.message()).await.unwrap();
    assert_eq!(end.unwrap(), None, "an open stream would keep the server from draining");
}
