//! The future of a call through the service.

use std::{
    mem,
    pin::Pin,
    task::{Context, Poll},
};

use pin_project_lite::pin_project;
use seawall_core::{Error, Rejection, Track};

pin_project! {
    /// The future of an [`AdmitService`](crate::AdmitService).
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is done, it drops its permit, which reports an abandoned call:
    /// [`OnDrop`](crate::OnDrop) says what that counts as.
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<F, T, P> {
        #[pin]
        call: Call<F, T, P>,
    }
}

pin_project! {
    #[project = CallProj]
    #[derive(Debug)]
    enum Call<F, T, P> {
        Admitted { #[pin] inner: F, permit: Option<P>, track: T },
        Rejected { rejection: Option<Rejection> },
    }
}

impl<F, T, P> ResponseFuture<F, T, P> {
    #[inline]
    pub(crate) fn admitted(inner: F, permit: P, track: T) -> Self {
        Self { call: Call::Admitted { inner, permit: Some(permit), track } }
    }

    pub(crate) fn rejected(rejection: Rejection) -> Self {
        Self { call: Call::Rejected { rejection: Some(rejection) } }
    }
}

impl<F, T, P, R, E> Future for ResponseFuture<F, T, P>
where
    F: Future<Output = Result<R, E>>,
    T: Track<R, E, P>,
{
    type Output = Result<T::Response, Error<E>>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().call.project() {
            CallProj::Admitted { inner, permit, track } => {
                // A runtime that catches a panic drops the future only later, when nothing tells that
                // there was one.
                let unwound = DropWhenUnwound(&mut *permit);
                let result = inner.poll(cx);
                mem::forget(unwound);
                let Poll::Ready(result) = result else { return Poll::Pending };
                let permit = permit.take().expect("the future is polled after its result");
                Poll::Ready(track.track(result, permit).map_err(Error::Inner))
            }
            CallProj::Rejected { rejection } => {
                let rejection = rejection.take().expect("the future is polled after its result");
                Poll::Ready(Err(Error::Rejected(rejection)))
            }
        }
    }
}

/// Drops what it points to, unless it is forgotten.
struct DropWhenUnwound<'a, P>(&'a mut Option<P>);

impl<P> Drop for DropWhenUnwound<'_, P> {
    fn drop(&mut self) {
        *self.0 = None;
    }
}
