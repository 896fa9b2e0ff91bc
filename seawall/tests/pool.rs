//! Connections and calls of an endpoint, counted by real servers.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::{net::SocketAddr, time::Duration};

use futures::future::join_all;
use seawall::{
    core::{Reason, Rejection},
    grpc::GrpcClient,
    http::HttpClient,
    policy::Policy,
};
use seawall_test_support::{EchoClient, EchoRequest, FaultProxy, GrpcServer, HttpServer};
use tonic::Code;

fn policy(text: &str) -> Policy {
    Policy::from_yaml(text).unwrap()
}

fn grpc(address: SocketAddr, text: &str) -> (EchoClient<GrpcClient>, GrpcClient) {
    let client = seawall::grpc("echo").endpoints([address.to_string()]).policy(policy(text));
    let client = client.build().unwrap();
    (EchoClient::new(client.clone()), client)
}

fn http(address: SocketAddr, text: &str) -> HttpClient {
    let client = seawall::http("users").endpoints([address.to_string()]);
    client.policy(policy(text)).build().unwrap()
}

fn taking(delay_ms: u32) -> EchoRequest {
    EchoRequest { delay_ms, ..Default::default() }
}

async fn until(what: impl Fn() -> bool) {
    let reached = async {
        while !what() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), reached).await.expect("it comes to that");
}

#[tokio::test]
async fn a_channel_is_replaced_after_its_calls_and_closed_when_the_last_has_ended() {
    let server = GrpcServer::start().await;
    let counted = FaultProxy::start(server.address()).await;
    let (client, _) =
        grpc(counted.address(), "connection_pool: { max_requests_per_connection: 10 }");
    // A stream that is open on the first channel.
    let open = EchoRequest { messages: 1, hang_after_messages: true, ..Default::default() };
    let mut stream = client.clone().server_stream(open).await.unwrap().into_inner();
    stream.message().await.unwrap().unwrap();
    for _ in 0..99 {
        client.clone().unary(EchoRequest::default()).await.unwrap();
    }
    assert_eq!(counted.connections(), 10, "100 calls, 10 on each");
    // The stream goes on: its channel has nothing else to do and stays for it.
    until(|| counted.open_connections() == 1).await;
    assert_eq!(server.in_flight(), 1);
    drop(stream);
    until(|| counted.open_connections() == 0).await;
}

#[tokio::test]
async fn channels_are_as_many_as_it_takes_and_no_more_than_may_be() {
    let server = GrpcServer::start().await;
    for (connections, calls, want) in [(3, 10, 1), (3, 150, 2), (2, 200, 2)] {
        let counted = FaultProxy::start(server.address()).await;
        let text = format!("connection_pool: {{ max_connections: {connections} }}");
        let (client, _) = grpc(counted.address(), &text);
        let all = (0..calls).map(|_| {
            let mut client = client.clone();
            async move { client.unary(taking(100)).await.unwrap() }
        });
        join_all(all).await;
        assert_eq!(counted.connections(), want, "{calls} calls on {connections}");
    }
}

#[tokio::test]
async fn what_is_above_the_limits_of_an_endpoint_waits_and_then_is_refused() {
    let server = GrpcServer::start().await;
    let (client, channel) = grpc(
        server.address(),
        "{ connection_pool: { max_requests: 2, max_pending_requests: 3 }, retries: { attempts: 0 } }",
    );
    let all = (0..8).map(|_| {
        let mut client = client.clone();
        async move { client.unary(taking(100)).await }
    });
    let watch = async {
        until(|| server.calls() == 2).await;
        assert_eq!(server.in_flight(), 2);
    };
    let (results, ()) = tokio::join!(join_all(all), watch);
    let refused: Vec<_> = results.iter().filter_map(|result| result.as_ref().err()).collect();
    assert_eq!(refused.len(), 3, "two at work, three wait");
    for status in refused {
        assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
        assert_eq!(Rejection::find(status).unwrap().reason(), Reason::Overloaded);
    }
    assert_eq!(server.calls(), 5);
    // A refusal is nobody's failure, and nothing is left over.
    let endpoint = &channel.snapshot().endpoints[0];
    assert_eq!((endpoint.errors, endpoint.in_flight, endpoint.state), (0, 0, "closed"));
    client.clone().unary(taking(0)).await.unwrap();
}

#[tokio::test]
async fn a_full_endpoint_leaves_calls_to_another() {
    let (a, b) = (GrpcServer::start().await, GrpcServer::start().await);
    let pool = "connection_pool: { max_requests: 4, max_pending_requests: 0 }";
    let addresses = [a.address().to_string(), b.address().to_string()];
    let client = seawall::grpc("echo").endpoints(addresses).policy(policy(pool)).build().unwrap();
    let all = (0..8).map(|_| {
        let mut client = EchoClient::new(client.clone());
        async move { client.unary(taking(100)).await.unwrap() }
    });
    join_all(all).await;
    assert_eq!((a.calls(), b.calls()), (4, 4));
}

#[tokio::test]
async fn a_call_that_waits_ends_with_its_deadline_and_frees_its_place() {
    let server = GrpcServer::start().await;
    let (client, _) = grpc(
        server.address(),
        "{ timeout: 200ms, connection_pool: { max_requests: 1, max_pending_requests: 1 } }",
    );
    let hung = EchoRequest { hang: true, ..Default::default() };
    let call = |limit: u64| {
        let (mut client, mut hung) = (client.clone(), tonic::Request::new(hung.clone()));
        hung.set_timeout(Duration::from_millis(limit));
        async move { client.unary(hung).await.unwrap_err().code() }
    };
    let codes = tokio::join!(call(200), call(50));
    assert_eq!(codes, (Code::DeadlineExceeded, Code::DeadlineExceeded));
    assert_eq!(server.calls(), 1);
    client.clone().unary(taking(0)).await.unwrap();
}

#[tokio::test]
async fn a_new_policy_changes_the_limits_and_keeps_the_connection() {
    let server = GrpcServer::start().await;
    let counted = FaultProxy::start(server.address()).await;
    let (client, channel) = grpc(counted.address(), "timeout: 5s");
    client.clone().unary(taking(0)).await.unwrap();
    let limited = "{ connection_pool: { max_requests: 1, max_pending_requests: 0 }, \
                     retries: { attempts: 0 } }";
    channel.apply(policy(limited)).unwrap();
    let two = tokio::join!(async { client.clone().unary(taking(50)).await }, async {
        client.clone().unary(taking(50)).await
    },);
    assert!(two.0.is_ok() && two.1.is_err());
    channel.apply(policy("timeout: 5s")).unwrap();
    join_all((0..20).map(|_| {
        let mut client = client.clone();
        async move { client.unary(taking(20)).await.unwrap() }
    }))
    .await;
    assert_eq!(counted.connections(), 1);
}

#[tokio::test]
async fn calls_of_http_are_as_many_as_its_connections() {
    let server = HttpServer::start().await;
    let client = http(
        server.address(),
        "{ connection_pool: { max_connections: 2, max_pending_requests: 2 }, \
           retries: { attempts: 0 }, timeout: 300ms }",
    );
    let get = |path: &'static str| {
        let client = client.client();
        async move { client.get(format!("http://users{path}")).send().await }
    };
    let watch = async {
        until(|| server.in_flight() == 2).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(server.in_flight(), 2);
    };
    let (results, ()) = tokio::join!(join_all((0..6).map(|_| get("/hang"))), watch);
    let refused = |result: &Result<_, _>| match result {
        Ok(_) => false,
        Err(error) => seawall::core::reqwest::rejection(error).is_some(),
    };
    assert_eq!(results.iter().filter(|result| refused(result)).count(), 2);
    assert_eq!(get("/ok").await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_body_that_is_not_read_yet_holds_its_connection() {
    let server = HttpServer::start().await;
    let pool = "connection_pool: { max_connections: 1, max_pending_requests: 0 }";
    let client = http(server.address(), &format!("{{ {pool}, retries: {{ attempts: 0 }} }}"));
    // Of what may be done twice, the beginning of the body would be read ahead.
    let post = || client.client().post("http://users/ok").send();
    let first = post().await.unwrap();
    assert!(post().await.is_err());
    first.bytes().await.unwrap();
    post().await.unwrap();
}

#[tokio::test]
async fn what_reqwest_cannot_do_is_refused_with_the_reason() {
    let text = "connection_pool: { max_requests_per_connection: 10 }";
    let built = seawall::http("users").endpoints(["a:1"]).policy(policy(text)).build();
    let error = built.unwrap_err().to_string();
    assert!(error.contains("`connection_pool.max_requests_per_connection` is 10"), "{error}");
    assert!(error.contains("reqwest does not tell"), "{error}");
    // And by a change while it runs.
    let client = http("127.0.0.1:1".parse().unwrap(), "timeout: 1s");
    client.apply(policy(text)).unwrap_err();
}
