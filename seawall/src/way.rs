//! The way of one call: which balancer, and which part of its endpoints.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use seawall_load_balance::{HashKey, JudgeUnsent, Resend, Tried, Unsent};
use tower_service::Service;

/// A balancer for the attempts of one call.
#[derive(Clone)]
pub(crate) struct Way<B> {
    pub(crate) balancer: B,
    pub(crate) subset: Option<Arc<str>>,
}

/// An attempt with the subset that it goes to.
pub(crate) struct Bound<A> {
    attempt: A,
    subset: Option<Arc<str>>,
}

impl<A, B: Service<Bound<A>>> Service<A> for Way<B> {
    type Response = B::Response;
    type Error = B::Error;
    type Future = B::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), B::Error>> {
        self.balancer.poll_ready(cx)
    }

    fn call(&mut self, attempt: A) -> B::Future {
        self.balancer.call(Bound { attempt, subset: self.subset.clone() })
    }
}

/// Keeps attempts as `R` does, and says where they are bound for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ResendBound<R>(pub(crate) R);

impl<A, R: Resend<A>> Resend<Bound<A>> for ResendBound<R> {
    type Kept = R::Kept;
    type Sent = R::Sent;

    fn first(&self, bound: Bound<A>) -> (R::Sent, R::Kept) {
        self.0.first(bound.attempt)
    }

    fn again(&self, kept: &mut R::Kept) -> Option<R::Sent> {
        self.0.again(kept)
    }

    fn tried(&self, bound: &Bound<A>) -> Option<Tried> {
        self.0.tried(&bound.attempt)
    }

    fn key(&self, bound: &Bound<A>) -> Option<HashKey> {
        self.0.key(&bound.attempt)
    }

    fn subset(&self, bound: &Bound<A>) -> Option<Arc<str>> {
        bound.subset.clone()
    }
}

impl<E, R: JudgeUnsent<E>> JudgeUnsent<E> for ResendBound<R> {
    fn unsent(&self, error: &E) -> Unsent {
        self.0.unsent(error)
    }
}
