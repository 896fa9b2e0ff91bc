//! A request body that can be sent again.
//!
//! A lazy channel reports a failed dial only after it took the request, and a retry comes after the
//! server has seen some of it; streaming bodies are not `Clone`. So what is sent is kept, up to a
//! bound, and a further attempt sends the kept part first and then goes on with the source.

mod state;

use std::{
    error::Error as StdError,
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use ::http::Request;
use ::http_body::{Body, Frame, SizeHint};
use bytes::Bytes;

use self::state::Shared;

/// How much of a body is kept unless set: 64 KiB, as in linkerd2-proxy.
const DEFAULT_LIMIT_BYTES: usize = 64 * 1024;

/// The original of a request body, of which any number of attempts can be made.
///
/// An attempt can be made for as long as all that was sent so far is kept. Attempts may overlap, as
/// those of a hedged call do: each sees the whole body.
///
/// # Cost
///
/// One allocation, and no copy of the data where the source yields `Bytes`; what is kept is the
/// source's own buffers. The list of kept frames grows as they are sent, 32 bytes for each, and a
/// second attempt allocates once more. A short lock for each frame, which only attempts of the same
/// call contend for.
///
/// # Examples
///
/// ```
/// use http_body_util::{BodyExt, Full};
/// use seawall_core::http::Replay;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let replay = Replay::new(Full::<bytes::Bytes>::from("order 7"));
/// let first = replay.attempt().ok_or("nothing was sent yet")?;
/// // The server died half-way, so the caller sends it to another one.
/// drop(first.collect().await?);
/// let second = replay.attempt().ok_or("more was sent than is kept")?;
/// assert_eq!(second.collect().await?.to_bytes(), "order 7");
/// # Ok(())
/// # }
/// ```
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
        Self { shared: Arc::new(Shared::new(body, limit_bytes)) }
    }

    /// The body for one more attempt; `None` when a part that was sent is not kept, or when the
    /// source failed.
    pub fn attempt(&self) -> Option<ReplayBody<B>> {
        ReplayBody::open(&self.shared)
    }

    /// Whether [`attempt`](Self::attempt) would give a body now.
    pub fn is_replayable(&self) -> bool {
        self.shared.lock().is_replayable()
    }
}

/// Shows no data: requests hold secrets, and logs are read by many.
impl<B> fmt::Debug for Replay<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replay").field("state", &self.shared).finish()
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
/// # Errors
///
/// [`ReplayError`]: the source's own error, told to the attempt that read it, or
/// [`Lost`](ReplayError::Lost).
///
/// # Cancel safety
///
/// Dropping it loses nothing: what it read from the source is kept for the other attempts, which go
/// on by themselves.
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
        Self::open(&self.shared)
    }

    fn open(shared: &Arc<Shared<B>>) -> Option<Self> {
        let number = shared.lock().open()?;
        Some(Self { shared: shared.clone(), number, next: 0, done: false })
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
        let (polled, later) = this.shared.lock().poll_next(this.next, this.number, cx.waker());
        later.run();
        if let Poll::Ready(frame) = &polled {
            match frame.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref()) {
                // Empty frames carry nothing, are not kept and do not count.
                Some(data) => this.next += usize::from(!data.is_empty()),
                None => this.done = true,
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.done || self.shared.lock().ends_at(self.next)
    }

    fn size_hint(&self) -> SizeHint {
        if self.done {
            return SizeHint::with_exact(0);
        }
        self.shared.lock().size_hint_from(self.next)
    }
}

impl<B> Drop for ReplayBody<B> {
    fn drop(&mut self) {
        let later = self.shared.lock().close(self.number);
        later.run();
    }
}

/// Shows no data, as for [`Replay`].
impl<B> fmt::Debug for ReplayBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplayBody")
            .field("attempt", &self.number)
            .field("next", &self.next)
            .field("done", &self.done)
            .field("state", &self.shared)
            .finish()
    }
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
