//! What the benches share.
//!
//! The benches are in `benches/`, one per area; the program `report` turns what criterion measured
//! into `README.md`.

#![forbid(unsafe_code)]

use std::{
    convert::Infallible,
    future::{Future, Ready, ready},
    hint,
    pin::pin,
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
    task::{Context, Poll, Waker},
    thread,
    time::{Duration, Instant},
};

use tower_service::Service;

/// Measures what a call costs while two threads hammer one shared object: for `iter_custom` of
/// criterion, which makes it the time per call per thread.
///
/// Each thread makes itself a caller with `caller`, inside the thread: the place to clone a handle.
/// Both then start together and make `iterations` calls each. The answer is the mean of the two
/// threads' times, so that a scheduler that takes one of them off its core for a while weighs half.
///
/// ```
/// use std::{hint::black_box, sync::atomic::{AtomicU64, Ordering::Relaxed}};
/// use seawall_benches::two_threads;
///
/// let shared = AtomicU64::new(0);
/// // In a bench: `b.iter_custom(|iterations| two_threads(iterations, || || ...))`.
/// two_threads(1_000, || {
///     let handle = &shared;
///     move || {
///         black_box(handle.fetch_add(1, Relaxed));
///     }
/// });
/// assert_eq!(shared.into_inner(), 2_000);
/// ```
///
/// # Panics
///
/// When a call does.
pub fn two_threads<F: FnMut()>(iterations: u64, caller: impl Fn() -> F + Sync) -> Duration {
    let waiting = AtomicUsize::new(2);
    let run = || {
        let mut call = caller();
        // A futex would wake the second thread microseconds after the first began.
        waiting.fetch_sub(1, SeqCst);
        while waiting.load(SeqCst) > 0 {
            hint::spin_loop();
        }
        timed(|| (0..iterations).for_each(|_| call()))
    };
    thread::scope(|scope| {
        let threads = [scope.spawn(run), scope.spawn(run)];
        let times = threads.map(|thread| match thread.join() {
            Ok(time) => time,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        (times[0] + times[1]) / 2
    })
}

/// How long `work` takes.
#[expect(clippy::disallowed_methods, reason = "a bench measures real time")]
pub fn timed(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

/// The output of a future that needs nothing but to be polled once: no runtime takes part in what
/// is measured.
///
/// # Panics
///
/// When the future waits for something.
#[inline]
pub fn ready_now<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("a benched future waits"),
    }
}

/// A service that answers its request at once, so that the difference to it is a layer's cost.
#[derive(Clone, Copy, Debug)]
pub struct Bare;

impl<Req> Service<Req> for Bare {
    type Response = Req;
    type Error = Infallible;
    type Future = Ready<Result<Req, Infallible>>;

    #[inline]
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    #[inline]
    fn call(&mut self, request: Req) -> Self::Future {
        ready(Ok(hint::black_box(request)))
    }
}

/// One call of a service: ready, call, response.
///
/// # Errors
///
/// Those of the service.
///
/// # Panics
///
/// When the service waits for something.
#[inline]
pub fn call_now<S: Service<Req>, Req>(
    service: &mut S,
    request: Req,
) -> Result<S::Response, S::Error> {
    match service.poll_ready(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(ready) => ready?,
        Poll::Pending => panic!("a benched service is not ready"),
    }
    ready_now(service.call(request))
}
