//! The tower service.

use std::task::{Context, Poll};

use seawall_core::{Error, Track};
use tower_service::Service;

use crate::{CircuitBreaker, OwnedPermit, ResponseFuture};

/// A service behind a [`CircuitBreaker`]. Clones share the breaker.
///
/// `poll_ready` never fails on the breaker's account, and leaves the service inside alone while the
/// breaker refuses. The permit is taken in `call`, because a ready service may idle for long. A call
/// that is refused there leaves the service inside ready for the next one.
///
/// # Cost
///
/// No allocation, no lock while the breaker is closed. A permit that lives in a future counts a
/// reference to the breaker.
#[derive(Clone, Debug)]
pub struct CircuitBreakerService<S, T> {
    inner: S,
    breaker: CircuitBreaker,
    track: T,
    /// The last `poll_ready` found the breaker refusing and left `inner` alone.
    skipped: bool,
}

impl<S, T> CircuitBreakerService<S, T> {
    /// Puts `inner` behind `breaker`; `track` says when a call ends and how.
    pub fn new(inner: S, breaker: CircuitBreaker, track: T) -> Self {
        Self { inner, breaker, track, skipped: false }
    }

    /// The breaker.
    pub fn breaker(&self) -> &CircuitBreaker {
        &self.breaker
    }

    /// The service inside.
    pub fn inner(&self) -> &S {
        &self.inner
    }
}

impl<S, T, Req> Service<Req> for CircuitBreakerService<S, T>
where
    S: Service<Req>,
    T: Track<S::Response, S::Error, OwnedPermit> + Clone,
{
    type Response = T::Response;
    type Error = Error<S::Error>;
    type Future = ResponseFuture<S::Future, T>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.skipped = !self.breaker.would_admit();
        if self.skipped {
            return Poll::Ready(Ok(()));
        }
        self.inner.poll_ready(cx).map_err(Error::Inner)
    }

    #[inline]
    fn call(&mut self, request: Req) -> Self::Future {
        if self.skipped {
            // The breaker may admit by now, but the service inside is not ready.
            return ResponseFuture::rejected(self.breaker.refuse());
        }
        match self.breaker.admit_owned() {
            Ok(permit) => {
                ResponseFuture::admitted(self.inner.call(request), permit, self.track.clone())
            }
            Err(rejected) => ResponseFuture::rejected(self.breaker.rejection(rejected)),
        }
    }
}
