//! Over real connections: a call is in flight until its body has ended, on both sides.

#![cfg(all(feature = "tonic", feature = "reqwest"))]
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::{convert::Infallible, pin::Pin, time::Duration};

use axum::{Router, body::Body, routing::get};
use futures::{Stream, StreamExt, stream};
use reqwest_middleware::ClientBuilder;
use seawall_core::{Reason, Rejection, reqwest::rejection};
use seawall_rate_limit::concurrency::{
    ConcurrencyLayer, ConcurrencyLimit, ServerLayer, reqwest::ConcurrencyMiddleware,
    tonic::ChannelLayer,
};
use seawall_test_support::{EchoClient, EchoRequest, EchoResponse, GrpcServer, HttpServer, proto};
use tokio::sync::broadcast;
use tonic::{
    Code, Request, Response, Status, Streaming,
    service::Routes,
    transport::{Channel, Server, server::TcpIncoming},
};
use tower::{Layer, Service, ServiceExt};

fn one() -> ConcurrencyLimit {
    ConcurrencyLimit::new(1).unwrap().named("orders")
}

/// Until so many calls are in flight, as the network brings the news.
async fn until_in_flight(limit: &ConcurrencyLimit, calls: u32) {
    let come = async {
        while limit.snapshot().in_flight != calls {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let patience = Duration::from_secs(10);
    tokio::time::timeout(patience, come).await.unwrap_or_else(|_| panic!("{limit:?}"));
}

/// A body that sends one piece and ends when it is told to.
fn piece_then_wait(end: &broadcast::Sender<()>) -> impl Stream<Item = &'static str> + use<> {
    let mut end = end.subscribe();
    stream::iter(["piece"]).chain(stream::once(async move {
        let _ = end.recv().await;
        "end"
    }))
}

#[tokio::test]
async fn an_axum_server_holds_the_permit_until_the_body_is_sent_or_its_reader_gone() {
    let (limit, (end, _)) = (one(), broadcast::channel(1));
    let ends = end.clone();
    let stream = move || {
        let body = Body::from_stream(piece_then_wait(&ends).map(Ok::<_, Infallible>));
        std::future::ready(body)
    };
    let app: Router = Router::new().route("/", get(stream)).layer(ServerLayer::new(limit.clone()));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });

    let ask = || reqwest::Client::new().get(&url).send();
    let mut first = ask().await.unwrap();
    assert_eq!(first.chunk().await.unwrap().unwrap(), "piece");
    let refused = ask().await.unwrap();
    assert_eq!(refused.status(), 503);
    assert!(!refused.headers().contains_key("retry-after"), "nobody knows");
    assert_eq!(refused.text().await.unwrap(), "");
    end.send(()).unwrap();
    assert_eq!(first.text().await.unwrap(), "end");
    until_in_flight(&limit, 0).await;

    let mut killed = ask().await.unwrap();
    assert_eq!(killed.chunk().await.unwrap().unwrap(), "piece");
    until_in_flight(&limit, 1).await;
    drop(killed);
    until_in_flight(&limit, 0).await;
    assert_eq!(ask().await.unwrap().status(), 200);
}

#[derive(Debug)]
struct Echo {
    end: broadcast::Sender<()>,
}

type Responses = Pin<Box<dyn Stream<Item = Result<EchoResponse, Status>> + Send>>;

#[tonic::async_trait]
impl proto::echo_server::Echo for Echo {
    type ServerStreamStream = Responses;
    type BidiStreamStream = Responses;

    async fn server_stream(&self, _: Request<EchoRequest>) -> Result<Response<Responses>, Status> {
        let answer = |message: &str| EchoResponse { message: message.into(), ..Default::default() };
        let stream = piece_then_wait(&self.end).map(move |message| Ok(answer(message)));
        Ok(Response::new(Box::pin(stream)))
    }

    async fn unary(&self, _: Request<EchoRequest>) -> Result<Response<EchoResponse>, Status> {
        Ok(Response::new(EchoResponse::default()))
    }

    async fn client_stream(
        &self,
        _: Request<Streaming<EchoRequest>>,
    ) -> Result<Response<EchoResponse>, Status> {
        Err(Status::unimplemented("not in this test"))
    }

    async fn bidi_stream(
        &self,
        _: Request<Streaming<EchoRequest>>,
    ) -> Result<Response<Responses>, Status> {
        Err(Status::unimplemented("not in this test"))
    }
}

#[tokio::test]
async fn a_tonic_server_holds_the_permit_until_the_stream_ends_or_its_reader_is_gone() {
    let (limit, (end, _)) = (one(), broadcast::channel(1));
    let incoming = TcpIncoming::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let url = format!("http://{}", incoming.local_addr().unwrap());
    let echo = proto::echo_server::EchoServer::new(Echo { end: end.clone() });
    let server = Server::builder()
        .layer(ServerLayer::new(limit.clone()).grpc())
        .add_routes(Routes::new(echo))
        .serve_with_incoming(incoming);
    tokio::spawn(server);

    let mut client = EchoClient::connect(url).await.unwrap();
    for _ in 0..2 {
        client.unary(EchoRequest::default()).await.unwrap();
        until_in_flight(&limit, 0).await;
    }
    let mut stream = client.server_stream(EchoRequest::default()).await.unwrap().into_inner();
    assert_eq!(stream.message().await.unwrap().unwrap().message, "piece");
    let status = client.unary(EchoRequest::default()).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert_eq!(status.message(), "too many calls in flight");
    assert!(status.metadata().get("grpc-retry-pushback-ms").is_none(), "nobody knows");
    end.send(()).unwrap();
    assert_eq!(stream.message().await.unwrap().unwrap().message, "end");
    assert!(stream.message().await.unwrap().is_none());
    until_in_flight(&limit, 0).await;

    let mut killed = client.server_stream(EchoRequest::default()).await.unwrap().into_inner();
    killed.message().await.unwrap();
    until_in_flight(&limit, 1).await;
    drop((killed, client));
    until_in_flight(&limit, 0).await;
}

#[tokio::test]
async fn a_channel_holds_the_permit_until_the_stream_ends_or_is_dropped() {
    let (server, limit) = (GrpcServer::start().await, one());
    let channel = Channel::from_shared(server.url()).unwrap().connect_lazy();
    let mut client = EchoClient::new(ChannelLayer::new(limit.clone()).layer(channel));
    let two = EchoRequest { messages: 2, ..EchoRequest::default() };
    let mut stream = client.server_stream(two.clone()).await.unwrap().into_inner();
    stream.message().await.unwrap().unwrap();
    let status = client.unary(EchoRequest::default()).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert_eq!(Rejection::find(&status).unwrap().refused_by(), Some("orders"));
    assert_eq!(server.calls(), 1, "the refused call was not sent");
    while stream.message().await.unwrap().is_some() {}
    assert_eq!(limit.snapshot().in_flight, 0);

    let stalls = EchoRequest { hang_after_messages: true, ..two };
    let mut stream = client.server_stream(stalls).await.unwrap().into_inner();
    stream.message().await.unwrap().unwrap();
    assert_eq!(limit.snapshot().in_flight, 1);
    drop(stream);
    assert_eq!(limit.snapshot().in_flight, 0);
}

#[tokio::test]
async fn a_reqwest_client_holds_the_permit_until_the_body_is_read_or_dropped() {
    let (server, limit) = (HttpServer::start().await, one());
    let middleware = ConcurrencyMiddleware::new(limit.clone());
    let client = ClientBuilder::new(reqwest::Client::new()).with(middleware).build();
    let ask = || client.get(server.url("/stream/3")).send();
    let response = ask().await.unwrap();
    let refused = ask().await.unwrap_err();
    assert_eq!(rejection(&refused).unwrap().reason(), Reason::Overloaded);
    assert_eq!(server.calls(), 1, "the refused request was not sent");
    response.bytes().await.unwrap();
    assert_eq!(limit.snapshot().in_flight, 0);
    drop(ask().await.unwrap());
    assert_eq!(limit.snapshot().in_flight, 0);

    let inner = reqwest::Client::new();
    let request = inner.get(server.url("/stream/3")).build().unwrap();
    let mut service = ConcurrencyLayer::new(limit.clone()).http().layer(inner);
    let response = service.ready().await.unwrap().call(request).await.unwrap();
    assert_eq!(limit.snapshot().in_flight, 1);
    drop(response);
    assert_eq!(limit.snapshot().in_flight, 0);
}
