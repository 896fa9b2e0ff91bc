//! The service for clients.

use std::{
    mem,
    task::{Context, Poll},
};

use seawall_core::{Error, Track};
use tower_service::Service;

use super::{ConcurrencyLimit, Permit, ResponseFuture, events::Refusal};

/// Lets as many calls through to a service as a shared [`ConcurrencyLimit`] allows. Made by a
/// [`ConcurrencyLayer`](super::ConcurrencyLayer).
///
/// It is ready when the service inside is. What that one reserved for a call that is then refused, or
/// has to wait, is given back: the instance is replaced by a clone.
#[derive(Clone, Debug)]
pub struct ConcurrencyService<S, T> {
    inner: S,
    limit: ConcurrencyLimit,
    track: T,
}

impl<S, T> ConcurrencyService<S, T> {
    /// Puts `inner` behind `limit`; `track` says when a call ends and how.
    pub fn new(inner: S, limit: ConcurrencyLimit, track: T) -> Self {
        Self { inner, limit, track }
    }

    /// The service inside.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    /// The limit.
    pub fn limit(&self) -> &ConcurrencyLimit {
        &self.limit
    }
}

impl<S, T, Req> Service<Req> for ConcurrencyService<S, T>
where
    S: Service<Req> + Clone,
    T: Track<S::Response, S::Error, Permit> + Clone,
{
    type Response = T::Response;
    type Error = Error<S::Error>;
    type Future = ResponseFuture<S, Req, T>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx).map_err(Error::Inner)
    }

    #[inline]
    fn call(&mut self, request: Req) -> Self::Future {
        if let Some(permit) = self.limit.admit() {
            return ResponseFuture::calling(self.inner.call(request), permit, self.track.clone());
        }
        // The ready instance goes, and with it what it holds for a call that comes later or never.
        let inner = self.inner.clone();
        if !self.limit.queues() {
            self.inner = inner;
            return ResponseFuture::rejected(self.limit.refuse(Refusal::Full));
        }
        drop(mem::replace(&mut self.inner, inner.clone()));
        ResponseFuture::waiting(self.limit.acquire(), inner, request, self.track.clone())
    }
}
