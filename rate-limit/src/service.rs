//! The service.

use std::{
    mem,
    task::{Context, Poll},
    time::Duration,
};

use seawall_core::Error;
use tower_service::Service;

use crate::{Cost, Limit, One, RateLimiter, Rejected, ResponseFuture};

/// Lets calls through to a service as a shared [`RateLimiter`] allows. Made by a
/// [`RateLimitLayer`](crate::RateLimitLayer).
///
/// It is ready when the service inside is. What that one reserved for a call that is then refused, or
/// has to wait, is given back: the instance is replaced by a clone.
#[derive(Clone, Debug)]
pub struct RateLimitService<S, L = RateLimiter, C = One> {
    inner: S,
    limiter: L,
    patience: Duration,
    cost: C,
}

impl<S, L, C> RateLimitService<S, L, C> {
    pub(crate) fn new(inner: S, limiter: L, patience: Duration, cost: C) -> Self {
        Self { inner, limiter, patience, cost }
    }

    /// Gives the ready instance back, and with it what it holds for a call that never comes.
    fn refuse<Req>(&mut self, rejected: Rejected) -> ResponseFuture<S, Req, L>
    where
        S: Service<Req> + Clone,
        L: Limit<Req>,
    {
        self.inner = self.inner.clone();
        ResponseFuture::rejected(self.limiter.rejection(rejected))
    }

    /// The service inside.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    /// The limiter.
    pub fn limiter(&self) -> &L {
        &self.limiter
    }
}

impl<S, L, C, Req> Service<Req> for RateLimitService<S, L, C>
where
    S: Service<Req> + Clone,
    L: Limit<Req>,
    C: Cost<Req>,
{
    type Response = S::Response;
    type Error = Error<S::Error>;
    type Future = ResponseFuture<S, Req, L>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx).map_err(Error::Inner)
    }

    #[inline]
    fn call(&mut self, request: Req) -> Self::Future {
        let cost = self.cost.cost(&request);
        match self.limiter.acquire(&request, cost, self.patience) {
            Ok(None) => ResponseFuture::calling(self.inner.call(request)),
            Ok(Some(turn)) => {
                // The ready instance goes, and with it what it holds; whoever waits gets one that is
                // made ready after the wait.
                let inner = self.inner.clone();
                drop(mem::replace(&mut self.inner, inner.clone()));
                ResponseFuture::waiting(self.limiter.wait(turn), inner, request)
            }
            // It passes as soon as its wait is no longer than the patience.
            Err(rejected) => self.refuse(rejected.sooner_by(self.patience)),
        }
    }
}
