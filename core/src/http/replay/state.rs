//! What the attempts of one call share.
//!
//! Two locks, taken in this order: the state's, held while the source is polled, and the one around
//! the waiting attempts, held for a push or a take and never while somebody is woken.

use std::{
    fmt,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Wake, Waker},
};

use ::http::HeaderMap;
use ::http_body::{Body, Frame, SizeHint};
use bytes::{Buf, Bytes};

use super::ReplayError;

pub(super) type ReplayFrame<B> = Result<Frame<Bytes>, ReplayError<<B as Body>::Error>>;

pub(super) struct Shared<B> {
    state: Mutex<State<B>>,
}

impl<B> Shared<B> {
    pub(super) fn new(source: B, limit_bytes: usize) -> Self {
        let state = State {
            source: Source::Open(source),
            limit_bytes,
            kept: Vec::new(),
            kept_bytes: 0,
            forgotten: 0,
            trailers: None,
            attempts: 0,
            parked: None,
            waiting: None,
        };
        Self { state: Mutex::new(state) }
    }

    /// A source that panicked has left nothing half-done of ours.
    pub(super) fn lock(&self) -> MutexGuard<'_, State<B>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<B> fmt::Debug for Shared<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.lock();
        f.debug_struct("State")
            .field("attempts", &state.attempts)
            .field("kept_bytes", &state.kept.iter().map(Bytes::len).sum::<usize>())
            .field("limit_bytes", &state.limit_bytes)
            .field("replayable", &state.is_replayable())
            .finish_non_exhaustive()
    }
}

enum Source<B> {
    Open(B),
    Ended,
    Failed,
}

pub(super) struct State<B> {
    source: Source<B>,
    limit_bytes: usize,
    /// None of them is empty.
    kept: Vec<Bytes>,
    /// What was taken from the source, kept or not.
    kept_bytes: usize,
    /// Frames that were sent and are not kept; they precede those in `kept`.
    forgotten: usize,
    trailers: Option<HeaderMap>,
    /// How many attempts were made.
    attempts: u64,
    /// The waker of the first attempt, while it is the only one.
    parked: Option<Waker>,
    /// The attempts that wait for the source, once there has been a second one.
    waiting: Option<Arc<Waiting>>,
}

impl<B> State<B> {
    pub(super) fn is_replayable(&self) -> bool {
        self.forgotten == 0 && !matches!(self.source, Source::Failed)
    }

    /// The number of one more attempt, if there can be one.
    pub(super) fn open(&mut self) -> Option<u64> {
        if !self.is_replayable() {
            return None;
        }
        self.attempts += 1;
        if self.attempts == 2 {
            let waiting = Waiting::default();
            waiting.lock().extend(self.parked.take().map(|waker| (1, waker)));
            self.waiting = Some(Arc::new(waiting));
        }
        Some(self.attempts)
    }

    /// An attempt is dropped.
    pub(super) fn close(&mut self, number: u64) -> Later {
        Later {
            // The source wakes the others by itself, but for one that panicked under this attempt.
            wake: self.waiting.as_ref().map(|waiting| waiting.take()).unwrap_or_default(),
            by: number,
            stale: self.parked.take(),
        }
    }

    /// How many frames were taken from the source.
    fn taken(&self) -> usize {
        self.forgotten + self.kept.len()
    }

    fn keep(&mut self, data: &Bytes) {
        // A sum that saturates is above any limit that memory can hold.
        self.kept_bytes = self.kept_bytes.saturating_add(data.len());
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
    pub(super) fn poll_next(
        &mut self,
        next: usize,
        number: u64,
        waker: &Waker,
    ) -> (Poll<Option<ReplayFrame<B>>>, Later) {
        let known = |frame| (Poll::Ready(frame), Later::default());
        if next < self.forgotten {
            return known(Some(Err(ReplayError::Lost)));
        }
        if let Some(data) = self.kept.get(next - self.forgotten) {
            return known(Some(Ok(Frame::data(data.clone()))));
        }
        let source = match &mut self.source {
            Source::Open(source) => source,
            Source::Ended => return known(self.trailers.clone().map(|t| Ok(Frame::trailers(t)))),
            Source::Failed => return known(Some(Err(ReplayError::Lost))),
        };
        let Some(waiting) = &self.waiting else {
            let polled = Pin::new(source).poll_frame(&mut Context::from_waker(waker));
            let stale = match &self.parked {
                Some(parked) if parked.will_wake(waker) => None,
                _ if polled.is_pending() => self.parked.replace(waker.clone()),
                _ => None,
            };
            let polled = polled.map(|frame| self.take(frame));
            return (polled, Later { stale, ..Later::default() });
        };
        // Before the poll: the source may wake at once.
        let stale = waiting.register(number, waker);
        let all = Waker::from(waiting.clone());
        let polled = Pin::new(source).poll_frame(&mut Context::from_waker(&all));
        // What this attempt took, the others need not wait for any longer.
        let wake = if polled.is_ready() { waiting.take() } else { Vec::new() };
        (polled.map(|frame| self.take(frame)), Later { wake, by: number, stale })
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
                // A source of empty frames only would grow the list without a bound.
                if !data.is_empty() {
                    self.keep(&data);
                }
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
    pub(super) fn ends_at(&self, next: usize) -> bool {
        next == self.taken()
            && match &self.source {
                Source::Open(source) => source.is_end_stream(),
                Source::Ended => self.trailers.is_none(),
                Source::Failed => false,
            }
    }

    pub(super) fn size_hint_from(&self, next: usize) -> SizeHint {
        // An attempt that will fail has no size that a client could announce.
        let Some(sent) = next.checked_sub(self.forgotten) else {
            return SizeHint::default();
        };
        let rest = match &self.source {
            Source::Open(source) => source.size_hint(),
            Source::Ended => SizeHint::with_exact(0),
            Source::Failed => return SizeHint::default(),
        };
        let kept_bytes: u64 = self.kept.iter().skip(sent).map(|data| data.len() as u64).sum();
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower().saturating_add(kept_bytes));
        if let Some(upper) = rest.upper().and_then(|upper| upper.checked_add(kept_bytes)) {
            hint.set_upper(upper);
        }
        hint
    }
}

/// The attempts that wait for the source.
///
/// A source remembers only the last waker that it was polled with. Were that the waker of one
/// attempt, the others would depend on its task to poll again, which it does not while its
/// connection is stuck. So the source gets this, which wakes them all.
#[derive(Default)]
struct Waiting(Mutex<Vec<(u64, Waker)>>);

impl Waiting {
    fn lock(&self) -> MutexGuard<'_, Vec<(u64, Waker)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the waker that the attempt had before, to be dropped without a lock.
    fn register(&self, number: u64, waker: &Waker) -> Option<Waker> {
        let mut waiting = self.lock();
        match waiting.iter_mut().find(|(other, _)| *other == number) {
            Some((_, before)) if before.will_wake(waker) => None,
            Some((_, before)) => Some(std::mem::replace(before, waker.clone())),
            None => {
                waiting.push((number, waker.clone()));
                None
            }
        }
    }

    fn take(&self) -> Vec<(u64, Waker)> {
        std::mem::take(&mut self.lock())
    }
}

impl Wake for Waiting {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.take().into_iter().for_each(|(_, waker)| waker.wake());
    }
}

/// What is left to do once the lock is released: waking a task or dropping its waker may run code
/// that wants the lock.
#[derive(Default)]
#[must_use]
pub(super) struct Later {
    wake: Vec<(u64, Waker)>,
    /// The attempt that causes this and needs no waking.
    by: u64,
    stale: Option<Waker>,
}

impl Later {
    pub(super) fn run(self) {
        drop(self.stale);
        for (number, waker) in self.wake {
            if number != self.by {
                waker.wake();
            }
        }
    }
}
