//! The future of a call.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use pin_project_lite::pin_project;
use seawall_core::{Error, Rejection};
use tower_service::Service;

use crate::Limit;

pin_project! {
    /// The future of a [`RateLimitService`](crate::RateLimitService). Dropped while it waits for its
    /// turn, it gives the turn back.
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<S: Service<Req>, Req, L: Limit<Req>> {
        #[pin]
        step: Step<S, Req, L::Wait, S::Future>,
    }
}

pin_project! {
    #[project = StepProj]
    enum Step<S, Req, W, F> {
        Rejected { rejection: Option<Rejection> },
        // In a box, because a wait is large, and every call would be as large as one that waits.
        Waiting { wait: Pin<Box<W>>, call: Option<(S, Req)> },
        MakingReady { call: Option<(S, Req)> },
        Calling {
            #[pin]
            response: F,
        },
    }
}

impl<S: Service<Req>, Req, L: Limit<Req>> ResponseFuture<S, Req, L> {
    #[inline]
    pub(crate) fn calling(response: S::Future) -> Self {
        Self { step: Step::Calling { response } }
    }

    pub(crate) fn waiting(wait: L::Wait, inner: S, request: Req) -> Self {
        Self { step: Step::Waiting { wait: Box::pin(wait), call: Some((inner, request)) } }
    }

    pub(crate) fn rejected(rejection: Rejection) -> Self {
        Self { step: Step::Rejected { rejection: Some(rejection) } }
    }
}

impl<S: Service<Req>, Req, L: Limit<Req>> Future for ResponseFuture<S, Req, L> {
    type Output = Result<S::Response, Error<S::Error>>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let next = match this.step.as_mut().project() {
                StepProj::Calling { response } => {
                    return response.poll(cx).map_err(Error::Inner);
                }
                StepProj::Rejected { rejection } => {
                    let rejection = rejection.take().expect("a future is not polled after its end");
                    return Poll::Ready(Err(rejection.into()));
                }
                StepProj::Waiting { wait, call } => {
                    L::passed(ready!(wait.as_mut().poll(cx)))?;
                    Step::MakingReady { call: call.take() }
                }
                StepProj::MakingReady { call } => {
                    let (inner, _) = call.as_mut().expect("a future is not polled after its end");
                    ready!(inner.poll_ready(cx)).map_err(Error::Inner)?;
                    let (mut inner, request) = call.take().expect("it was there a line ago");
                    Step::Calling { response: inner.call(request) }
                }
            };
            this.step.set(next);
        }
    }
}

impl<S: Service<Req>, Req, L: Limit<Req>> fmt::Debug for ResponseFuture<S, Req, L> {
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
