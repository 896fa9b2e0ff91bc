//! The service that a generated client calls.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use ::tonic::Status;
use pin_project_lite::pin_project;
use tower_service::Service;

use super::error_status;
use crate::BoxError;

/// Turns the errors of a channel into a [`Status`], so that a generated client shows a refusal of
/// ours with the right code; the error is its `source()`.
///
/// The tonic adapters of the Seawall crates end in one of these.
#[derive(Clone, Copy, Debug)]
pub struct StatusService<S> {
    inner: S,
}

impl<S> StatusService<S> {
    /// Wraps `inner`.
    pub fn new(inner: S) -> Self {
        Self { inner }
    }

    /// The service inside.
    pub fn inner(&self) -> &S {
        &self.inner
    }
}

impl<S, Req> Service<Req> for StatusService<S>
where
    S: Service<Req>,
    S::Error: Into<BoxError>,
{
    type Response = S::Response;
    type Error = Status;
    type Future = StatusFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        self.inner.poll_ready(cx).map_err(|error| error_status(error.into()))
    }

    fn call(&mut self, request: Req) -> Self::Future {
        StatusFuture { inner: self.inner.call(request) }
    }
}

pin_project! {
    /// The future of a [`StatusService`].
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct StatusFuture<F> {
        #[pin]
        inner: F,
    }
}

impl<F, R, E> Future for StatusFuture<F>
where
    F: Future<Output = Result<R, E>>,
    E: Into<BoxError>,
{
    type Output = Result<R, Status>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let result = ready!(self.project().inner.poll(cx));
        Poll::Ready(result.map_err(|error| error_status(error.into())))
    }
}
