//! A body that carries a guard to the end of the call.
//!
//! What real clients do with a response body, each of which must tell the guard exactly once:
//!
//! - tonic stops polling at the trailers frame and never asks for the `None` after it;
//! - tonic's `Body::new` drops a body at once that is at its end already;
//! - reqwest and hyper may stop after the last frame of a `Content-Length` body;
//! - hyper ends an HTTP/2 stream that was reset with NO_ERROR as if it were complete;
//! - callers drop a body half-way, or never look at it.
//!
//! So the guard is told at the first of: trailers, end, error, `is_end_stream()`, drop.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use ::http::HeaderMap;
use ::http_body::{Body, Frame, SizeHint};
use bytes::Buf;
use pin_project_lite::pin_project;

use super::Verdict;
use crate::{Fault, Guard, Outcome};

/// How a body ended.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum BodyEnd<'a> {
    /// With these trailers.
    Trailers(&'a HeaderMap),
    /// After the last byte, without trailers.
    Complete,
    /// In an error, such as a reset connection, or short of the length that it promised.
    Error,
    /// Its reader dropped it before it ended.
    Dropped,
}

/// Decides the outcome of a call at the end of its response's body.
pub trait ClassifyEnd {
    /// Whether the head of the response is the answer, for [`Guard::answered`]; else it is the
    /// first frame of the body.
    const ANSWERED_BY_HEAD: bool;

    /// The outcome of a call whose body ended like this; `None` when the caller abandoned it.
    fn end(self, end: BodyEnd<'_>) -> Option<Outcome>;

    /// Where the failure comes from that such an end tells of, as far as it does.
    fn fault(&self, end: &BodyEnd<'_>) -> Option<Fault> {
        let _ = end;
        None
    }

    /// Takes out of the headers or trailers of a response what would harm its reader.
    ///
    /// Called before they are judged and before the caller sees them. Does nothing unless it is
    /// implemented.
    fn sanitize(headers: &mut HeaderMap) {
        let _ = headers;
    }

    /// How long the callee asked to be left alone, where `trailers` tell, for
    /// [`Guard::retry_after`]. Nothing unless it is implemented.
    fn retry_after(trailers: &HeaderMap) -> Option<Duration> {
        let _ = trailers;
        None
    }
}

pin_project! {
    /// A response body that tells a [`Guard`] how and when the call ended.
    ///
    /// Dropping the body before its end is an end too: what that counts as is for `D` to say.
    #[must_use = "a body that is dropped ends the call"]
    pub struct TrackedBody<B, G: Guard, D: ClassifyEnd> {
        #[pin]
        body: B,
        call: Call<G, D>,
        received: bool,
    }
}

impl<B: Body, G: Guard, D: ClassifyEnd> TrackedBody<B, G, D> {
    /// Hands `guard` to `body`, or tells it at once where there is nothing to wait for.
    pub fn new(body: B, mut guard: G, verdict: Verdict<D>) -> Self {
        let call = match verdict {
            Verdict::Now(outcome) => {
                guard.answered();
                guard.finish(outcome);
                Call { pending: None, answered: true }
            }
            Verdict::AtEnd(end) => {
                let mut call = Call { pending: Some((guard, end)), answered: false };
                if D::ANSWERED_BY_HEAD {
                    call.answered();
                }
                if body.is_end_stream() {
                    call.end(BodyEnd::Complete);
                }
                call
            }
        };
        Self { body, call, received: false }
    }
}

impl<B: Body, G: Guard, D: ClassifyEnd> Body for TrackedBody<B, G, D> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let mut this = self.project();
        let mut frame = ready!(this.body.as_mut().poll_frame(cx));
        match &mut frame {
            None => {
                // hyper makes an orderly end of an HTTP/2 stream that was reset with NO_ERROR. A body
                // of which nothing came may be that of a HEAD: a length, but none of it to come.
                let short = *this.received && this.body.size_hint().lower() > 0;
                this.call.end(if short { BodyEnd::Error } else { BodyEnd::Complete });
            }
            Some(Err(_)) => this.call.end(BodyEnd::Error),
            Some(Ok(frame)) => {
                this.call.answered();
                *this.received |= frame.data_ref().is_some_and(Buf::has_remaining);
                if let Some(trailers) = frame.trailers_mut() {
                    D::sanitize(trailers);
                    this.call.end(BodyEnd::Trailers(trailers));
                } else if this.body.is_end_stream() {
                    // Nobody needs to poll again to learn that this was the last frame.
                    this.call.end(BodyEnd::Complete);
                }
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<B: fmt::Debug, G: Guard, D: ClassifyEnd> fmt::Debug for TrackedBody<B, G, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TrackedBody")
            .field("body", &self.body)
            .field("ended", &self.call.pending.is_none())
            .finish()
    }
}

/// A call that waits for its end. `pending` is taken by whoever tells the guard, so that it is told
/// once.
struct Call<G: Guard, D: ClassifyEnd> {
    pending: Option<(G, D)>,
    answered: bool,
}

impl<G: Guard, D: ClassifyEnd> Call<G, D> {
    fn answered(&mut self) {
        if !self.answered {
            self.answered = true;
            if let Some((guard, _)) = &mut self.pending {
                guard.answered();
            }
        }
    }

    fn end(&mut self, end: BodyEnd<'_>) {
        if let Some((mut guard, decide)) = self.pending.take() {
            // A body that ends in order without a frame has answered by ending.
            if !self.answered && matches!(end, BodyEnd::Complete | BodyEnd::Trailers(_)) {
                guard.answered();
            }
            if let BodyEnd::Trailers(trailers) = end
                && let Some(wait) = D::retry_after(trailers)
            {
                guard.retry_after(wait);
            }
            let fault = match end {
                BodyEnd::Error => Some(Fault::Local),
                _ => decide.fault(&end),
            };
            if let Some(fault) = fault {
                guard.fault(fault);
            }
            match decide.end(end) {
                Some(outcome) => guard.finish(outcome),
                None => drop(guard),
            }
        }
    }
}

impl<G: Guard, D: ClassifyEnd> Drop for Call<G, D> {
    fn drop(&mut self) {
        self.end(BodyEnd::Dropped);
    }
}
