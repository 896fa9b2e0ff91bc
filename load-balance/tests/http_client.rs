//! HTTP over real sockets, with reqwest.
#![cfg(feature = "reqwest")]
#![allow(clippy::unwrap_used, reason = "tests")]

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use http::Method;
use http_body::Frame;
use http_body_util::StreamBody;
use reqwest::{Body, Client, Request};
use seawall_core::{Endpoint, Reason};
use seawall_load_balance::{
    Config, EndpointSet, Tried,
    reqwest::{BalanceMiddleware, HttpBalancer, MakeClient, balance, balance_urls, rejection},
};
use seawall_test_support::HttpServer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tower::ServiceExt;

fn endpoint(id: &str, address: SocketAddr) -> Endpoint {
    Endpoint::new(id, address.try_into().unwrap())
}

fn get(path: &str) -> Request {
    Request::new(Method::GET, format!("http://orders.test{path}").parse().unwrap())
}

async fn refusing() -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap()
}

fn client() -> Client {
    Client::builder().no_proxy().build().unwrap()
}

async fn set(servers: &[&HttpServer]) -> EndpointSet {
    let live = servers.iter().enumerate().map(|(n, s)| endpoint(&n.to_string(), s.address()));
    live.chain([endpoint("dead", refusing().await)]).collect()
}

async fn all_calls_are_answered<S>(balancer: HttpBalancer<S>, servers: &[&HttpServer])
where
    S: tower::Service<Request, Response = reqwest::Response, Error = reqwest::Error>
        + Clone
        + Send
        + Sync
        + 'static,
{
    for _ in 0..50 {
        let response = balancer.clone().oneshot(get("/ok")).await.unwrap();
        assert_eq!(response.text().await.unwrap(), "ok");
        let mut upload = get("/echo");
        *upload.method_mut() = Method::POST;
        let frames = ["a", "b"].map(|data| Ok::<_, std::io::Error>(Frame::data(Bytes::from(data))));
        *upload.body_mut() = Some(Body::wrap(StreamBody::new(futures::stream::iter(frames))));
        let response = balancer.clone().oneshot(upload).await.unwrap();
        assert_eq!(response.text().await.unwrap(), "ab");
    }
    assert!(servers.iter().all(|server| server.calls() > 10));
    let snapshot = balancer.snapshot();
    let dead = snapshot.endpoints.iter().find(|e| e.id.as_str() == "dead").unwrap();
    assert_eq!((dead.failures, dead.ejections), (5, 1), "{dead:?}");
    assert!(snapshot.endpoints.iter().all(|endpoint| endpoint.in_flight == 0));
}

#[tokio::test]
async fn a_client_per_endpoint_goes_elsewhere_from_a_refused_port() {
    let (one, two) = (HttpServer::start().await, HttpServer::start().await);
    let servers = [&one, &two];
    let make = MakeClient::new("orders.test");
    let balancer = balance(set(&servers).await, make, Config::builder()).unwrap();
    all_calls_are_answered(balancer, &servers).await;
}

#[tokio::test]
async fn rewritten_urls_go_elsewhere_from_a_refused_port() {
    let (one, two) = (HttpServer::start().await, HttpServer::start().await);
    let servers = [&one, &two];
    let balancer = balance_urls(set(&servers).await, client(), Config::builder()).unwrap();
    all_calls_are_answered(balancer, &servers).await;
}

/// Answers one request and gives its head.
async fn hear(listener: tokio::net::TcpListener) -> String {
    let (mut socket, _) = listener.accept().await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(socket.read_u8().await.unwrap());
    }
    socket.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
    String::from_utf8(head).unwrap()
}

#[tokio::test]
async fn a_client_per_endpoint_keeps_host_and_url_of_the_service() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let set = EndpointSet::from_endpoints([endpoint("a", listener.local_addr().unwrap())]);
    let heard = tokio::spawn(hear(listener));
    let make = MakeClient::new("orders.test");
    let balancer = balance(set, make, Config::builder()).unwrap();
    let response = balancer.oneshot(get("/1?x=2")).await.unwrap();
    assert_eq!(response.url().as_str(), "http://orders.test/1?x=2");
    let head = heard.await.unwrap();
    assert!(head.starts_with("GET /1?x=2 HTTP/1.1\r\n"), "{head}");
    assert!(head.contains("\r\nhost: orders.test\r\n"), "{head}");
}

#[tokio::test]
async fn a_rewritten_url_keeps_the_host_header() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let set = EndpointSet::from_endpoints([endpoint("a", address)]);
    let heard = tokio::spawn(hear(listener));
    let balancer = balance_urls(set, client(), Config::builder()).unwrap();
    let response = balancer.oneshot(get("/1")).await.unwrap();
    assert_eq!(response.url().as_str(), format!("http://{address}/1"));
    let head = heard.await.unwrap();
    assert!(head.contains("\r\nhost: orders.test\r\n"), "{head}");
}

#[tokio::test]
async fn a_call_is_in_flight_until_its_body_is_read_or_dropped() {
    let server = HttpServer::start().await;
    let set = EndpointSet::from_endpoints([endpoint("a", server.address())]);
    let balancer = balance_urls(set, client(), Config::builder()).unwrap();
    let in_flight = || balancer.snapshot().endpoints[0].in_flight;
    let response = balancer.clone().oneshot(get("/trickle/3/1")).await.unwrap();
    assert_eq!(in_flight(), 1);
    response.bytes().await.unwrap();
    assert_eq!(in_flight(), 0);
    let response = balancer.clone().oneshot(get("/stall")).await.unwrap();
    assert_eq!(in_flight(), 1);
    drop(response);
    assert_eq!(in_flight(), 0);
    let response = balancer.clone().oneshot(get("/reset-after/10")).await.unwrap();
    response.bytes().await.unwrap_err();
    assert_eq!((in_flight(), balancer.snapshot().endpoints[0].failures), (0, 1));
}

#[tokio::test]
async fn a_middleware_sends_through_the_balancer_and_shows_its_refusals() {
    let (one, two) = (HttpServer::start().await, HttpServer::start().await);
    let set =
        EndpointSet::from_endpoints([endpoint("1", one.address()), endpoint("2", two.address())]);
    let config = Config::builder().wait_for_endpoints(Duration::from_millis(20));
    let balancer = balance(set.clone(), MakeClient::new("orders.test"), config).unwrap();
    let client = reqwest_middleware::ClientBuilder::new(client())
        .with(BalanceMiddleware::new(balancer))
        .build();
    for _ in 0..10 {
        let tried = Tried::new();
        let mut servers = Vec::new();
        for _ in 0..2 {
            let request = client.get("http://orders.test/ok").with_extension(tried.clone());
            let response = request.send().await.unwrap();
            servers.push(response.headers()["x-server"].clone());
        }
        assert_ne!(servers[0], servers[1], "the second attempt goes elsewhere");
    }
    set.replace([]);
    let error = client.get("http://orders.test/ok").send().await.unwrap_err();
    assert_eq!(rejection(&error).unwrap().reason(), Reason::NoEndpoint);
}
