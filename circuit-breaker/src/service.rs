//! The tower service.

use std::{
    mem,
    task::{Context, Poll},
};

use seawall_core::{Admission, Error, Foretell, Track};
use tower_service::Service;

use crate::{Admit, CircuitBreaker, ResponseFuture};

/// A service behind a [`CircuitBreaker`]. Clones share the breaker.
pub type CircuitBreakerService<S, T> = AdmitService<CircuitBreaker, S, T>;

/// A service behind an [`Admit`]: a breaker, a registry of them, a throttle. Clones share it.
///
/// `poll_ready` never fails on its account, and leaves the service inside alone while every call
/// would be refused. The permit is taken in `call`, because a ready service may idle for long. What
/// the service inside reserved for a call that is refused there goes back with a clone that takes its
/// place, or, after [`new`](Self::new), serves the next call.
///
/// # Cost
///
/// No allocation, no lock while a breaker is closed. A permit that lives in a future counts a
/// reference to the breaker. A refusal of a call for which the service inside was made ready clones
/// that.
#[derive(Clone, Debug)]
pub struct AdmitService<A, S, T> {
    inner: S,
    admit: A,
    track: T,
    /// Lets go of what `inner` reserved; does nothing where that takes a `Clone` it has not.
    give_back: fn(&mut S),
    /// `inner` was asked to get ready, and may hold something for a call.
    asked: bool,
    /// The last `poll_ready` left `inner` alone, because every call would be refused.
    skipped: bool,
}

impl<A, S, T> AdmitService<A, S, T> {
    /// Puts `inner` behind `admit`; `track` says when a call ends and how.
    ///
    /// What `inner` reserved for a call that is then refused, it keeps for the next one, unless
    /// [`give_back`](Self::give_back) follows.
    pub fn new(inner: S, admit: A, track: T) -> Self {
        Self { inner, admit, track, give_back: |_| (), asked: false, skipped: false }
    }

    /// Has what the service inside reserved for a call that is refused go back: a clone of it takes
    /// its place.
    #[must_use]
    pub fn give_back(mut self) -> Self
    where
        S: Clone,
    {
        self.give_back = |inner| *inner = inner.clone();
        self
    }

    /// Who is asked before each call.
    pub fn admit(&self) -> &A {
        &self.admit
    }

    /// The service inside.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    fn let_go(&mut self) {
        if mem::take(&mut self.asked) {
            (self.give_back)(&mut self.inner);
        }
    }
}

impl<S, T> AdmitService<CircuitBreaker, S, T> {
    /// The breaker.
    pub fn breaker(&self) -> &CircuitBreaker {
        &self.admit
    }
}

/// Asks the breaker alone.
impl<S, T> Foretell for AdmitService<CircuitBreaker, S, T> {
    #[inline]
    fn admission(&self) -> Admission {
        self.admit.admission()
    }
}

impl<A, S, T, Req> Service<Req> for AdmitService<A, S, T>
where
    S: Service<Req>,
    A: Admit<Req>,
    T: Track<S::Response, S::Error, A::Permit> + Clone,
{
    type Response = T::Response;
    type Error = Error<S::Error>;
    type Future = ResponseFuture<S::Future, T, A::Permit>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.skipped = !self.admit.would_admit();
        if self.skipped {
            self.let_go();
            return Poll::Ready(Ok(()));
        }
        self.asked = true;
        self.inner.poll_ready(cx).map_err(Error::Inner)
    }

    #[inline]
    fn call(&mut self, request: Req) -> Self::Future {
        if self.skipped {
            // A call may be admitted by now, but the service inside is not ready.
            return ResponseFuture::rejected(self.admit.refuse(&request));
        }
        match self.admit.admit(&request) {
            Ok(permit) => {
                self.asked = false;
                ResponseFuture::admitted(self.inner.call(request), permit, self.track.clone())
            }
            Err(rejected) => {
                self.let_go();
                ResponseFuture::rejected(self.admit.rejection(rejected))
            }
        }
    }
}
