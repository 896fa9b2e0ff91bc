//! HTTP requests that can be sent again.

use ::http::Request;
use ::http_body::Body;
use seawall_core::http::{ReplayBody, ReplayRequest};

use crate::{HashKey, JudgeUnsent, Resend, Tried, Unsent, resend::rejected};

/// Keeps what was sent of an HTTP request, up to 64 KiB of its body, so that another endpoint can
/// have it; takes a [`Tried`] and a [`HashKey`] from its extensions.
///
/// A request goes elsewhere after a refusal by a layer of ours. Which other errors prove that
/// nothing was sent depends on the client below: there are adapters for `tonic` and `reqwest`.
///
/// # Cost
///
/// One allocation for the body, and a copy of the headers for each attempt.
#[derive(Clone, Copy, Debug, Default)]
pub struct Replay;

impl<B: Body + Unpin> Resend<Request<B>> for Replay {
    type Kept = ReplayRequest<B>;
    type Sent = Request<ReplayBody<B>>;

    fn first(&self, request: Request<B>) -> (Self::Sent, Self::Kept) {
        let kept = ReplayRequest::new(request);
        let sent = kept.attempt().expect("nothing of it was sent yet");
        (sent, kept)
    }

    fn again(&self, kept: &mut Self::Kept) -> Option<Self::Sent> {
        kept.attempt()
    }

    fn tried(&self, request: &Request<B>) -> Option<Tried> {
        request.extensions().get().cloned()
    }

    fn key(&self, request: &Request<B>) -> Option<HashKey> {
        request.extensions().get().copied()
    }
}

impl<E: std::error::Error + 'static> JudgeUnsent<E> for Replay {
    fn unsent(&self, error: &E) -> Unsent {
        rejected(error).unwrap_or(Unsent::No)
    }
}
