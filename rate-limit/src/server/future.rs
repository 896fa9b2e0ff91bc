//! The future of a server's answer.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::{HeaderMap, HeaderValue, Response, StatusCode};
use pin_project_lite::pin_project;
use seawall_core::Rejection;

use super::{
    headers::{Told, retry_after},
    refusal::{is_grpc, refusal},
};

pin_project! {
    /// The future of a [`ServerService`](super::ServerService).
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct ServerFuture<F, B> {
        #[pin]
        step: Step<F, B>,
    }
}

pin_project! {
    #[derive(Debug)]
    #[project = StepProj]
    enum Step<F, B> {
        Refused { response: Option<Response<B>> },
        Calling {
            #[pin]
            response: F,
            told: Option<Told>,
        },
    }
}

impl<F, B> ServerFuture<F, B> {
    pub(super) fn calling(response: F, told: Option<Told>) -> Self {
        Self { step: Step::Calling { response, told } }
    }

    pub(super) fn refused(
        rejection: &Rejection,
        content_type: Option<&HeaderValue>,
        told: &Told,
    ) -> Self
    where
        B: Default,
    {
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
        Self { step: Step::Refused { response: Some(response) } }
    }
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

impl<F, B, E> Future for ServerFuture<F, B>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = Result<Response<B>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().step.project() {
            StepProj::Refused { response } => {
                let response = response.take().expect("a future is not polled after its end");
                Poll::Ready(Ok(response))
            }
            StepProj::Calling { response, told } => {
                let mut response = ready!(response.poll(cx))?;
                if let Some(told) = told {
                    told.write(response.headers_mut());
                }
                Poll::Ready(Ok(response))
            }
        }
    }
}
