//! An HTTP call ends with its body, whatever the client does with it.

#![cfg(feature = "reqwest")]
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod support;

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body::Frame;
use http_body_util::{BodyExt, Empty};
use hyper::{body::Incoming, client::conn::http1::SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use reqwest::Client;
use seawall_core::{
    Track,
    http::{AtBodyEnd, HttpStatus},
    reqwest::{ReplayRequest, wrap_body},
};
use seawall_test_support::{FaultProxy, HttpServer};
use support::{Answered, Dropped, FAILURE, IGNORED, Recorder, SUCCESS, Tracked, eventually};
use tower_service::Service;

type Response = reqwest::Result<reqwest::Response>;

/// One call through reqwest, followed to the end of its body.
async fn get(url: String) -> (Response, Recorder) {
    send(&Client::new(), Client::new().get(url).build().unwrap()).await
}

async fn send(client: &Client, request: reqwest::Request) -> (Response, Recorder) {
    let (mut service, recorder) = Tracked::new(client.clone(), AtBodyEnd(HttpStatus::new()));
    std::future::poll_fn(|cx| service.poll_ready(cx)).await.unwrap();
    (service.call(request).await, recorder)
}

#[tokio::test]
async fn a_body_that_is_read_ends_the_call() {
    let server = HttpServer::start().await;
    for path in ["/ok", "/bytes/100000", "/stream/100", "/trickle/3/5"] {
        let (response, recorder) = get(server.url(path)).await;
        assert_eq!(recorder.told(), [Answered], "{path}: the head is the answer");
        assert_eq!(recorder.in_flight(), 1, "{path}: the body is part of the call");
        response.unwrap().bytes().await.unwrap();
        recorder.assert_told(&[Answered, SUCCESS]);
    }
}

#[tokio::test]
async fn the_status_decides() {
    let server = HttpServer::start().await;
    for (status, told) in
        [(200, SUCCESS), (404, SUCCESS), (429, IGNORED), (500, FAILURE), (503, FAILURE)]
    {
        let (response, recorder) = get(server.url(&format!("/status/{status}"))).await;
        let response = response.unwrap();
        assert_eq!(response.status(), status);
        response.bytes().await.unwrap();
        recorder.assert_told(&[Answered, told]);
    }
}

#[tokio::test]
async fn a_response_without_a_body_ends_at_its_head() {
    let server = HttpServer::start().await;
    for path in ["/empty", "/bytes/0"] {
        let (response, recorder) = get(server.url(path)).await;
        recorder.assert_told(&[Answered, SUCCESS]);
        assert!(response.unwrap().bytes().await.unwrap().is_empty());
        recorder.assert_told(&[Answered, SUCCESS]);
    }
    let head = Client::new().head(server.url("/bytes/10")).build().unwrap();
    let (response, recorder) = send(&Client::new(), head).await;
    recorder.assert_told(&[Answered, SUCCESS]);
    assert_eq!(response.unwrap().headers()["content-length"], "10");
}

#[tokio::test]
async fn the_heads_verdict_stands_when_the_body_is_dropped() {
    let server = HttpServer::start().await;
    let (response, recorder) = get(server.url("/stall")).await;
    assert_eq!(recorder.in_flight(), 1);
    drop(response);
    recorder.assert_told(&[Answered, SUCCESS]);

    let (response, recorder) = get(server.url("/trickle/100/5")).await;
    let mut response = response.unwrap();
    response.chunk().await.unwrap().unwrap();
    drop(response);
    recorder.assert_told(&[Answered, SUCCESS]);
    eventually(|| server.in_flight() == 0).await;
}

#[tokio::test]
async fn a_connection_that_breaks_in_mid_body_is_a_failure() {
    let server = HttpServer::start().await;
    for path in ["/reset-after/10", "/close-after/10", "/reset-after/0"] {
        let (response, recorder) = get(server.url(path)).await;
        response.unwrap().bytes().await.unwrap_err();
        recorder.assert_told(&[Answered, FAILURE]);
    }
    let proxy = FaultProxy::start(server.address()).await;
    let (response, recorder) = get(format!("http://{}/trickle/1000/5", proxy.address())).await;
    let mut response = response.unwrap();
    response.chunk().await.unwrap().unwrap();
    proxy.reset();
    while response.chunk().await.is_ok() {}
    recorder.assert_told(&[Answered, FAILURE]);
}

#[tokio::test]
async fn a_server_that_is_killed_in_mid_body_is_a_failure() {
    let server = HttpServer::start().await;
    let (response, recorder) = get(server.url("/stall")).await;
    server.kill();
    response.unwrap().bytes().await.unwrap_err();
    recorder.assert_told(&[Answered, FAILURE]);
}

#[tokio::test]
async fn a_body_that_times_out_is_a_failure() {
    let server = HttpServer::start().await;
    let patience = Duration::from_millis(50);
    let total = Client::builder().timeout(patience).build().unwrap();
    let idle = Client::builder().read_timeout(patience).build().unwrap();
    for client in [total, idle] {
        let stall = client.get(server.url("/stall")).build().unwrap();
        let (response, recorder) = send(&client, stall).await;
        let error = response.unwrap().bytes().await.unwrap_err();
        assert!(error.is_timeout() || format!("{error:?}").contains("TimedOut"), "{error:?}");
        recorder.assert_told(&[Answered, FAILURE]);
    }
}

#[tokio::test]
async fn a_call_without_an_answer_is_a_failure() {
    let server = HttpServer::start().await;
    let impatient = Client::builder().timeout(Duration::from_millis(50)).build().unwrap();
    let hang = impatient.get(server.url("/hang")).build().unwrap();
    let (response, recorder) = send(&impatient, hang).await;
    assert!(response.unwrap_err().is_timeout());
    recorder.assert_told(&[FAILURE]);

    server.kill();
    let (response, recorder) = get(server.url("/ok")).await;
    assert!(response.unwrap_err().is_connect());
    recorder.assert_told(&[FAILURE]);
}

#[tokio::test]
async fn a_call_that_the_caller_drops_before_its_head_is_abandoned() {
    let server = HttpServer::start().await;
    let client = Client::new();
    let (mut service, recorder) = Tracked::new(client.clone(), AtBodyEnd(HttpStatus::new()));
    let call = service.call(client.get(server.url("/hang")).build().unwrap());
    tokio::select! {
        _ = call => panic!("answered"),
        () = eventually(|| server.in_flight() == 1) => {}
    }
    recorder.assert_told(&[Dropped]);
}

#[tokio::test]
async fn the_last_byte_of_a_content_length_ends_the_call_for_a_reader_who_stops_there() {
    let server = HttpServer::start().await;
    let stream = tokio::net::TcpStream::connect(server.address()).await.unwrap();
    let (sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let (mut service, recorder) = Tracked::new(Hyper(sender), AtBodyEnd(HttpStatus::new()));
    std::future::poll_fn(|cx| service.poll_ready(cx)).await.unwrap();
    let request = http::Request::get("/bytes/50000").header("host", "test").body(Empty::new());
    let mut body = service.call(request.unwrap()).await.unwrap().into_body();
    let mut left = 50_000;
    while left > 0 {
        assert_eq!(recorder.in_flight(), 1);
        left -= body.frame().await.unwrap().unwrap().into_data().unwrap().len();
    }
    recorder.assert_told(&[Answered, SUCCESS]);
    drop(body);
    recorder.assert_told(&[Answered, SUCCESS]);
}

/// hyper's own client, whose bodies are not boxed.
struct Hyper(SendRequest<Empty<Bytes>>);

impl Service<http::Request<Empty<Bytes>>> for Hyper {
    type Response = http::Response<Incoming>;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, hyper::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), hyper::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<Empty<Bytes>>) -> Self::Future {
        Box::pin(self.0.send_request(request))
    }
}

/// Two chunks, each of which comes after a pause, without a length.
struct Chunks(Vec<&'static str>, bool);

impl http_body::Body for Chunks {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.1 = !self.1;
        if self.1 {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(self.0.pop().map(|chunk| Ok(Frame::data(chunk.into()))))
    }
}

fn stream() -> reqwest::Body {
    reqwest::Body::wrap(Chunks(vec!["second", "first "], false))
}

#[tokio::test]
async fn a_streamed_request_is_sent_again_after_a_server_broke_off() {
    let (broken, live) = (HttpServer::start().await, HttpServer::start().await);
    let client = Client::new();
    let request = client.post(live.url("/echo")).header("x-id", "7").body(stream()).build();
    let replay = ReplayRequest::new(request.unwrap());
    assert_eq!(replay.request().headers()["x-id"], "7");

    let mut first = replay.attempt().unwrap();
    *first.url_mut() = broken.url("/reset-after/3").parse().unwrap();
    client.execute(first).await.unwrap().bytes().await.unwrap_err();

    for _ in 0..2 {
        let again = replay.attempt().expect("all of it is kept");
        assert_eq!(again.headers()["x-id"], "7");
        let echo = client.execute(again).await.unwrap().bytes().await.unwrap();
        assert_eq!(echo, "first second");
    }
}

#[tokio::test]
async fn a_request_whose_body_is_no_stream_is_cloned() {
    let server = HttpServer::start().await;
    let client = Client::new();
    let replay = ReplayRequest::new(client.post(server.url("/echo")).body("text").build().unwrap());
    for _ in 0..2 {
        let attempt = replay.attempt().unwrap();
        assert_eq!(attempt.body().unwrap().as_bytes(), Some(&b"text"[..]));
        assert_eq!(client.execute(attempt).await.unwrap().bytes().await.unwrap(), "text");
    }
    let bare = ReplayRequest::new(client.get(server.url("/ok")).build().unwrap());
    assert!(bare.attempt().unwrap().body().is_none());
}

#[tokio::test]
async fn a_tracked_response_keeps_what_reqwest_knows_of_it() {
    let server = HttpServer::start().await;
    let url = server.url("/bytes/10?q=1");
    let plain = Client::new().get(&url).send().await.unwrap();
    let (tracked, recorder) = get(url.clone()).await;
    let tracked = tracked.unwrap();
    assert_eq!(tracked.url().as_str(), url);
    assert_eq!(tracked.remote_addr(), Some(server.address()));
    assert_eq!(tracked.version(), plain.version());
    assert_eq!(tracked.headers()["x-server"], plain.headers()["x-server"]);
    assert_eq!(tracked.content_length(), Some(10));
    assert_eq!(tracked.bytes().await.unwrap(), "xxxxxxxxxx");
    recorder.assert_told(&[Answered, SUCCESS]);
}

#[tokio::test]
async fn a_wrapped_response_keeps_its_extensions() {
    #[derive(Clone, Debug, PartialEq)]
    struct Mark(u8);
    let server = HttpServer::start().await;
    let mut response = Client::new().get(server.url("/ok")).send().await.unwrap();
    response.extensions_mut().insert(Mark(7));
    let count = response.extensions().len();
    let wrapped = wrap_body(response, |head, _| {
        assert_eq!(head.status, 200);
        reqwest::Body::from("other")
    });
    assert_eq!(wrapped.extensions().get(), Some(&Mark(7)));
    assert_eq!(wrapped.extensions().len(), count, "nothing is added");
    assert_eq!(wrapped.bytes().await.unwrap(), "other");
}

#[tokio::test]
async fn an_http2_stream_that_is_reset_short_of_its_length_is_a_failure() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut connection = h2::server::handshake(stream).await.unwrap();
        while let Some(Ok((request, mut respond))) = connection.accept().await {
            let head = http::Response::builder().header("content-length", "10").body(()).unwrap();
            let path = request.uri().path().to_owned();
            tokio::spawn(async move {
                let mut body = respond.send_response(head, false).unwrap();
                body.send_data(Bytes::from_static(b"12345"), false).unwrap();
                // So that the data leaves before the reset.
                tokio::time::sleep(Duration::from_millis(20)).await;
                match &*path {
                    "/full" => body.send_data(Bytes::from_static(b"67890"), true).unwrap(),
                    "/cancel" => body.send_reset(h2::Reason::CANCEL),
                    _ => body.send_reset(h2::Reason::NO_ERROR),
                }
            });
        }
    });
    let stream = TokioIo::new(tokio::net::TcpStream::connect(address).await.unwrap());
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await.unwrap();
    tokio::spawn(connection);
    // hyper reports only the second of the resets; the first looks like an end.
    for (path, read, told) in
        [("full", Some(10), SUCCESS), ("no-error", Some(5), FAILURE), ("cancel", None, FAILURE)]
    {
        let request = http::Request::get(format!("http://{address}/{path}"));
        let response = sender.send_request(request.body(Empty::<Bytes>::new()).unwrap()).await;
        let recorder = Recorder::default();
        let tracked = AtBodyEnd(HttpStatus::new()).track(response, recorder.admit()).unwrap();
        let body = tracked.into_body().collect().await;
        assert_eq!(body.ok().map(|body| body.to_bytes().len()), read, "{path}");
        recorder.assert_told(&[Answered, told]);
    }
}
