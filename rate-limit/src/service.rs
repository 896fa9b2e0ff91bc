//! The service.

use std::{
    mem,
    task::{Context, Poll},
    time::Duration,
};

use seawall_core::Error;
use tower_service::Service;

use crate::{
    RateLimiter, Rejected, ResponseFuture, TokenBucket, algorithm::Algorithm, limiter::Acquired,
};

/// Lets calls through to a service as a shared [`RateLimiter`] allows. Made by a
/// [`RateLimitLayer`](crate::RateLimitLayer).
///
/// It is ready when the service inside is. What that one reserved for a call that is then refused, or
/// has to wait, is given back: the instance is replaced by a clone.
#[derive(Clone, Debug)]
pub struct RateLimitService<S, A: Algorithm = TokenBucket> {
    inner: S,
    limiter: RateLimiter<A>,
    patience: Duration,
}

impl<S, A: Algorithm> RateLimitService<S, A> {
    pub(crate) fn new(inner: S, limiter: RateLimiter<A>, patience: Duration) -> Self {
        Self { inner, limiter, patience }
    }

    /// Gives the ready instance back, and with it what it holds for a call that never comes.
    fn refuse<Req>(&mut self, rejected: Rejected) -> ResponseFuture<S, Req, A>
    where
        S: Service<Req> + Clone,
    {
        self.inner = self.inner.clone();
        ResponseFuture::rejected(self.limiter.rejection(rejected))
    }

    /// The service inside.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    /// The limiter.
    pub fn limiter(&self) -> &RateLimiter<A> {
        &self.limiter
    }
}

impl<S, A, Req> Service<Req> for RateLimitService<S, A>
where
    S: Service<Req> + Clone,
    A: Algorithm,
{
    type Response = S::Response;
    type Error = Error<S::Error>;
    type Future = ResponseFuture<S, Req, A>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx).map_err(Error::Inner)
    }

    #[inline]
    fn call(&mut self, request: Req) -> Self::Future {
        match self.limiter.acquire(1, self.patience) {
            Ok(Acquired::Now(_)) => ResponseFuture::calling(self.inner.call(request)),
            Ok(Acquired::Later(booked)) => {
                // The ready instance goes, and with it what it holds; whoever waits gets one that is
                // made ready after the wait.
                let inner = self.inner.clone();
                drop(mem::replace(&mut self.inner, inner.clone()));
                ResponseFuture::waiting(self.limiter.clone(), booked, inner, request)
            }
            Err(rejected) => self.refuse(rejected),
        }
    }
}
