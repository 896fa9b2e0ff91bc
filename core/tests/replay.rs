//! A replayed request body: every attempt sends the whole of it, or says that it cannot.

#![cfg(feature = "http")]
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::{
    collections::VecDeque,
    convert::Infallible,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    task::{Context, Poll, Wake, Waker},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Full};
use proptest::{collection::vec, prelude::*};
use seawall_core::http::{Replay, ReplayBody, ReplayError, ReplayRequest};

/// What a source does at one poll.
#[derive(Clone, Debug, PartialEq)]
enum Step {
    /// Yields this many bytes.
    Data(usize),
    /// Is not ready before the test lets it go on.
    Wait,
    /// Is not ready and wakes at once, as a runtime's co-operative budget makes a source do.
    Yield,
    Trailers,
    Error,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Broken;

/// A source that does one step at each poll.
struct Scripted {
    script: Arc<Mutex<Script>>,
    sized: bool,
}

struct Script {
    steps: VecDeque<Step>,
    sent: usize,
    waker: Option<Waker>,
}

impl Script {
    fn rest(&self) -> usize {
        self.steps.iter().map(|step| if let Step::Data(len) = step { *len } else { 0 }).sum()
    }
}

/// Byte `i` of every body here.
fn byte(i: usize) -> u8 {
    (i * 31 % 251) as u8
}

fn trailers() -> HeaderMap {
    HeaderMap::from_iter([(http::header::ETAG, HeaderValue::from_static("end"))])
}

impl Body for Scripted {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let mut script = self.script.lock().unwrap();
        match script.steps.front().cloned() {
            Some(Step::Wait) => {
                script.waker = Some(cx.waker().clone());
                return Poll::Pending;
            }
            Some(Step::Yield) => {
                script.steps.pop_front();
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            _ => {}
        }
        Poll::Ready(match script.steps.pop_front() {
            Some(Step::Data(len)) => {
                let from = script.sent;
                script.sent += len;
                Some(Ok(Frame::data((from..from + len).map(byte).collect())))
            }
            Some(Step::Trailers) => Some(Ok(Frame::trailers(trailers()))),
            Some(Step::Error) => Some(Err(Broken)),
            Some(Step::Wait | Step::Yield) => unreachable!("answered above"),
            None => None,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.script.lock().unwrap().steps.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        match self.sized {
            true => SizeHint::with_exact(self.script.lock().unwrap().rest() as u64),
            false => SizeHint::default(),
        }
    }
}

/// Lets a waiting source go on.
fn release(script: &Mutex<Script>) {
    let mut script = script.lock().unwrap();
    if script.steps.front() == Some(&Step::Wait) {
        script.steps.pop_front();
        let waker = script.waker.take();
        drop(script);
        waker.into_iter().for_each(Waker::wake);
    }
}

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, SeqCst);
    }
}

/// How an attempt may end.
#[derive(Debug, PartialEq)]
enum End {
    Complete,
    Lost,
    Broken,
}

/// One attempt, as a task with a waker of its own.
struct Attempt {
    body: ReplayBody<Scripted>,
    woken: Arc<Flag>,
    sent: Vec<u8>,
    trailers: Option<HeaderMap>,
    end: Option<End>,
    /// Its connection is stuck: it is woken in vain.
    stuck: bool,
}

impl Attempt {
    fn new(body: ReplayBody<Scripted>) -> Self {
        let woken = Arc::new(Flag(AtomicBool::new(true)));
        Self { body, woken, sent: Vec::new(), trailers: None, end: None, stuck: false }
    }

    fn poll(&mut self) {
        self.woken.0.store(false, SeqCst);
        let waker = Waker::from(self.woken.clone());
        let polled = Pin::new(&mut self.body).poll_frame(&mut Context::from_waker(&waker));
        match polled {
            Poll::Pending => return,
            Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                Ok(data) => self.sent.extend_from_slice(&data),
                Err(frame) => self.trailers = frame.into_trailers().ok(),
            },
            Poll::Ready(None) => self.end = Some(End::Complete),
            Poll::Ready(Some(Err(ReplayError::Source(Broken)))) => self.end = Some(End::Broken),
            Poll::Ready(Some(Err(ReplayError::Lost))) => self.end = Some(End::Lost),
            Poll::Ready(Some(Err(_))) => panic!("an error that this test does not know"),
        }
        // Whoever got a frame polls for the next one.
        self.woken.0.store(true, SeqCst);
    }
}

/// What a test does to a replayed body.
#[derive(Clone, Debug)]
enum Op {
    Open,
    Poll(usize),
    Stick(usize),
    Drop(usize),
    Release,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..6_usize).prop_map(Step::Data),
        2 => Just(Step::Wait),
        1 => Just(Step::Yield),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        1 => Just(Op::Open),
        8 => (0..3_usize).prop_map(Op::Poll),
        1 => (0..3_usize).prop_map(Op::Stick),
        1 => (0..3_usize).prop_map(Op::Drop),
        2 => Just(Op::Release),
    ]
}

/// The obvious model: the body is a `Vec`, and what matters is how far the furthest attempt came.
struct Model {
    whole: Vec<u8>,
    trailers: Option<HeaderMap>,
    fails: bool,
    limit: usize,
    taken: usize,
    failed: bool,
}

impl Model {
    fn replayable(&self) -> bool {
        self.taken <= self.limit && !self.failed
    }

    fn check(&mut self, attempt: &Attempt) {
        assert_eq!(attempt.sent[..], self.whole[..attempt.sent.len()], "bytes in order");
        self.taken = self.taken.max(attempt.sent.len());
        let lost = self.taken > self.limit && attempt.sent.len() < self.taken;
        match attempt.end {
            Some(End::Complete) => {
                assert!(!self.fails);
                assert_eq!(attempt.sent, self.whole);
                assert_eq!(attempt.trailers, self.trailers);
            }
            Some(End::Lost) => assert!(lost || self.failed, "lost what is kept"),
            Some(End::Broken) => {
                assert!(self.fails);
                assert!(!self.failed, "the source's error is told once");
                self.failed = true;
            }
            None => {}
        }
        let done = attempt.end.is_some() || attempt.trailers.is_some();
        if attempt.body.is_end_stream() && attempt.end.as_ref().is_none_or(|e| *e == End::Complete)
        {
            assert_eq!(attempt.sent, self.whole, "at the end before all is sent");
            assert_eq!(attempt.trailers, self.trailers, "at the end before the trailers");
        }
        if !done && !lost && !self.failed {
            let rest = (self.whole.len() - attempt.sent.len()) as u64;
            let hint = attempt.body.size_hint();
            assert!(hint.lower() <= rest, "{hint:?}, {rest} to come");
            assert!(hint.upper().is_none_or(|upper| upper >= rest), "{hint:?}, {rest} to come");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2_000) })]

    #[test]
    fn an_attempt_sends_the_whole_body_or_fails_and_never_hangs(
        steps in vec(step(), 0..10),
        last in prop_oneof![Just(None), Just(Some(Step::Trailers)), Just(Some(Step::Error))],
        limit in 0..40_usize,
        sized: bool,
        ops in vec(op(), 0..40),
    ) {
        let steps: VecDeque<Step> = steps.into_iter().chain(last.clone()).collect();
        let script = Arc::new(Mutex::new(Script { steps, sent: 0, waker: None }));
        let whole: Vec<u8> = (0..script.lock().unwrap().rest()).map(byte).collect();
        let mut model = Model {
            whole,
            trailers: (last == Some(Step::Trailers)).then(trailers),
            fails: last == Some(Step::Error),
            limit,
            taken: 0,
            failed: false,
        };
        let replay = Replay::with_limit(Scripted { script: script.clone(), sized }, limit);
        let mut attempts: Vec<Attempt> = Vec::new();

        for op in ops {
            match op {
                Op::Open => {
                    let body = replay.attempt();
                    prop_assert_eq!(body.is_some(), model.replayable());
                    prop_assert_eq!(replay.is_replayable(), model.replayable());
                    attempts.extend(body.map(Attempt::new));
                }
                Op::Poll(i) => {
                    if let Some(attempt) = attempts.get_mut(i)
                        && attempt.end.is_none()
                        && !attempt.stuck
                    {
                        attempt.poll();
                        model.check(attempt);
                    }
                }
                Op::Stick(i) => attempts.get_mut(i).into_iter().for_each(|a| a.stuck = true),
                Op::Drop(i) if i < attempts.len() => drop(attempts.remove(i)),
                Op::Drop(_) => {}
                Op::Release => release(&script),
            }
        }

        // From here on each attempt is polled only when it was woken, as a runtime does it.
        loop {
            let runnable = attempts
                .iter_mut()
                .find(|a| a.end.is_none() && !a.stuck && a.woken.0.load(SeqCst));
            if let Some(attempt) = runnable {
                attempt.poll();
                model.check(attempt);
            } else if script.lock().unwrap().steps.front() == Some(&Step::Wait) {
                release(&script);
                if script.lock().unwrap().waker.is_none()
                    && attempts.iter().all(|a| a.end.is_some() || a.stuck)
                {
                    break;
                }
            } else {
                break;
            }
        }
        for attempt in attempts.iter().filter(|a| !a.stuck) {
            prop_assert!(attempt.end.is_some(), "hangs after {} bytes", attempt.sent.len());
        }
    }
}

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
