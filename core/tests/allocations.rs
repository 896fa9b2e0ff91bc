//! What following a call and keeping a body cost in allocations.

#![cfg(all(feature = "tonic", feature = "reqwest"))]
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::{
    convert::Infallible,
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response};
use http_body::{Body, Frame};
use http_body_util::Full;
use seawall_core::{
    AnyError, AtResult, Clock, Guard, Outcome, Reason, Rejection, Track,
    http::{AtBodyEnd, HttpStatus, Replay},
    tonic::GrpcStatus,
};
use seawall_test_support::{CountingAllocator, allocations};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator::new();

struct Silent;

impl Guard for Silent {
    fn finish(self, _: Outcome) {}
}

/// Data, then trailers that were made beforehand.
struct Grpc(Option<Bytes>, Option<HeaderMap>);

impl Body for Grpc {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let data = self.0.take().map(Frame::data);
        Poll::Ready(data.or_else(|| self.1.take().map(Frame::trailers)).map(Ok))
    }
}

fn drain(body: impl Body<Data = Bytes>) {
    let mut body = pin!(body);
    while let Poll::Ready(Some(Ok(frame))) =
        body.as_mut().poll_frame(&mut Context::from_waker(Waker::noop()))
    {
        drop(frame);
    }
}

#[test]
fn following_a_call_allocates_nothing() {
    let trailers = HeaderMap::from_iter([(
        http::HeaderName::from_static("grpc-status"),
        HeaderValue::from_static("14"),
    )]);
    let grpc = Ok::<_, std::io::Error>(Response::new(Grpc(Some(Bytes::from("x")), Some(trailers))));
    assert_eq!(
        allocations(|| drain(
            AtBodyEnd(GrpcStatus::new()).track(grpc, Silent).unwrap().into_body()
        )),
        0
    );
    let http = Ok::<_, std::io::Error>(Response::new(Full::<Bytes>::from("x")));
    assert_eq!(
        allocations(|| drain(
            AtBodyEnd(HttpStatus::new()).track(http, Silent).unwrap().into_body()
        )),
        0
    );
    let plain = Ok::<_, std::io::Error>(());
    assert_eq!(allocations(|| AtResult(AnyError).track(plain, Silent)), 0);
}

#[test]
fn a_replayed_body_that_is_not_polled_costs_one_allocation() {
    let body = Full::<Bytes>::from("x");
    assert_eq!(allocations(|| Replay::new(body)), 1);
    let replay = Replay::new(Full::<Bytes>::from("x"));
    assert_eq!(allocations(|| replay.attempt()), 0, "the first attempt is free");
}

#[test]
fn a_replayed_body_of_one_frame_costs_one_more_for_each_attempt_after_the_first() {
    let replay = Replay::new(Full::<Bytes>::from("x"));
    assert_eq!(allocations(|| drain(replay.attempt().unwrap())), 1, "the list of kept frames");
    assert_eq!(allocations(|| drain(replay.attempt().unwrap())), 1, "the list of those that wait");
    assert_eq!(allocations(|| drain(replay.attempt().unwrap())), 0);
}

#[test]
fn a_rejection_is_cloned_and_the_time_is_told_without_an_allocation() {
    let rejection = Rejection::new(Reason::CircuitOpen).by("orders");
    assert_eq!(allocations(|| rejection.clone()), 0);
    let clock = Clock::fast();
    assert_eq!(allocations(|| (clock.now(), clock.clone())), 0);
}
