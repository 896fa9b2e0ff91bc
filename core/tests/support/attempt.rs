//! A source that does as a script says, and attempts that read it as tasks of their own.

#![allow(dead_code, missing_debug_implementations, unreachable_pub, reason = "parts of tests")]

use std::{
    collections::VecDeque,
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
use seawall_core::http::{ReplayBody, ReplayError};

/// What a source does at one poll.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
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
pub struct Broken;

/// A source that does one step at each poll.
pub struct Scripted {
    pub script: Arc<Mutex<Script>>,
    pub sized: bool,
}

pub struct Script {
    pub steps: VecDeque<Step>,
    pub sent: usize,
    pub waker: Option<Waker>,
}

impl Script {
    pub fn rest(&self) -> usize {
        self.steps.iter().map(|step| if let Step::Data(len) = step { *len } else { 0 }).sum()
    }
}

/// Byte `i` of every body here.
pub fn byte(i: usize) -> u8 {
    (i * 31 % 251) as u8
}

pub fn trailers() -> HeaderMap {
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
pub fn release(script: &Mutex<Script>) {
    let mut script = script.lock().unwrap();
    if script.steps.front() == Some(&Step::Wait) {
        script.steps.pop_front();
        let waker = script.waker.take();
        drop(script);
        waker.into_iter().for_each(Waker::wake);
    }
}

#[derive(Debug)]
pub struct Flag(pub AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, SeqCst);
    }
}

/// How an attempt may end.
#[derive(Debug, PartialEq)]
pub enum End {
    Complete,
    Lost,
    Broken,
}

/// One attempt, as a task with a waker of its own.
pub struct Attempt {
    pub body: ReplayBody<Scripted>,
    pub woken: Arc<Flag>,
    pub sent: Vec<u8>,
    pub trailers: Option<HeaderMap>,
    pub end: Option<End>,
    /// Its connection is stuck: it is woken in vain.
    pub stuck: bool,
}

impl Attempt {
    pub fn new(body: ReplayBody<Scripted>) -> Self {
        let woken = Arc::new(Flag(AtomicBool::new(true)));
        Self { body, woken, sent: Vec::new(), trailers: None, end: None, stuck: false }
    }

    pub fn poll(&mut self) {
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
