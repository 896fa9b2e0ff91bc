//! The future of a call.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use pin_project_lite::pin_project;
use seawall_core::{Error, Rejection};
use tower_service::Service;

use super::{Asked, Asking, Head, Told};

pin_project! {
    /// The future of a [`LearnService`](super::LearnService).
    #[must_use = "futures do nothing unless polled"]
    pub struct LearnFuture<S: Service<Req>, Req> {
        #[pin]
        step: Step<S, Req, S::Future>,
    }
}

pin_project! {
    #[project = StepProj]
    enum Step<S, Req, F> {
        Rejected { rejection: Option<Rejection> },
        Waiting {
            #[pin]
            asking: Asking,
            call: Option<(S, Req)>,
        },
        MakingReady { call: Option<(S, Req, Asked)> },
        Calling {
            #[pin]
            response: F,
            asked: Option<Asked>,
        },
    }
}

impl<S: Service<Req>, Req> LearnFuture<S, Req> {
    pub(super) fn calling(response: S::Future, asked: Asked) -> Self {
        Self { step: Step::Calling { response, asked: Some(asked) } }
    }

    pub(super) fn waiting(asking: Asking, inner: S, request: Req) -> Self {
        Self { step: Step::Waiting { asking, call: Some((inner, request)) } }
    }

    pub(super) fn rejected(rejection: Rejection) -> Self {
        Self { step: Step::Rejected { rejection: Some(rejection) } }
    }
}

const ENDED: &str = "a future is not polled after its end";

impl<S, Req> Future for LearnFuture<S, Req>
where
    S: Service<Req, Response: Head>,
{
    type Output = Result<S::Response, Error<S::Error>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let next = match this.step.as_mut().project() {
                StepProj::Calling { response, asked } => {
                    let response = ready!(response.poll(cx)).map_err(Error::Inner);
                    // A call that gave no response told nothing.
                    if let (Some(asked), Ok(response)) = (asked.take(), &response) {
                        asked.told(&Told::read(response.status(), response.headers()));
                    }
                    return Poll::Ready(response);
                }
                StepProj::Rejected { rejection } => {
                    return Poll::Ready(Err(rejection.take().expect(ENDED).into()));
                }
                StepProj::Waiting { asking, call } => {
                    let asked = ready!(asking.poll(cx))?;
                    let (inner, request) = call.take().expect(ENDED);
                    Step::MakingReady { call: Some((inner, request, asked)) }
                }
                StepProj::MakingReady { call } => {
                    let (inner, ..) = call.as_mut().expect(ENDED);
                    ready!(inner.poll_ready(cx)).map_err(Error::Inner)?;
                    let (mut inner, request, asked) = call.take().expect("it was there a line ago");
                    Step::Calling { response: inner.call(request), asked: Some(asked) }
                }
            };
            this.step.set(next);
        }
    }
}

impl<S: Service<Req>, Req> fmt::Debug for LearnFuture<S, Req> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let step = match &self.step {
            Step::Rejected { .. } => "rejected",
            Step::Waiting { .. } => "waiting for the peer's limit",
            Step::MakingReady { .. } => "waiting for the service",
            Step::Calling { .. } => "calling",
        };
        f.debug_tuple("LearnFuture").field(&step).finish()
    }
}
