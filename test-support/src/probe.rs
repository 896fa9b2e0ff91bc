//! A tower service that watches how it is used and answers as a script says.
//!
//! It keeps to the strictest reading of the tower contract: an instance must be polled ready before
//! each call, readiness belongs to that instance, and a clone starts without it. A layer that calls
//! a fresh clone, which a lenient inner service would forgive, is found out.

mod future;
mod ledger;

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tower_service::Service;

pub use self::future::ProbeFuture;
pub use self::ledger::ProbeHandle;

/// What a [`Probe`] does with one request.
#[derive(Clone, Debug)]
pub enum Reply<T, E> {
    /// Answers at the first poll of the future.
    Now(Result<T, E>),
    /// Answers after a time of tokio's clock, counted from the call.
    After(Duration, Result<T, E>),
    /// Answers once [`ProbeHandle::release`] lets it.
    Held(Result<T, E>),
    /// Never answers.
    Never,
}

impl<T, E> Reply<T, E> {
    /// An answer at once.
    pub fn ok(response: T) -> Self {
        Self::Now(Ok(response))
    }

    /// An error at once.
    pub fn error(error: E) -> Self {
        Self::Now(Err(error))
    }
}

impl<T, E> From<Result<T, E>> for Reply<T, E> {
    fn from(result: Result<T, E>) -> Self {
        Self::Now(result)
    }
}

/// What a [`Probe`] says when it is asked whether it is ready.
#[derive(Clone, Debug)]
pub enum Readiness<E> {
    /// Ready, if its handle and its capacity allow.
    Ready,
    /// Pending for this poll; it wakes the task at once, so that it asks again.
    Later,
    /// Broken.
    Error(E),
}

type Script<Req, T, E> = dyn FnMut(Req) -> Reply<T, E> + Send;
type ReadinessScript<E> = dyn FnMut() -> Readiness<E> + Send;

/// A tower service that counts what is done to it and answers from a script. Clones share the
/// script and the counts, and no readiness.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), std::io::Error> {
/// use std::future::poll_fn;
/// use seawall_test_support::{Probe, Reply};
/// use tower_service::Service;
///
/// let mut probe = Probe::new(|request: u32| Reply::Held(Ok::<_, std::io::Error>(request + 1)));
/// let handle = probe.handle();
///
/// poll_fn(|cx| probe.poll_ready(cx)).await?;
/// let response = probe.call(1);
/// assert_eq!((handle.calls(), handle.in_flight()), (1, 1));
/// handle.release(1);
/// assert_eq!(response.await?, 2);
/// handle.assert_idle();
/// # Ok(())
/// # }
/// ```
pub struct Probe<Req, T, E> {
    script: Arc<Mutex<Script<Req, T, E>>>,
    readiness: Option<Arc<Mutex<ReadinessScript<E>>>>,
    handle: ProbeHandle,
    /// This very instance was polled ready and not called since.
    ready: bool,
}

impl<Req, T, E> Probe<Req, T, E> {
    /// A service that answers each request as `script` says.
    pub fn new(script: impl FnMut(Req) -> Reply<T, E> + Send + 'static) -> Self {
        Self {
            script: Arc::new(Mutex::new(script)),
            readiness: None,
            handle: ProbeHandle::new(),
            ready: false,
        }
    }

    /// A service that gives these replies in turn, whatever the requests.
    ///
    /// # Panics
    ///
    /// At the first call after the last reply.
    pub fn replies<I>(replies: I) -> Self
    where
        I: IntoIterator<Item = Reply<T, E>>,
        T: Send + 'static,
        E: Send + 'static,
    {
        let mut replies: VecDeque<_> = replies.into_iter().collect();
        let total = replies.len();
        Self::new(move |_| {
            replies.pop_front().unwrap_or_else(|| panic!("a call after the {total} scripted ones"))
        })
    }

    /// A service that answers everything at once with a copy of `response`.
    pub fn always(response: T) -> Self
    where
        T: Clone + Send + 'static,
    {
        Self::new(move |_| Reply::ok(response.clone()))
    }

    /// Asks `script` at each readiness poll of an instance that is not ready yet.
    #[must_use]
    pub fn readiness(mut self, script: impl FnMut() -> Readiness<E> + Send + 'static) -> Self {
        self.readiness = Some(Arc::new(Mutex::new(script)));
        self
    }

    /// Bounds what is in flight or reserved by a ready instance. A layer that keeps a ready
    /// instance it does not call then starves the others, and a test sees that.
    #[must_use]
    pub fn capacity(self, calls: usize) -> Self {
        self.handle.set_capacity(calls);
        self
    }

    /// Counts calls without readiness as violations, in place of a panic in the call.
    #[must_use]
    pub fn lenient(self) -> Self {
        self.handle.set_lenient();
        self
    }

    /// What was counted, and the levers that a test pulls.
    pub fn handle(&self) -> ProbeHandle {
        self.handle.clone()
    }
}

impl<Req, T, E> Service<Req> for Probe<Req, T, E> {
    type Response = T;
    type Error = E;
    type Future = ProbeFuture<T, E>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), E>> {
        self.handle.count_readiness_poll();
        if self.ready {
            return Poll::Ready(Ok(()));
        }
        if let Some(readiness) = &self.readiness {
            let said = readiness.lock().unwrap_or_else(PoisonError::into_inner)();
            match said {
                Readiness::Ready => {}
                Readiness::Later => {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Readiness::Error(error) => return Poll::Ready(Err(error)),
            }
        }
        self.ready = self.handle.reserve(cx.waker());
        if self.ready { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    fn call(&mut self, request: Req) -> ProbeFuture<T, E> {
        let ready = std::mem::take(&mut self.ready);
        let call = self.handle.begin(ready);
        let mut script = self.script.lock().unwrap_or_else(PoisonError::into_inner);
        ProbeFuture::new(script(request), call)
    }
}

impl<Req, T, E> Clone for Probe<Req, T, E> {
    fn clone(&self) -> Self {
        self.handle.count_clone();
        Self {
            script: Arc::clone(&self.script),
            readiness: self.readiness.clone(),
            handle: self.handle.clone(),
            ready: false,
        }
    }
}

impl<Req, T, E> Drop for Probe<Req, T, E> {
    fn drop(&mut self) {
        if self.ready {
            self.handle.abandon();
        }
    }
}

impl<Req, T, E> fmt::Debug for Probe<Req, T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Probe")
            .field("handle", &self.handle)
            .field("ready", &self.ready)
            .finish_non_exhaustive()
    }
}
