//! The future of a server's answer.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use http::{HeaderName, HeaderValue, Response, StatusCode};
use pin_project_lite::pin_project;

use super::{
    headers::{Writer, retry_after},
    refusal::{is_grpc, refusal},
};
use crate::{Rejected, decision::Standing};

/// When to try again, in milliseconds; negative means never
/// ([gRFC A6](https://github.com/grpc/proposal/blob/master/A6-client-retries.md)).
const GRPC_PUSHBACK: HeaderName = HeaderName::from_static("grpc-retry-pushback-ms");

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
            writer: Arc<Writer>,
            standing: Standing,
        },
    }
}

impl<F, B> ServerFuture<F, B> {
    pub(super) fn calling(response: F, writer: Arc<Writer>, standing: Standing) -> Self {
        Self { step: Step::Calling { response, writer, standing } }
    }

    pub(super) fn refused(
        rejected: Rejected,
        content_type: Option<&HeaderValue>,
        writer: &Writer,
    ) -> Self
    where
        B: Default,
    {
        let status = StatusCode::TOO_MANY_REQUESTS;
        let mut response = refusal(content_type, status, "rate limit is reached");
        let headers = response.headers_mut();
        writer.write(headers, &rejected.standing());
        if let Some(wait) = rejected.retry_after() {
            retry_after(headers, wait);
        }
        if content_type.is_some_and(is_grpc) {
            headers.insert(GRPC_PUSHBACK, pushback(rejected));
        }
        Self { step: Step::Refused { response: Some(response) } }
    }
}

fn pushback(rejected: Rejected) -> HeaderValue {
    match rejected.retry_after() {
        Some(wait) => millis_rounded_up(wait).into(),
        None => HeaderValue::from_static("-1"),
    }
}

/// gRPC reads 32 bits.
fn millis_rounded_up(wait: Duration) -> i32 {
    i32::try_from(wait.as_nanos().div_ceil(1_000_000)).unwrap_or(i32::MAX)
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
            StepProj::Calling { response, writer, standing } => {
                let mut response = ready!(response.poll(cx))?;
                writer.write(response.headers_mut(), standing);
                Poll::Ready(Ok(response))
            }
        }
    }
}
