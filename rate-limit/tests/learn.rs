//! A client learns the limit of its server and keeps it.

#![cfg(feature = "http")]
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::{convert::Infallible, time::Duration};

use axum::{Router, routing::get};
use futures::FutureExt;
use http::{Request, Response};
use seawall_core::Rejection;
use seawall_rate_limit::{
    Clock, Quota, RateLimiter,
    learn::{LearnLayer, Learned, Standing},
    server::{Headers, ServerLayer},
};
use seawall_test_support::{Probe, Reply};
use tokio::time::{Instant, sleep};
use tower::{Layer, Service, ServiceExt};

const SECOND: Duration = Duration::from_secs(1);

fn answers(
    headers: &'static [(&'static str, &'static str)],
) -> Probe<Request<()>, Response<()>, Infallible> {
    Probe::new(move |_| {
        let mut response = Response::builder();
        for (name, value) in headers {
            response = response.header(*name, *value);
        }
        Reply::ok(response.body(()).unwrap())
    })
}

fn learned() -> Learned {
    Learned::new().with_clock(Clock::tokio()).named("stock")
}

#[tokio::test(start_paused = true)]
async fn calls_wait_until_the_peer_has_something_left() {
    let probe = answers(&[("ratelimit", "\"default\";r=0;t=7")]).capacity(1);
    let handle = probe.handle();
    let mut service = LearnLayer::new(learned()).wait_up_to(SECOND * 7).layer(probe);
    let start = Instant::now();
    service.ready().await.unwrap().call(Request::new(())).await.unwrap();
    let mut call = Box::pin(service.ready().await.unwrap().call(Request::new(())));
    assert!((&mut call).now_or_never().is_none());
    assert_eq!((handle.reserved(), handle.calls()), (0, 1), "who waits holds no place");
    call.await.unwrap();
    assert_eq!(start.elapsed(), SECOND * 7);
    handle.assert_idle();
}

#[tokio::test(start_paused = true)]
async fn a_call_that_would_wait_too_long_is_refused_at_once_and_says_when_to_come_back() {
    let learned = learned();
    let probe = answers(&[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "7")]).capacity(1);
    let handle = probe.handle();
    for patience in [Duration::ZERO, SECOND * 6] {
        let layer = LearnLayer::new(learned.clone()).wait_up_to(patience);
        let mut service = layer.layer(probe.clone());
        if patience.is_zero() {
            service.ready().await.unwrap().call(Request::new(())).await.unwrap();
        }
        let error = service.ready().await.unwrap().call(Request::new(())).await.unwrap_err();
        let rejection = Rejection::find(&error).unwrap();
        assert_eq!(rejection.retry_after(), Some(SECOND * 7));
        assert_eq!(rejection.refused_by(), Some("stock"));
    }
    assert_eq!((handle.reserved(), handle.calls()), (0, 1));
    assert_eq!(learned.standing(), Standing::Nothing { retry_after: SECOND * 7 });
}

#[tokio::test(start_paused = true)]
async fn a_word_is_taken_for_so_long_and_no_longer() {
    let learned = learned().trust_up_to(SECOND * 10);
    let probe = answers(&[("ratelimit", "\"default\";r=0;t=99999999999999999999")]);
    let service = LearnLayer::new(learned).wait_up_to(SECOND * 60).layer(probe);
    let start = Instant::now();
    for _ in 0..3 {
        service.clone().oneshot(Request::new(())).await.unwrap();
    }
    assert_eq!(start.elapsed(), SECOND * 20);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_given_up_while_it_waits_takes_nothing() {
    let learned = learned();
    let probe = answers(&[("ratelimit", "\"default\";r=0;t=7")]);
    let handle = probe.handle();
    let service = LearnLayer::new(learned.clone()).wait_up_to(SECOND * 60).layer(probe);
    service.clone().oneshot(Request::new(())).await.unwrap();
    let mut waits = Box::pin(service.oneshot(Request::new(())));
    assert!((&mut waits).now_or_never().is_none());
    drop(waits);
    sleep(SECOND * 7).await;
    assert_eq!(learned.standing(), Standing::Left { remaining: 1, reset_after: SECOND * 7 });
    assert_eq!(handle.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_tells_nothing_is_not_limited() {
    let learned = learned();
    let service = LearnLayer::new(learned.clone()).layer(answers(&[("server", "x")]));
    for _ in 0..100 {
        service.clone().oneshot(Request::new(())).await.unwrap();
    }
    assert_eq!(learned.standing(), Standing::Unknown);
}

/// An axum server that lets 5 a second through, at once or not.
#[cfg(feature = "reqwest")]
async fn server(headers: Headers) -> String {
    let limiter = RateLimiter::new(Quota::per_second(5)).unwrap();
    let layer = ServerLayer::new(limiter).headers(headers);
    let app: Router = Router::new().route("/", get(|| async { "hello" })).layer(layer);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });
    url
}

#[cfg(feature = "reqwest")]
#[tokio::test]
async fn a_client_that_has_learned_is_never_refused_and_one_that_has_not_is() {
    async fn refused<S>(service: S, url: &str) -> usize
    where
        S: Service<reqwest::Request, Response = reqwest::Response, Error: std::fmt::Debug> + Clone,
    {
        let request = || reqwest::Request::new(reqwest::Method::GET, url.parse().unwrap());
        // The first response tells the limit; the others go all at once.
        let first = service.clone().oneshot(request()).await.unwrap();
        assert_eq!(first.status(), 200);
        let calls = (0..11).map(|_| service.clone().oneshot(request()));
        let responses = futures::future::join_all(calls).await;
        responses.into_iter().filter(|response| response.as_ref().unwrap().status() == 429).count()
    }
    let client = reqwest::Client::new();
    let naive = refused(client.clone(), &server(Headers::RateLimit).await).await;
    assert!(naive >= 6, "{naive} of 12 refused");
    let learn = async |headers| {
        let layer = LearnLayer::new(Learned::new()).wait_up_to(SECOND * 10);
        refused(layer.layer(client.clone()), &server(headers).await).await
    };
    let all = futures::join!(
        learn(Headers::RateLimit),
        learn(Headers::Separate),
        learn(Headers::Legacy),
    );
    assert_eq!(all, (0, 0, 0));
}

#[cfg(feature = "reqwest")]
#[tokio::test]
async fn the_middleware_learns_from_a_refusal() {
    use seawall_core::reqwest::rejection;
    use seawall_rate_limit::reqwest::LearnMiddleware;

    let url = server(Headers::Nothing).await;
    let learned = Learned::new();
    let client = reqwest_middleware::ClientBuilder::new(reqwest::Client::new())
        .with(LearnMiddleware::new(learned.clone()))
        .build();
    let mut statuses = Vec::new();
    for _ in 0..6 {
        statuses.push(client.get(&url).send().await.unwrap().status().as_u16());
    }
    assert_eq!(statuses, [200, 200, 200, 200, 200, 429]);
    let error = client.get(&url).send().await.unwrap_err();
    assert!(rejection(&error).unwrap().retry_after() <= Some(SECOND), "it said 1 s");
}

#[cfg(feature = "tonic")]
#[tokio::test]
async fn a_channel_learns_from_the_pushback_of_a_refusal() {
    use seawall_core::tonic::StatusService;
    use seawall_test_support::{EchoClient, EchoRequest};
    use tonic::{
        Code,
        service::Routes,
        transport::{Channel, Server, server::TcpIncoming},
    };

    let limiter = RateLimiter::new(Quota::per_minute(1)).unwrap();
    let incoming = TcpIncoming::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let url = format!("http://{}", incoming.local_addr().unwrap());
    let server = Server::builder()
        .layer(ServerLayer::new(limiter.clone()).headers(Headers::Nothing))
        .add_routes(Routes::default())
        .serve_with_incoming(incoming);
    tokio::spawn(server);

    let learned = Learned::new();
    let channel = Channel::from_shared(url).unwrap().connect_lazy();
    let channel = StatusService::new(LearnLayer::new(learned.clone()).layer(channel));
    let mut client = EchoClient::new(channel);
    let codes = [Code::Unimplemented, Code::ResourceExhausted, Code::ResourceExhausted];
    let mut statuses = Vec::new();
    for code in codes {
        let status = client.unary(EchoRequest::default()).await.unwrap_err();
        assert_eq!(status.code(), code);
        statuses.push(status);
    }
    let local = |status: &tonic::Status| Rejection::find(status).is_some();
    assert_eq!(statuses.iter().map(local).collect::<Vec<_>>(), [false, false, true]);
    let Standing::Nothing { retry_after } = learned.standing() else { panic!("{learned:?}") };
    assert!(retry_after > SECOND * 50, "{retry_after:?}");
}
