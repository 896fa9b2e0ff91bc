//! The end of a client, in both kinds of runtime: nothing is lost and nothing is left.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::time::Duration;

use futures::StreamExt;
use seawall::{
    BuildError,
    core::{Reason, Rejection},
    discovery::{Lease, Memory, Registrar, Registration},
    grpc::GrpcClient,
    policy::{LoadBalance, Policy, Retries},
};
use seawall_test_support::{EchoClient, EchoRequest, GrpcServer, HttpServer};
use tokio::{
    runtime::{Builder, Handle, Runtime},
    time::{Instant, sleep, timeout},
};
use tonic::Code;

const MILLI: Duration = Duration::from_millis(1);

fn hello() -> EchoRequest {
    EchoRequest { message: "hello".into(), ..Default::default() }
}

fn client(server: &GrpcServer) -> GrpcClient {
    seawall::grpc("echo").endpoints([server.address().to_string()]).build().unwrap()
}

#[tokio::test]
async fn new_calls_are_refused_and_those_in_flight_finish() {
    let server = GrpcServer::start().await;
    let client = client(&server);
    let slow = EchoRequest { delay_ms: 200, ..hello() };
    let mut echo = EchoClient::new(client.clone());
    let in_flight = tokio::spawn(async move { echo.unary(slow).await });
    while server.in_flight() == 0 {
        sleep(MILLI).await;
    }
    let begun = Instant::now();
    let ending = tokio::spawn(client.clone().shutdown().into_future());
    let refused = async {
        loop {
            if let Err(status) = EchoClient::new(client.clone()).unary(hello()).await {
                return status;
            }
        }
    };
    let status = timeout(Duration::from_secs(5), refused).await.unwrap();
    assert_eq!(status.code(), Code::Unavailable);
    let rejection = Rejection::find(&status).unwrap();
    assert_eq!(rejection.reason(), Reason::ShutDown);
    assert_eq!(rejection.to_string(), "client is shut down (echo)");
    ending.await.unwrap().unwrap();
    assert!(begun.elapsed() >= 100 * MILLI, "{:?}", begun.elapsed());
    in_flight.await.unwrap().unwrap();
    assert!(client.snapshot().endpoints.is_empty());
    let policy = Policy::new().timeout(Duration::from_secs(1));
    assert!(matches!(client.apply(policy), Err(BuildError::ShutDown)));
    client.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_shutdown_waits_for_the_end_of_a_stream_and_no_longer_than_it_is_given() {
    let server = GrpcServer::start().await;
    let client = client(&server);
    let endless = EchoRequest { messages: 1, hang_after_messages: true, ..hello() };
    let stream = EchoClient::new(client.clone()).server_stream(endless).await;
    let mut stream = stream.unwrap().into_inner();
    assert!(stream.next().await.unwrap().is_ok());
    let left = client.shutdown().within(50 * MILLI).await.unwrap_err();
    assert_eq!(left.calls, 1);

    // One that ends.
    let client = self::client(&server);
    let short = EchoRequest { messages: 2, ..hello() };
    let stream = EchoClient::new(client.clone()).server_stream(short).await;
    let mut stream = stream.unwrap().into_inner();
    let ending = tokio::spawn(client.shutdown().into_future());
    sleep(30 * MILLI).await;
    assert!(!ending.is_finished());
    while let Some(message) = stream.next().await {
        message.unwrap();
    }
    drop(stream);
    timeout(Duration::from_secs(5), ending).await.unwrap().unwrap().unwrap();
}

/// Waits until no more tasks are alive than `before`.
async fn back_to(before: usize) {
    let metrics = Handle::current().metrics();
    let ended = async {
        while metrics.num_alive_tasks() > before {
            sleep(MILLI).await;
        }
    };
    let alive = || metrics.num_alive_tasks();
    timeout(Duration::from_secs(10), ended).await.unwrap_or_else(|_| panic!("{} alive", alive()));
}

fn single() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

fn multi() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// Sweeps, a registry and a file are followed: what has tasks of its own.
async fn with_everything(
    registry: &Memory,
    server: &GrpcServer,
    folder: &tempfile::TempDir,
) -> (GrpcClient, Lease) {
    let at = server.address().try_into().unwrap();
    let registration = Registration::builder("echo", at).build().unwrap();
    let lease = registry.register(registration).await.unwrap();
    let policy = Policy::new()
        .timeout(Duration::from_secs(5))
        .retries(Retries::new().attempts(1))
        .load_balance(LoadBalance::new().slow_start(Duration::from_secs(1)));
    let client = seawall::grpc("echo").resolver(registry.clone()).policy(policy).build().unwrap();
    let file = folder.path().join("policy.yaml");
    std::fs::write(&file, "timeout: 1s").unwrap();
    client.follow_file(file, |_| ());
    EchoClient::new(client.clone()).unary(hello()).await.unwrap();
    (client, lease)
}

#[test]
fn no_task_outlives_the_last_clone_or_the_shutdown() {
    // The servers live elsewhere, so that only the client's tasks are counted.
    let elsewhere = multi();
    let (grpc, http) =
        elsewhere.block_on(async { (GrpcServer::start().await, HttpServer::start().await) });
    let folder = tempfile::tempdir().unwrap();
    for runtime in [single(), multi()] {
        runtime.block_on(async {
            let registry = Memory::new();
            let before = Handle::current().metrics().num_alive_tasks();
            let (client, lease) = with_everything(&registry, &grpc, &folder).await;
            assert!(Handle::current().metrics().num_alive_tasks() > before);
            let clone = client.clone();
            drop(client);
            EchoClient::new(clone.clone()).unary(hello()).await.unwrap();
            drop((clone, lease));
            back_to(before).await;

            let (client, lease) = with_everything(&registry, &grpc, &folder).await;
            client.shutdown().within(Duration::from_secs(5)).await.unwrap();
            drop(lease);
            // The client is still held.
            back_to(before).await;
            drop(client);

            let address = http.address().to_string();
            let users = seawall::http("users").endpoints([address]).build().unwrap();
            let text = users.client().get("http://users/ok").send().await.unwrap().text().await;
            assert_eq!(text.unwrap(), "ok");
            users.shutdown().await.unwrap();
            let error = users.client().get("http://users/ok").send().await.unwrap_err();
            let rejection = seawall::core::reqwest::rejection(&error).unwrap();
            assert_eq!(rejection.reason(), Reason::ShutDown);
            back_to(before).await;
        });
    }
}
