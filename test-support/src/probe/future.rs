//! The answer of a probe.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::time::Sleep;

use super::Reply;
use super::ledger::Call;

/// The future that a [`Probe`](super::Probe) returns. Dropped before its answer, it counts as
/// cancelled.
#[must_use = "futures do nothing unless polled"]
pub struct ProbeFuture<T, E> {
    wait: Wait,
    result: Option<Result<T, E>>,
    call: Call,
}

enum Wait {
    Nothing,
    Time(Pin<Box<Sleep>>),
    Release(u64),
    Forever,
}

impl<T, E> ProbeFuture<T, E> {
    pub(super) fn new(reply: Reply<T, E>, mut call: Call) -> Self {
        let (wait, result) = match reply {
            Reply::Now(result) => (Wait::Nothing, Some(result)),
            Reply::After(time, result) => {
                (Wait::Time(Box::pin(tokio::time::sleep(time))), Some(result))
            }
            Reply::Held(result) => (Wait::Release(call.hold()), Some(result)),
            Reply::Never => (Wait::Forever, None),
        };
        Self { wait, result, call }
    }
}

// The result is moved out, never pinned.
impl<T, E> Unpin for ProbeFuture<T, E> {}

impl<T, E> Future for ProbeFuture<T, E> {
    type Output = Result<T, E>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        match &mut this.wait {
            Wait::Nothing => {}
            Wait::Time(sleep) => ready!(sleep.as_mut().poll(cx)),
            Wait::Release(ticket) => ready!(this.call.poll_released(*ticket, cx.waker())),
            Wait::Forever => return Poll::Pending,
        }
        let result = this.result.take().expect("the future is polled after its answer");
        this.call.complete();
        Poll::Ready(result)
    }
}

impl<T, E> fmt::Debug for ProbeFuture<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProbeFuture").field("call", &self.call).finish_non_exhaustive()
    }
}
