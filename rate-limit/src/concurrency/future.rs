//! The future of a call.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use pin_project_lite::pin_project;
use seawall_core::{Error, Rejection, Track};
use tower_service::Service;

use super::{Acquire, Permit};

/// States the rule of every future.
const POLLED_AFTER_END: &str = "a future is not polled after its end";

pin_project! {
    /// The future of a [`ConcurrencyService`](super::ConcurrencyService).
    ///
    /// # Cancel safety
    ///
    /// Dropped while it waits it frees its place, dropped while it calls its permit.
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<S: Service<Req>, Req, T> {
        #[pin]
        step: Step<S, Req, T, S::Future>,
    }
}

pin_project! {
    #[project = StepProj]
    enum Step<S, Req, T, F> {
        Rejected { rejection: Option<Rejection> },
        Waiting {
            #[pin]
            acquire: Acquire,
            call: Option<(S, Req, T)>,
        },
        MakingReady { call: Option<(S, Req, T, Permit)> },
        Calling {
            #[pin]
            response: F,
            permit: Option<Permit>,
            track: T,
        },
    }
}

impl<S: Service<Req>, Req, T> ResponseFuture<S, Req, T> {
    #[inline]
    pub(super) fn calling(response: S::Future, permit: Permit, track: T) -> Self {
        Self { step: Step::Calling { response, permit: Some(permit), track } }
    }

    pub(super) fn waiting(acquire: Acquire, inner: S, request: Req, track: T) -> Self {
        Self { step: Step::Waiting { acquire, call: Some((inner, request, track)) } }
    }

    pub(super) fn rejected(rejection: Rejection) -> Self {
        Self { step: Step::Rejected { rejection: Some(rejection) } }
    }
}

impl<S, Req, T> Future for ResponseFuture<S, Req, T>
where
    S: Service<Req>,
    T: Track<S::Response, S::Error, Permit>,
{
    type Output = Result<T::Response, Error<S::Error>>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let next = match this.step.as_mut().project() {
                StepProj::Calling { response, permit, track } => {
                    let result = ready!(response.poll(cx));
                    let permit = permit.take().expect(POLLED_AFTER_END);
                    return Poll::Ready(track.track(result, permit).map_err(Error::Inner));
                }
                StepProj::Rejected { rejection } => {
                    let rejection = rejection.take().expect(POLLED_AFTER_END);
                    return Poll::Ready(Err(rejection.into()));
                }
                StepProj::Waiting { acquire, call } => {
                    let permit = ready!(acquire.poll(cx))?;
                    let (inner, request, track) = call.take().expect(POLLED_AFTER_END);
                    Step::MakingReady { call: Some((inner, request, track, permit)) }
                }
                StepProj::MakingReady { call: slot } => {
                    let (inner, ..) = slot.as_mut().expect(POLLED_AFTER_END);
                    if let Err(error) = ready!(inner.poll_ready(cx)) {
                        // Nothing was called, so that there is nothing to learn from it.
                        if let Some((.., permit)) = slot.take() {
                            permit.ignore();
                        }
                        return Poll::Ready(Err(Error::Inner(error)));
                    }
                    let (mut inner, request, track, mut permit) =
                        slot.take().expect("it was there a line ago");
                    permit.restart();
                    Step::Calling { response: inner.call(request), permit: Some(permit), track }
                }
            };
            this.step.set(next);
        }
    }
}

impl<S: Service<Req>, Req, T> fmt::Debug for ResponseFuture<S, Req, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let step = match &self.step {
            Step::Rejected { .. } => "rejected",
            Step::Waiting { .. } => "waiting for its turn",
            Step::MakingReady { .. } => "waiting for the service",
            Step::Calling { .. } => "calling",
        };
        f.debug_tuple("ResponseFuture").field(&step).finish()
    }
}
