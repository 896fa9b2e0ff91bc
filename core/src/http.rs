//! HTTP: when a call really ends, and requests that can be sent again.
//!
//! The head of a response comes early; the call ends with the body, which may fail on the way or
//! never be read. [`AtBodyEnd`] judges the head, hands the guard to a [`TrackedBody`], and the body
//! tells the guard once: at the trailers, at the end, at an error or when it is dropped, whichever
//! is first.
//!
//! # Examples
//!
//! ```
//! use std::sync::{Arc, Mutex};
//! use bytes::Bytes;
//! use http_body_util::{BodyExt, Full};
//! use seawall_core::{Guard, Outcome, Track, http::{AtBodyEnd, HttpStatus}};
//!
//! #[derive(Clone, Default)]
//! struct Log(Arc<Mutex<Vec<Outcome>>>);
//!
//! impl Guard for Log {
//!     fn finish(self, outcome: Outcome) {
//!         self.0.lock().expect("nobody panics with it").push(outcome);
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let log = Log::default();
//! let response = http::Response::builder().status(503).body(Full::<Bytes>::from("later"))?;
//! let response = AtBodyEnd(HttpStatus::new()).track(Ok::<_, std::io::Error>(response), log.clone())?;
//! // The head is there, and the call goes on in its body.
//! assert!(log.0.lock().unwrap().is_empty());
//! response.into_body().collect().await?;
//! assert_eq!(*log.0.lock().unwrap(), [Outcome::Failure]);
//! # Ok(())
//! # }
//! ```

mod body;
mod replay;
mod retry_after;

use std::{error::Error as StdError, time::Duration};

use ::http::{Response, StatusCode, response::Parts};
use ::http_body::Body;

use crate::{
    Classify, Fault, Guard, Outcome, Track,
    classify::{error_outcome, tell},
};

pub use body::{BodyEnd, ClassifyEnd, TrackedBody};
pub use replay::{Replay, ReplayBody, ReplayError, ReplayRequest};
pub use retry_after::retry_after;

/// When the outcome of a response is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict<D> {
    /// Now: the rest of the body is no part of the call.
    Now(Outcome),
    /// When the body ends, as this decides.
    AtEnd(D),
}

/// Judges a call whose response has a body. [`AtBodyEnd`] makes a [`Track`] of it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot judge a call that fails with `{E}`",
    note = "the classifiers of this crate need an error that implements `std::error::Error`; \
            for `Box<dyn Error + Send + Sync>` put `.map_err(seawall_core::BoxedError::from)` below \
            this layer"
)]
pub trait ClassifyBody<E> {
    /// Decides at the end of the body.
    type End: ClassifyEnd;

    /// The verdict on a response whose head is `head`.
    fn head(&self, head: &Parts) -> Verdict<Self::End>;

    /// Where the failure comes from that such a head tells of, as far as it does.
    fn fault(&self, head: &Parts) -> Option<Fault> {
        let _ = head;
        None
    }

    /// The outcome of a call that gave no response.
    fn error(&self, error: &E) -> Outcome;

    /// How long the callee asked to be left alone, where `head` tells, for [`Guard::retry_after`].
    /// Nothing unless it is implemented.
    fn retry_after(&self, head: &Parts) -> Option<Duration> {
        let _ = head;
        None
    }
}

/// Tells the guard when the body of the response ends.
///
/// What [`ClassifyEnd::sanitize`] takes out of headers and trailers is gone; all else passes as it
/// came.
///
/// # Cost
///
/// Allocates nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct AtBodyEnd<C>(pub C);

impl<B, E, G, C> Track<Response<B>, E, G> for AtBodyEnd<C>
where
    B: Body,
    G: Guard,
    C: ClassifyBody<E>,
{
    type Response = Response<TrackedBody<B, G, C::End>>;

    fn track(&self, result: Result<Response<B>, E>, mut guard: G) -> Result<Self::Response, E> {
        match result {
            Ok(response) => {
                let (mut head, body) = response.into_parts();
                C::End::sanitize(&mut head.headers);
                let verdict = tell_head(&self.0, &head, &mut guard);
                Ok(Response::from_parts(head, TrackedBody::new(body, guard, verdict)))
            }
            Err(error) => {
                tell(guard, self.0.error(&error), None, false);
                Err(error)
            }
        }
    }
}

/// Judges the head, and passes on what it asks for.
pub(crate) fn tell_head<E, C: ClassifyBody<E>>(
    classify: &C,
    head: &Parts,
    guard: &mut impl Guard,
) -> Verdict<C::End> {
    if let Some(fault) = classify.fault(head) {
        guard.fault(fault);
    }
    if let Some(wait) = classify.retry_after(head) {
        guard.retry_after(wait);
    }
    classify.head(head)
}

/// Judges an HTTP response by its status.
///
/// Statuses 500 to 599 are failures, and so is every error but a [`Rejection`](crate::Rejection) of
/// ours; 429 (Too Many Requests) is ignored, because the server is well and has said so; all other
/// statuses are successes. The verdict stands when the body ends or is dropped; a body that fails is
/// a failure. `Retry-After` is read from 429 and from server errors.
///
/// ```
/// use http::StatusCode;
/// use seawall_core::{Outcome, http::HttpStatus};
///
/// let status = HttpStatus::new().too_many_requests(Outcome::Failure);
/// assert_eq!(status.outcome(StatusCode::TOO_MANY_REQUESTS), Outcome::Failure);
/// assert_eq!(status.outcome(StatusCode::NOT_FOUND), Outcome::Success);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct HttpStatus {
    too_many_requests: Outcome,
}

impl HttpStatus {
    /// The rules above.
    pub const fn new() -> Self {
        Self { too_many_requests: Outcome::Ignored }
    }

    /// What 429 (Too Many Requests) counts as; ignored unless set.
    #[must_use]
    pub const fn too_many_requests(mut self, outcome: Outcome) -> Self {
        self.too_many_requests = outcome;
        self
    }

    /// The outcome of a response with this status, as far as its head tells.
    pub fn outcome(&self, status: StatusCode) -> Outcome {
        match status {
            StatusCode::TOO_MANY_REQUESTS => self.too_many_requests,
            status if status.is_server_error() => Outcome::Failure,
            _ => Outcome::Success,
        }
    }
}

impl Default for HttpStatus {
    fn default() -> Self {
        Self::new()
    }
}

/// Judges by the head alone, for [`AtResult`](crate::AtResult).
impl<B, E: StdError + 'static> Classify<Response<B>, E> for HttpStatus {
    fn classify(&self, result: Result<&Response<B>, &E>) -> Outcome {
        match result {
            Ok(response) => self.outcome(response.status()),
            Err(error) => error_outcome(error),
        }
    }

    fn retry_after(&self, result: Result<&Response<B>, &E>) -> Option<Duration> {
        let response = result.ok()?;
        retry_after::of_refusal(response.status(), response.headers())
    }
}

impl<E: StdError + 'static> ClassifyBody<E> for HttpStatus {
    type End = HttpEnd;

    fn head(&self, head: &Parts) -> Verdict<HttpEnd> {
        Verdict::AtEnd(HttpEnd(self.outcome(head.status)))
    }

    fn fault(&self, head: &Parts) -> Option<Fault> {
        matches!(head.status.as_u16(), 502..=504).then_some(Fault::Gateway)
    }

    fn error(&self, error: &E) -> Outcome {
        error_outcome(error)
    }

    fn retry_after(&self, head: &Parts) -> Option<Duration> {
        retry_after::of_refusal(head.status, &head.headers)
    }
}

/// The head's outcome, unless the body fails.
#[derive(Clone, Copy, Debug)]
pub struct HttpEnd(Outcome);

impl ClassifyEnd for HttpEnd {
    const ANSWERED_BY_HEAD: bool = true;

    fn end(self, end: BodyEnd<'_>) -> Option<Outcome> {
        Some(match end {
            BodyEnd::Error => Outcome::Failure,
            BodyEnd::Trailers(_) | BodyEnd::Complete | BodyEnd::Dropped => self.0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_server_errors_are_failures() {
        let status = HttpStatus::new();
        for (code, outcome) in [
            (200, Outcome::Success),
            (304, Outcome::Success),
            (404, Outcome::Success),
            (429, Outcome::Ignored),
            (499, Outcome::Success),
            (500, Outcome::Failure),
            (503, Outcome::Failure),
            (599, Outcome::Failure),
            (600, Outcome::Success),
        ] {
            assert_eq!(status.outcome(StatusCode::from_u16(code).unwrap()), outcome, "{code}");
        }
    }

    /// The faults that a guard is told of, with the outcome after them.
    #[derive(Clone, Default)]
    struct Faults(std::sync::Arc<std::sync::Mutex<(Vec<Fault>, Option<Outcome>)>>);

    impl Guard for Faults {
        fn fault(&mut self, fault: Fault) {
            self.0.lock().unwrap().0.push(fault);
        }
        fn finish(self, outcome: Outcome) {
            self.0.lock().unwrap().1 = Some(outcome);
        }
    }

    #[tokio::test]
    async fn a_gateways_failure_and_a_broken_body_are_told_apart() {
        use bytes::Bytes;
        use http_body_util::{BodyExt, Full, StreamBody};

        for (status, told) in
            [(500, vec![]), (502, vec![Fault::Gateway]), (504, vec![Fault::Gateway]), (505, vec![])]
        {
            let guard = Faults::default();
            let response = Response::builder().status(status).body(Full::<Bytes>::from("x"));
            let tracked = AtBodyEnd(HttpStatus::new())
                .track(Ok::<_, std::io::Error>(response.unwrap()), guard.clone());
            tracked.unwrap().into_body().collect().await.unwrap();
            assert_eq!(*guard.0.lock().unwrap(), (told, Some(Outcome::Failure)), "{status}");
        }

        let reset = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
        let frames = futures_util::stream::iter([Err::<::http_body::Frame<Bytes>, _>(reset)]);
        let guard = Faults::default();
        let response = Response::new(StreamBody::new(frames));
        let tracked =
            AtBodyEnd(HttpStatus::new()).track(Ok::<_, std::io::Error>(response), guard.clone());
        tracked.unwrap().into_body().collect().await.unwrap_err();
        assert_eq!(*guard.0.lock().unwrap(), (vec![Fault::Local], Some(Outcome::Failure)));
    }
}
