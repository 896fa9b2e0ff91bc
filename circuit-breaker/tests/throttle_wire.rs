//! Over real connections: what a throttle sees as accepted, and what its refusals look like.

#![cfg(all(feature = "tonic", feature = "reqwest"))]
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use reqwest_middleware::{ClientBuilder, ClientWithMiddleware};
use seawall_circuit_breaker::{
    Rejection,
    reqwest::{ThrottleMiddleware, rejection},
    throttle::{Class, Config, Priority, Throttle, ThrottleLayer},
    tonic::ChannelLayer,
};
use seawall_core::Reason;
use seawall_test_support::{EchoClient, EchoRequest, GrpcServer, HttpServer};
use tonic::{Code, Request, transport::Channel};
use tower::{Layer, ServiceExt};

fn throttle() -> Throttle {
    Throttle::builder(Config::default()).named("orders").seed(7).build()
}

fn seen(throttle: &Throttle, priority: Priority) -> (u64, u64) {
    let Class { requests, accepts, .. } = *throttle.snapshot().class(priority);
    (requests, accepts)
}

#[tokio::test]
async fn a_generated_client_is_throttled_by_the_codes_that_say_too_busy() {
    let server = GrpcServer::start().await;
    for (code, in_trailers, accepted) in [
        (Code::Ok, false, 1),
        (Code::NotFound, false, 1),
        (Code::Internal, true, 1),
        (Code::Unavailable, false, 0),
        (Code::ResourceExhausted, true, 0),
        (Code::DeadlineExceeded, true, 0),
    ] {
        let throttle = throttle();
        let channel = Channel::from_shared(server.url()).unwrap().connect_lazy();
        let mut client = EchoClient::new(ChannelLayer::throttle(throttle.clone()).layer(channel));
        let code = i32::from(code);
        let request = EchoRequest {
            messages: 1,
            code: if in_trailers { 0 } else { code },
            trailer_code: if in_trailers { code } else { 0 },
            ..EchoRequest::default()
        };
        if let Ok(stream) = client.server_stream(request).await {
            let mut stream = stream.into_inner();
            assert_eq!(seen(&throttle, Priority::Critical), (0, 0), "the stream goes on");
            while let Ok(Some(_)) = stream.message().await {}
        }
        assert_eq!(seen(&throttle, Priority::Critical), (1, accepted), "{code}");
    }
}

#[tokio::test]
async fn a_refusal_is_resource_exhausted_and_priorities_come_from_the_request() {
    let server = GrpcServer::start().await;
    let throttle = throttle();
    let channel = Channel::from_shared(server.url()).unwrap().connect_lazy();
    let mut client = EchoClient::new(ChannelLayer::throttle(throttle.clone()).layer(channel));
    let status = loop {
        let busy = EchoRequest { code: Code::Unavailable.into(), ..EchoRequest::default() };
        let mut request = Request::new(busy);
        request.extensions_mut().insert(Priority::Sheddable);
        let status = client.unary(request).await.unwrap_err();
        if status.code() != Code::Unavailable {
            break status;
        }
    };
    assert_eq!(status.code(), Code::ResourceExhausted);
    let rejection = Rejection::find(&status).unwrap();
    assert_eq!((rejection.reason(), rejection.refused_by()), (Reason::Overloaded, Some("orders")));
    let (requests, accepts) = seen(&throttle, Priority::Sheddable);
    assert_eq!((requests, accepts), (server.calls() + 1, 0));
    assert_eq!(seen(&throttle, Priority::Critical), (0, 0));
}

fn client(throttle: &Throttle) -> ClientWithMiddleware {
    ClientBuilder::new(reqwest::Client::new())
        .with(ThrottleMiddleware::new(throttle.clone()))
        .build()
}

#[tokio::test]
async fn a_reqwest_client_is_throttled_by_the_statuses_that_say_too_busy() {
    let server = HttpServer::start().await;
    for (path, accepted) in [("/ok", 1), ("/status/500", 1), ("/status/503", 0), ("/status/429", 0)]
    {
        let by_middleware = throttle();
        let response = client(&by_middleware).get(server.url(path)).send().await.unwrap();
        assert_eq!(seen(&by_middleware, Priority::Critical), (1, accepted), "{path}, at its head");
        drop(response);

        let by_layer = throttle();
        let inner = reqwest::Client::new();
        let request = inner.get(server.url(path)).build().unwrap();
        let service = ThrottleLayer::new(by_layer.clone()).http().layer(inner);
        service.oneshot(request).await.unwrap();
        assert_eq!(seen(&by_layer, Priority::Critical), (1, accepted), "{path}");
    }
    server.kill();
    let throttle = throttle();
    client(&throttle).get(server.url("/ok")).send().await.unwrap_err();
    assert_eq!(seen(&throttle, Priority::Critical), (1, 0), "a dial that is refused");
}

#[tokio::test]
async fn a_middleware_finds_the_priority_that_the_request_was_given() {
    let server = HttpServer::start().await;
    let throttle = throttle();
    let client = client(&throttle);
    let error = loop {
        let request = client.get(server.url("/status/503")).with_extension(Priority::SheddablePlus);
        if let Err(error) = request.send().await {
            break error;
        }
    };
    let refusal = rejection(&error).unwrap();
    assert_eq!((refusal.reason(), refusal.refused_by()), (Reason::Overloaded, Some("orders")));
    assert_eq!(seen(&throttle, Priority::SheddablePlus), (server.calls() + 1, 0));
}
