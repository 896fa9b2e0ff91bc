//! A guard that records what it is told, and a service that tracks its calls.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used, reason = "each test uses a part of it")]

use std::{
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};

use seawall_core::{Guard, Outcome, Track};
use tower_service::Service;

/// What a guard was told, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    Answered,
    RetryAfter(Duration),
    Finished(Outcome),
    Dropped,
}

pub use Told::{Answered, Dropped, RetryAfter};
pub const SUCCESS: Told = Told::Finished(Outcome::Success);
pub const FAILURE: Told = Told::Finished(Outcome::Failure);
pub const IGNORED: Told = Told::Finished(Outcome::Ignored);

#[derive(Debug, Default)]
struct Book {
    told: Vec<Told>,
    admitted: usize,
    in_flight: usize,
}

/// Hands out guards and remembers what they were told.
#[derive(Clone, Debug, Default)]
pub struct Recorder(Arc<Mutex<Book>>);

impl Recorder {
    pub fn admit(&self) -> Permit {
        let mut book = self.0.lock().unwrap();
        book.admitted += 1;
        book.in_flight += 1;
        Permit { book: self.0.clone(), finished: false }
    }

    pub fn in_flight(&self) -> usize {
        self.0.lock().unwrap().in_flight
    }

    pub fn told(&self) -> Vec<Told> {
        self.0.lock().unwrap().told.clone()
    }

    /// Asserts that the one call is over and its guard was told exactly this.
    #[track_caller]
    pub fn assert_told(&self, told: &[Told]) {
        let book = self.0.lock().unwrap();
        assert_eq!(
            (book.admitted, book.in_flight, &book.told[..]),
            (1, 0, told),
            "admitted, in flight, told"
        );
    }

    /// The one thing that the guard was told besides the answer, and the end of the call.
    #[track_caller]
    pub fn outcome(&self) -> Told {
        let told = self.told();
        let ends = told.iter().filter(|told| **told != Answered).count();
        assert_eq!((ends, self.in_flight()), (1, 0), "{told:?}");
        told[told.len() - 1]
    }
}

#[derive(Debug)]
pub struct Permit {
    book: Arc<Mutex<Book>>,
    finished: bool,
}

impl Guard for Permit {
    fn answered(&mut self) {
        self.book.lock().unwrap().told.push(Answered);
    }

    fn retry_after(&mut self, wait: Duration) {
        self.book.lock().unwrap().told.push(RetryAfter(wait));
    }

    fn finish(mut self, outcome: Outcome) {
        self.finished = true;
        self.book.lock().unwrap().told.push(Told::Finished(outcome));
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut book = self.book.lock().unwrap();
        book.in_flight -= 1;
        if !self.finished {
            book.told.push(Dropped);
        }
    }
}

/// The smallest service that follows its calls.
#[derive(Clone, Debug)]
pub struct Tracked<S, T> {
    pub inner: S,
    pub track: T,
    pub recorder: Recorder,
}

impl<S, T> Tracked<S, T> {
    pub fn new(inner: S, track: T) -> (Self, Recorder) {
        let recorder = Recorder::default();
        (Self { inner, track, recorder: recorder.clone() }, recorder)
    }
}

type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

impl<S, T, Req> Service<Req> for Tracked<S, T>
where
    S: Service<Req>,
    S::Future: Send + 'static,
    T: Track<S::Response, S::Error, Permit> + Clone + Send + Sync + 'static,
    T::Response: 'static,
    S::Error: 'static,
{
    type Response = T::Response;
    type Error = S::Error;
    type Future = BoxFuture<Result<T::Response, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let (permit, track) = (self.recorder.admit(), self.track.clone());
        let response = self.inner.call(request);
        Box::pin(async move { track.track(response.await, permit) })
    }
}

/// Waits until `done`, in real time.
pub async fn eventually(done: impl Fn() -> bool) {
    let start = tokio::time::Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(5), "not within 5 s");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
