//! gRPC over real sockets, with a generated client.
#![cfg(feature = "tonic")]
#![allow(clippy::unwrap_used, reason = "tests")]

use std::{net::SocketAddr, time::Duration};

use seawall_core::{Change, Endpoint, Reason, Rejection};
use seawall_load_balance::{
    Config, Ejection, EndpointSet, EndpointSnapshot,
    tonic::{GrpcBalancer, MakeChannel, balance, balance_with},
};
use seawall_test_support::{EchoClient, EchoRequest, FaultProxy, GrpcServer};
use tonic::Code;

fn endpoint(id: &str, address: SocketAddr) -> Endpoint {
    Endpoint::new(id, address.try_into().unwrap())
}

/// An address at which nobody listens.
async fn refusing() -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap()
}

fn of(balancer: &GrpcBalancer, id: &str) -> EndpointSnapshot {
    let snapshot = balancer.inner().snapshot();
    snapshot.endpoints.into_iter().find(|endpoint| endpoint.id.as_str() == id).unwrap()
}

fn message(text: &str) -> EchoRequest {
    EchoRequest { message: text.to_owned(), ..EchoRequest::default() }
}

#[tokio::test]
async fn calls_to_a_refused_port_are_answered_by_another_server() {
    let (one, two) = (GrpcServer::start().await, GrpcServer::start().await);
    let set = EndpointSet::from_endpoints([
        endpoint("one", one.address()),
        endpoint("two", two.address()),
        endpoint("dead", refusing().await),
    ]);
    let balancer =
        balance_with(set, MakeChannel::http(), Config::builder().ejection(None)).unwrap();
    let mut client = EchoClient::new(balancer.clone());
    for number in 0..100 {
        let text = number.to_string();
        assert_eq!(client.unary(message(&text)).await.unwrap().into_inner().message, text);
    }
    assert_eq!(one.calls() + two.calls(), 100);
    assert!(one.calls() > 0 && two.calls() > 0);
    let dead = of(&balancer, "dead");
    assert!(dead.failures > 5 && dead.calls == dead.failures, "{dead:?}");
}

#[tokio::test]
async fn a_streamed_request_goes_elsewhere_whole() {
    let server = GrpcServer::start().await;
    let set = EndpointSet::from_endpoints([
        endpoint("well", server.address()),
        endpoint("dead", refusing().await),
    ]);
    let mut client = EchoClient::new(balance(set));
    for _ in 0..20 {
        let requests = futures::stream::iter(["a", "b", "c"].map(message));
        let answer = client.client_stream(requests).await.unwrap().into_inner();
        assert_eq!((answer.message.as_str(), answer.number), ("c", 3));
    }
}

#[tokio::test]
async fn a_killed_server_costs_the_calls_on_its_connection_and_no_others() {
    let (one, two) = (GrpcServer::start().await, GrpcServer::start().await);
    let set = EndpointSet::from_endpoints([
        endpoint("one", one.address()),
        endpoint("two", two.address()),
    ]);
    let balancer = balance(set);
    let mut client = EchoClient::new(balancer.clone());
    for _ in 0..20 {
        client.unary(message("")).await.unwrap();
    }
    one.kill();
    let mut failed = 0;
    for _ in 0..100 {
        failed += u32::from(client.unary(message("")).await.is_err());
    }
    // One call may have been written before the client saw the connection close.
    assert!(failed <= 1, "{failed} calls failed");
    let dead = of(&balancer, "one");
    assert_eq!((dead.ejections, dead.in_flight), (1, 0), "{dead:?}");

    one.restart().await;
    assert!(balancer.inner().uneject(&"one".into()));
    let before = one.calls();
    for _ in 0..100 {
        client.unary(message("")).await.unwrap();
    }
    assert!(one.calls() > before);
}

#[tokio::test]
async fn an_empty_set_is_unavailable_in_bounded_time() {
    let config = Config::builder().name("orders").wait_for_endpoints(Duration::from_millis(50));
    let balancer = balance_with(EndpointSet::new(), MakeChannel::http(), config).unwrap();
    let mut client = EchoClient::new(balancer);
    let status = client.unary(message("")).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    let rejection = Rejection::find(&status).unwrap();
    assert_eq!((rejection.reason(), rejection.refused_by()), (Reason::NoEndpoint, Some("orders")));
}

#[tokio::test]
async fn a_stream_is_in_flight_to_its_end_and_outlives_the_removal_of_its_endpoint() {
    let server = GrpcServer::start().await;
    let set = EndpointSet::from_endpoints([endpoint("a", server.address())]);
    let balancer = balance(set.clone());
    let mut client = EchoClient::new(balancer.clone());
    let request = EchoRequest { messages: 3, gap_ms: 5, ..EchoRequest::default() };
    let mut stream = client.server_stream(request.clone()).await.unwrap().into_inner();
    stream.message().await.unwrap().unwrap();
    assert_eq!(of(&balancer, "a").in_flight, 1);
    assert!(stream.message().await.unwrap().is_some());
    assert!(stream.message().await.unwrap().is_some());
    assert!(stream.message().await.unwrap().is_none());
    assert_eq!((of(&balancer, "a").in_flight, of(&balancer, "a").successes), (0, 1));

    let mut stream = client.server_stream(request).await.unwrap().into_inner();
    set.apply([Change::Remove("a".into())]);
    for _ in 0..3 {
        assert!(stream.message().await.unwrap().is_some());
    }
    assert!(stream.message().await.unwrap().is_none());
}

#[tokio::test]
async fn a_failure_in_the_trailers_is_the_endpoints() {
    let server = GrpcServer::start().await;
    let set = EndpointSet::from_endpoints([endpoint("a", server.address())]);
    let balancer = balance(set);
    let mut client = EchoClient::new(balancer.clone());
    let failing =
        EchoRequest { messages: 1, trailer_code: Code::Internal.into(), ..EchoRequest::default() };
    let mut stream = client.server_stream(failing).await.unwrap().into_inner();
    while let Ok(Some(_)) = stream.message().await {}
    assert_eq!((of(&balancer, "a").failures, of(&balancer, "a").in_flight), (1, 0));
    let not_found = EchoRequest { code: Code::NotFound.into(), ..EchoRequest::default() };
    client.unary(not_found).await.unwrap_err();
    assert_eq!((of(&balancer, "a").failures, of(&balancer, "a").successes), (1, 1));
}

#[tokio::test]
async fn a_hung_server_is_ejected_by_the_calls_that_give_up_on_it() {
    let (well, hung) = (GrpcServer::start().await, GrpcServer::start().await);
    // Takes connections and says nothing, as a stopped process does.
    let proxy = FaultProxy::start(hung.address()).await;
    let set = EndpointSet::from_endpoints([
        endpoint("well", well.address()),
        endpoint("hung", proxy.address()),
    ]);
    let patience = Duration::from_millis(150);
    let ejection = Ejection::new().with_consecutive_failures(3).with_abandoned_after(patience);
    let config = Config::builder().ejection(ejection);
    let balancer = balance_with(set, MakeChannel::http(), config).unwrap();
    let mut client = EchoClient::new(balancer.clone());
    for _ in 0..20 {
        client.unary(message("")).await.unwrap();
    }
    hung.set_script(Some(EchoRequest { hang: true, ..EchoRequest::default() }));
    let mut given_up = 0;
    for _ in 0..100 {
        given_up +=
            u32::from(tokio::time::timeout(patience, client.unary(message(""))).await.is_err());
    }
    assert_eq!(given_up, 3, "as many as eject");
    let hung = of(&balancer, "hung");
    assert_eq!((hung.ejections, hung.in_flight), (1, 0), "{hung:?}");
}

#[tokio::test]
async fn five_thousand_endpoints_do_not_panic() {
    let server = GrpcServer::start().await;
    let address = server.address();
    let set: EndpointSet = (0..5000).map(|id| endpoint(&id.to_string(), address)).collect();
    let balancer = balance(set);
    let mut client = EchoClient::new(balancer.clone());
    for _ in 0..200 {
        client.unary(message("")).await.unwrap();
    }
    let used = balancer.inner().snapshot().endpoints.iter().filter(|e| e.calls > 0).count();
    assert!(used > 150, "{used} of 5,000 for 200 calls");
}
