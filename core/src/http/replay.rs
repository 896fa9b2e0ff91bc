//! A request body that can be sent again.
//!
//! A lazy channel reports a failed dial only after it took the request, and a retry comes after the
//! server has seen some of it; streaming bodies are not `Clone`. So what is sent is kept, up to a
//! bound, and a further attempt sends the kept part first and then goes on with the source.

use std::{
    error::Error as StdError,
    fmt,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use ::http::{HeaderMap, Request};
use ::http_body::{Body, Frame, SizeHint};
use bytes::{Buf, Bytes};

/// How much of a body is kept unless set: 64 KiB, as in linkerd2-proxy.
const DEFAULT_LIMIT_BYTES: usize = 64 * 1024;

/// The original of a request body, of which any number of attempts can be made.
///
/// An attempt can be made for as long as all that was sent so far is kept. Attempts may overlap, as
/// those of a hedged call do: each sees the whole body.
///
/// # Cost
///
/// One allocation, and no copy of the data where the source yields `Bytes`. A short lock for each
/// frame, which only attempts of the same call contend for.
#[derive(Debug)]
pub struct Replay<B> {
    shared: Arc<Shared<B>>,
}

impl<B: Body + Unpin> Replay<B> {
    /// Keeps at most 64 KiB of `body`.
    pub fn new(body: B) -> Self {
        Self::with_limit(body, DEFAULT_LIMIT_BYTES)
    }

    /// Keeps at most `limit_bytes` of `body`; a body that sends more can be sent only once.
    pub fn with_limit(body: B, limit_bytes: usize) -> Self {
        let state = State {
            source: Source::Open(body),
            limit_bytes,
            kept: Vec::new(),
            kept_bytes: 0,
            forgotten: 0,
            trailers: None,
            waiting: Vec::new(),
            attempts: 0,
        };
        Self { shared: Arc::new(Shared { state: Mutex::new(state) }) }
    }

    /// The body for one more attempt; `None` when a part that was sent is not kept, or when the
    /// source failed.
    pub fn attempt(&self) -> Option<ReplayBody<B>> {
        attempt(&self.shared)
    }

    /// Whether [`attempt`](Self::attempt) would give a body now.
    pub fn is_replayable(&self) -> bool {
        self.shared.lock().replayable()
    }
}

/// A request that can be sent again: its head is cloned, its body replayed.
#[derive(Debug)]
pub struct ReplayRequest<B> {
    head: Request<()>,
    body: Replay<B>,
}

impl<B: Body + Unpin> ReplayRequest<B> {
    /// Keeps the head and at most 64 KiB of the body.
    pub fn new(request: Request<B>) -> Self {
        let (head, body) = request.into_parts();
        Self { head: Request::from_parts(head, ()), body: Replay::new(body) }
    }

    /// The request for one more attempt, if its body can be sent again.
    pub fn attempt(&self) -> Option<Request<ReplayBody<B>>> {
        let body = self.body.attempt()?;
        Some(self.head.clone().map(|()| body))
    }

    /// The head that every attempt gets.
    pub fn head(&self) -> &Request<()> {
        &self.head
    }
}

/// The body of one attempt.
///
/// # Cancel safety
///
/// Dropping it loses nothing: what it read from the source is kept for the other attempts, and
/// those that wait for the source are woken.
#[derive(Debug)]
#[must_use = "a body does nothing until it is polled"]
pub struct ReplayBody<B> {
    shared: Arc<Shared<B>>,
    /// Tells the attempts apart among those that wait.
    number: u64,
    /// The frame to send next, counted from the start of the body.
    next: usize,
    /// Everything was sent, trailers included, or the attempt has failed.
    done: bool,
}

impl<B: Body + Unpin> ReplayBody<B> {
    /// The body for one more attempt, from the start, as [`Replay::attempt`] gives it.
    pub fn again(&self) -> Option<Self> {
        attempt(&self.shared)
    }
}

impl<B: Body + Unpin> Body for ReplayBody<B> {
    type Data = Bytes;
    type Error = ReplayError<B::Error>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = &mut *self;
        if this.done {
            return Poll::Ready(None);
        }
        let mut state = this.shared.lock();
        let polled = state.poll_next(this.next, this.number, cx);
        let Poll::Ready(frame) = &polled else {
            return Poll::Pending;
        };
        match frame {
            Some(Ok(frame)) if frame.is_data() => this.next += 1,
            _ => this.done = true,
        }
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        wake_others(waiting, this.number);
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.done || self.shared.lock().ends_at(self.next)
    }

    fn size_hint(&self) -> SizeHint {
        self.shared.lock().size_hint_from(self.next)
    }
}

impl<B> Drop for ReplayBody<B> {
    fn drop(&mut self) {
        // The source may hold the waker of this attempt alone.
        let waiting = std::mem::take(&mut self.shared.lock().waiting);
        wake_others(waiting, self.number);
    }
}

fn attempt<B: Body + Unpin>(shared: &Arc<Shared<B>>) -> Option<ReplayBody<B>> {
    let mut state = shared.lock();
    if !state.replayable() {
        return None;
    }
    state.attempts += 1;
    let number = state.attempts;
    Some(ReplayBody { shared: shared.clone(), number, next: 0, done: false })
}

/// Called without the lock: whoever is woken may want it.
fn wake_others(waiting: Vec<(u64, Waker)>, number: u64) {
    waiting.into_iter().filter(|(other, _)| *other != number).for_each(|(_, waker)| waker.wake());
}

/// What can end the body of an attempt early.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReplayError<E> {
    /// The source of the request body failed.
    Source(E),
    /// Another attempt sent more than is kept, and this one had not caught up; or the source failed
    /// under another attempt.
    Lost,
}

impl<E: fmt::Display> fmt::Display for ReplayError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Source(error) => error.fmt(f),
            Self::Lost => f.write_str("request body can no longer be sent again"),
        }
    }
}

impl<E: StdError + 'static> StdError for ReplayError<E> {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Source(error) => Some(error),
            Self::Lost => None,
        }
    }
}

type ReplayFrame<B> = Result<Frame<Bytes>, ReplayError<<B as Body>::Error>>;

#[derive(Debug)]
struct Shared<B> {
    state: Mutex<State<B>>,
}

impl<B> Shared<B> {
    /// A source that panicked has left nothing half-done of ours.
    fn lock(&self) -> MutexGuard<'_, State<B>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug)]
enum Source<B> {
    Open(B),
    Ended,
    Failed,
}

#[derive(Debug)]
struct State<B> {
    source: Source<B>,
    limit_bytes: usize,
    kept: Vec<Bytes>,
    kept_bytes: usize,
    /// Frames that were sent and are not kept; they precede those in `kept`.
    forgotten: usize,
    trailers: Option<HeaderMap>,
    /// Attempts that wait for the source, which remembers only the last one that polled it.
    waiting: Vec<(u64, Waker)>,
    /// How many attempts were made.
    attempts: u64,
}

impl<B> State<B> {
    fn replayable(&self) -> bool {
        self.forgotten == 0 && !matches!(self.source, Source::Failed)
    }

    /// How many frames were taken from the source.
    fn taken(&self) -> usize {
        self.forgotten + self.kept.len()
    }

    fn keep(&mut self, data: &Bytes) {
        self.kept_bytes += data.len();
        // Once a frame is missing, keeping later ones serves nobody.
        if self.forgotten == 0 && self.kept_bytes <= self.limit_bytes {
            self.kept.push(data.clone());
        } else {
            self.forgotten = self.taken() + 1;
            self.kept = Vec::new();
        }
    }
}

impl<B: Body + Unpin> State<B> {
    /// Frame `next` for attempt `number`, from what is kept or from the source.
    fn poll_next(
        &mut self,
        next: usize,
        number: u64,
        cx: &mut Context<'_>,
    ) -> Poll<Option<ReplayFrame<B>>> {
        if next < self.forgotten {
            return Poll::Ready(Some(Err(ReplayError::Lost)));
        }
        if let Some(data) = self.kept.get(next - self.forgotten) {
            return Poll::Ready(Some(Ok(Frame::data(data.clone()))));
        }
        let source = match &mut self.source {
            Source::Open(source) => source,
            Source::Ended => {
                return Poll::Ready(self.trailers.clone().map(|t| Ok(Frame::trailers(t))));
            }
            Source::Failed => return Poll::Ready(Some(Err(ReplayError::Lost))),
        };
        let polled = Pin::new(source).poll_frame(cx);
        if polled.is_pending() {
            self.waiting.retain(|(other, _)| *other != number);
            self.waiting.push((number, cx.waker().clone()));
            return Poll::Pending;
        }
        polled.map(|frame| self.take(frame))
    }

    /// Notes what the source gave, for this attempt and for those to come.
    fn take(&mut self, frame: Option<Result<Frame<B::Data>, B::Error>>) -> Option<ReplayFrame<B>> {
        let frame = match frame {
            None => {
                self.source = Source::Ended;
                return None;
            }
            Some(Err(error)) => {
                self.source = Source::Failed;
                return Some(Err(ReplayError::Source(error)));
            }
            Some(Ok(frame)) => frame,
        };
        match frame.into_data() {
            Ok(mut data) => {
                let data = data.copy_to_bytes(data.remaining());
                self.keep(&data);
                Some(Ok(Frame::data(data)))
            }
            Err(frame) => {
                self.trailers = frame.into_trailers().ok();
                self.source = Source::Ended;
                self.trailers.clone().map(|trailers| Ok(Frame::trailers(trailers)))
            }
        }
    }

    /// Whether an attempt that comes to frame `next` has sent everything.
    fn ends_at(&self, next: usize) -> bool {
        next == self.taken()
            && match &self.source {
                Source::Open(source) => source.is_end_stream(),
                Source::Ended => self.trailers.is_none(),
                Source::Failed => false,
            }
    }

    fn size_hint_from(&self, next: usize) -> SizeHint {
        let kept = self.kept.iter().skip(next.saturating_sub(self.forgotten));
        let kept_bytes: u64 = kept.map(|data| data.len() as u64).sum();
        let rest = match &self.source {
            Source::Open(source) => source.size_hint(),
            Source::Ended | Source::Failed => SizeHint::with_exact(0),
        };
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower().saturating_add(kept_bytes));
        if let Some(upper) = rest.upper().and_then(|upper| upper.checked_add(kept_bytes)) {
            hint.set_upper(upper);
        }
        hint
    }
}
