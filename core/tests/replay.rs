//! A replayed request body: every attempt sends the whole of it, or says that it cannot.

#![cfg(feature = "http")]
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

#[path = "support/attempt.rs"]
mod attempt;

use std::{
    collections::VecDeque,
    convert::Infallible,
    pin::Pin,
    sync::{Arc, Mutex, atomic::Ordering::SeqCst},
    task::{Context, Poll, Waker},
};

use attempt::{Attempt, Script, Scripted, Step, release};
use bytes::Bytes;
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Full};
use seawall_core::http::{Replay, ReplayRequest};

/// Two attempts that wait for a source, the second of which polled it last.
fn two_waiting() -> (Arc<Mutex<Script>>, Attempt, Attempt) {
    let steps = VecDeque::from([Step::Wait, Step::Data(3)]);
    let script = Arc::new(Mutex::new(Script { steps, sent: 0, waker: None }));
    let replay = Replay::new(Scripted { script: script.clone(), sized: true });
    let mut first = Attempt::new(replay.attempt().unwrap());
    first.poll();
    let mut second = Attempt::new(replay.attempt().unwrap());
    second.poll();
    assert!(!first.woken.0.load(SeqCst) && !second.woken.0.load(SeqCst));
    (script, first, second)
}

#[test]
fn an_attempt_goes_on_while_the_one_that_polled_last_is_stuck() {
    let (script, mut first, _stuck) = two_waiting();
    release(&script);
    assert!(first.woken.0.load(SeqCst), "only the stuck attempt was woken");
    first.poll();
    assert_eq!(first.sent.len(), 3);
}

#[test]
fn an_attempt_goes_on_when_the_one_that_polled_last_is_dropped() {
    let (script, mut first, second) = two_waiting();
    drop(second);
    release(&script);
    assert!(first.woken.0.load(SeqCst));
    first.poll();
    assert_eq!(first.sent.len(), 3);
}

#[test]
fn an_attempt_that_takes_a_frame_wakes_those_that_wait_for_it() {
    let (script, first, mut second) = two_waiting();
    // Ready without a wake-up, as when the second is polled for a reason of its own.
    script.lock().unwrap().steps.pop_front();
    second.poll();
    assert_eq!(second.sent.len(), 3);
    assert!(first.woken.0.load(SeqCst));
}

#[tokio::test]
async fn a_request_is_sent_again_with_its_head() {
    let request =
        http::Request::put("/orders").header("x-id", "7").body(Full::<Bytes>::from("body"));
    let replay = ReplayRequest::new(request.unwrap());
    for _ in 0..3 {
        let attempt = replay.attempt().unwrap();
        assert_eq!(
            (attempt.method().as_str(), &attempt.headers()["x-id"]),
            ("PUT", replay.head().headers().get("x-id").unwrap())
        );
        assert_eq!(attempt.into_body().collect().await.unwrap().to_bytes(), "body");
    }
}

#[test]
fn a_body_at_the_limit_can_be_sent_again_and_one_above_it_cannot() {
    for (limit, again) in [(4, true), (3, false)] {
        let replay = Replay::with_limit(Full::<Bytes>::from("body"), limit);
        let mut first = replay.attempt().unwrap();
        assert!(drive(&mut first).is_some(), "an unsent body is within any limit");
        assert_eq!(replay.attempt().is_some(), again, "limit {limit}");
        assert_eq!(first.again().is_some(), again, "limit {limit}");
    }
}

#[test]
fn debug_output_shows_no_data() {
    let replay = Replay::new(Full::<Bytes>::from("secret"));
    let mut first = replay.attempt().unwrap();
    drive(&mut first);
    let shown = format!("{replay:?} {first:?}");
    assert!(shown.contains("kept_bytes: 6"), "{shown}");
    assert!(!shown.contains("secret"), "{shown}");
}

#[test]
fn an_attempt_goes_on_after_the_source_panicked_under_another() {
    struct PanicsOnce(bool);
    impl Body for PanicsOnce {
        type Data = Bytes;
        type Error = Infallible;
        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            assert!(std::mem::replace(&mut self.0, true), "the source is broken");
            Poll::Ready(None)
        }
    }
    let replay = Replay::new(PanicsOnce(false));
    let (mut first, mut second) = (replay.attempt().unwrap(), replay.attempt().unwrap());
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drive(&mut first)));
    assert!(panicked.is_err());
    drop(first);
    assert!(drive(&mut second).is_none());
}

/// The next data of a body that is ready.
fn drive<B: Body<Data = Bytes> + Unpin>(body: &mut B) -> Option<Bytes> {
    match Pin::new(body).poll_frame(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Some(Ok(frame))) => frame.into_data().ok(),
        Poll::Ready(_) => None,
        Poll::Pending => panic!("the body is not ready"),
    }
}
