//! The future of a server's answer.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header::CONTENT_TYPE};
use pin_project_lite::pin_project;
use seawall_core::Rejection;
use tower_service::Service;

use super::{
    headers::{Told, retry_after},
    layer::Desk,
    refusal::{is_grpc, refusal},
};
use crate::Limit;

pin_project! {
    /// The future of a [`ServerService`](super::ServerService).
    #[must_use = "futures do nothing unless polled"]
    pub struct ServerFuture<S: Service<Request<Req>>, Req, L: Limit<Request<Req>>, B> {
        #[pin]
        step: Step<S, Req, L, S::Future, L::Asking, B>,
    }
}

pin_project! {
    #[project = StepProj]
    enum Step<S, Req, L, F, A, B> {
        Refused { response: Option<Response<B>> },
        Asking {
            #[pin]
            asking: A,
            desk: Desk<L>,
            call: Option<(S, Request<Req>)>,
        },
        MakingReady {
            call: Option<(S, Request<Req>)>,
            told: Option<Told>,
        },
        Calling {
            #[pin]
            response: F,
            told: Option<Told>,
        },
    }
}

impl<S, Req, L, B> ServerFuture<S, Req, L, B>
where
    S: Service<Request<Req>>,
    L: Limit<Request<Req>>,
{
    pub(super) fn calling(response: S::Future, told: Option<Told>) -> Self {
        Self { step: Step::Calling { response, told } }
    }

    pub(super) fn asking(
        asking: L::Asking,
        desk: Desk<L>,
        inner: S,
        request: Request<Req>,
    ) -> Self {
        Self { step: Step::Asking { asking, desk, call: Some((inner, request)) } }
    }

    pub(super) fn refused(
        rejection: &Rejection,
        content_type: Option<&HeaderValue>,
        told: &Told,
    ) -> Self
    where
        B: Default,
    {
        Self { step: Step::Refused { response: Some(answer(rejection, content_type, told)) } }
    }
}

fn answer<B: Default>(
    rejection: &Rejection,
    content_type: Option<&HeaderValue>,
    told: &Told,
) -> Response<B> {
    let status = StatusCode::TOO_MANY_REQUESTS;
    let mut response = refusal(content_type, status, "rate limit is reached");
    let headers = response.headers_mut();
    told.write(headers);
    if let Some(wait) = rejection.retry_after() {
        retry_after(headers, wait);
    }
    if content_type.is_some_and(is_grpc) {
        push_back(headers, rejection);
    }
    response
}

/// When to try again, in `grpc-retry-pushback-ms` and in `google.rpc.RetryInfo`.
#[cfg(feature = "tonic")]
fn push_back(headers: &mut HeaderMap, rejection: &Rejection) {
    // What cannot be written is left out: the status stands without it.
    let _ = seawall_core::tonic::rejection_status(rejection).add_header(headers);
}

/// When to try again, in milliseconds; negative means never
/// ([gRFC A6](https://github.com/grpc/proposal/blob/master/A6-client-retries.md)).
#[cfg(not(feature = "tonic"))]
fn push_back(headers: &mut HeaderMap, rejection: &Rejection) {
    let millis = rejection.retry_after().map(|wait| wait.as_nanos().div_ceil(1_000_000));
    // gRPC reads 32 bits.
    let millis = millis.map_or(-1, |millis| i32::try_from(millis).unwrap_or(i32::MAX));
    headers.insert("grpc-retry-pushback-ms", millis.into());
}

impl<S, Req, L, B> Future for ServerFuture<S, Req, L, B>
where
    S: Service<Request<Req>, Response = Response<B>>,
    L: Limit<Request<Req>>,
    B: Default,
{
    type Output = Result<Response<B>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let next = match this.step.as_mut().project() {
                StepProj::Refused { response } => {
                    let response = response.take().expect("a future is not polled after its end");
                    return Poll::Ready(Ok(response));
                }
                StepProj::Asking { asking, desk, call } => {
                    let decision = desk.decide(ready!(asking.poll(cx)));
                    let call = call.take();
                    match decision {
                        Ok(told) => Step::MakingReady { call, told },
                        Err((told, rejection)) => {
                            let request = call.as_ref().map(|(_, request)| request);
                            let kind = request.and_then(|it| it.headers().get(CONTENT_TYPE));
                            Step::Refused { response: Some(answer(&rejection, kind, &told)) }
                        }
                    }
                }
                StepProj::MakingReady { call, told } => {
                    let (inner, _) = call.as_mut().expect("a future is not polled after its end");
                    ready!(inner.poll_ready(cx))?;
                    let (mut inner, request) = call.take().expect("it was there a line ago");
                    Step::Calling { response: inner.call(request), told: told.take() }
                }
                StepProj::Calling { response, told } => {
                    let mut response = ready!(response.poll(cx))?;
                    if let Some(told) = told {
                        told.write(response.headers_mut());
                    }
                    return Poll::Ready(Ok(response));
                }
            };
            this.step.set(next);
        }
    }
}

impl<S, Req, L, B> fmt::Debug for ServerFuture<S, Req, L, B>
where
    S: Service<Request<Req>>,
    L: Limit<Request<Req>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let step = match &self.step {
            Step::Refused { .. } => "refused",
            Step::Asking { .. } => "asking",
            Step::MakingReady { .. } => "waiting for the service",
            Step::Calling { .. } => "calling",
        };
        f.debug_tuple("ServerFuture").field(&step).finish()
    }
}
