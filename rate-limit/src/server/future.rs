//! The future of a server's answer.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header::CONTENT_TYPE};
use pin_project_lite::pin_project;

use super::headers::{Writer, retry_after};
use crate::{Rejected, decision::Standing};

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
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
        let mut response = Response::new(B::default());
        let headers = response.headers_mut();
        writer.write(headers, &rejected.standing());
        if let Some(wait) = rejected.retry_after() {
            retry_after(headers, wait);
        }
        match content_type {
            Some(grpc) if is_grpc(grpc) => refuse_grpc(headers, rejected, grpc),
            _ => *response.status_mut() = StatusCode::TOO_MANY_REQUESTS,
        }
        Self { step: Step::Refused { response: Some(response) } }
    }
}

/// gRPC, and gRPC-Web too, which reads the status of a response without a body from its headers.
fn is_grpc(content_type: &HeaderValue) -> bool {
    content_type.as_bytes().starts_with(b"application/grpc")
}

/// Makes the headers those of a gRPC response that has nothing but trailers.
fn refuse_grpc(headers: &mut HeaderMap, rejected: Rejected, content_type: &HeaderValue) {
    headers.insert(CONTENT_TYPE, content_type.clone());
    // RESOURCE_EXHAUSTED.
    headers.insert(GRPC_STATUS, HeaderValue::from_static("8"));
    headers.insert(GRPC_MESSAGE, HeaderValue::from_static("rate limit is reached"));
    let pushback = match rejected.retry_after() {
        Some(wait) => millis_rounded_up(wait).into(),
        None => HeaderValue::from_static("-1"),
    };
    headers.insert(GRPC_PUSHBACK, pushback);
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
