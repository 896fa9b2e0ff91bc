//! What a layer asks: a limiter, or one for each key of the requests.

use std::{
    future::{Future, Ready},
    time::Duration,
};

use seawall_core::Rejection;

use crate::{
    Allowed, Quota, RateLimiter, Rejected,
    algorithm::{Algorithm, Booked},
    limiter::Acquired,
    wait::Wait,
};

/// Decides on requests: a [`RateLimiter`], or a [`KeyedLimiter`](crate::KeyedLimiter)
/// [by](crate::KeyedLimiter::by) a key of the request.
pub trait Limit<Req>: Clone {
    /// A turn that is taken and still to come.
    type Turn;
    /// Waits for that turn. Dropped before, it gives the turn back.
    type Wait: Future;
    /// Asks elsewhere, where the answer is not known here.
    type Asking: Future<Output = Admission>;

    /// Takes `cost` cells now, or a turn within `patience`.
    ///
    /// # Errors
    ///
    /// When the wait would be longer; nothing has changed then.
    fn acquire(
        &self,
        request: &Req,
        cost: u32,
        patience: Duration,
    ) -> Result<Option<Self::Turn>, Rejected>;

    /// Waits for `turn`.
    fn wait(&self, turn: Self::Turn) -> Self::Wait;

    /// Whether the call passes after this wait: always, where a turn is taken and only still to come.
    ///
    /// # Errors
    ///
    /// When what was waited for is an answer, and that is a refusal.
    fn passed(waited: <Self::Wait as Future>::Output) -> Result<(), Rejection> {
        let _ = waited;
        Ok(())
    }

    /// Takes `cost` cells now or not at all, for a server that tells its callers how they stand.
    fn admit(&self, request: &Req, cost: u32) -> Admitted<Self::Asking>;

    /// `rejected` in the words that all crates share.
    fn rejection(&self, rejected: Rejected) -> Rejection;

    /// What it limits to where no key says otherwise; the first of several.
    fn quota(&self) -> Quota;

    /// All that it limits to, in the order of their places.
    fn quotas(&self) -> Vec<Quota> {
        vec![self.quota()]
    }

    /// Its name, if it has one.
    fn name(&self) -> Option<&str>;
}

/// What a server answers a request.
#[derive(Clone, Copy, Debug)]
pub enum Admission {
    /// The limit does not apply to it.
    Unlimited,
    /// It was decided by this quota, of several by the one that the answer names.
    Limited(Quota, Result<Allowed, Rejected>),
}

/// When a server knows what it answers.
#[derive(Debug)]
pub enum Admitted<F> {
    /// Now.
    Now(Admission),
    /// When this is done.
    Later(F),
}

impl<A: Algorithm, Req> Limit<Req> for RateLimiter<A> {
    type Turn = Booked;
    type Wait = Wait<A>;
    type Asking = Ready<Admission>;

    #[inline]
    fn acquire(&self, _: &Req, cost: u32, patience: Duration) -> Result<Option<Booked>, Rejected> {
        // The answer to a call that passes is not asked for, and so not put together.
        match self.take(cost) {
            Ok(_) if !self.is_watching() => Ok(None),
            taken => Ok(match self.acquire_after(taken, cost, patience)? {
                Acquired::Now(_) => None,
                Acquired::Later(booked) => Some(booked),
            }),
        }
    }

    fn wait(&self, turn: Booked) -> Wait<A> {
        Wait::new(self.clone(), turn)
    }

    fn admit(&self, _: &Req, cost: u32) -> Admitted<Self::Asking> {
        let answer = self.check_n(cost);
        let index = answer.as_ref().map_or_else(Rejected::index, Allowed::index);
        let of_several = || Self::quotas(self).get(index).copied();
        let quota = (index > 0).then(of_several).flatten();
        let quota = quota.unwrap_or_else(|| Self::quota(self));
        Admitted::Now(Admission::Limited(quota, answer))
    }

    fn rejection(&self, rejected: Rejected) -> Rejection {
        Self::rejection(self, rejected)
    }

    fn quota(&self) -> Quota {
        Self::quota(self)
    }

    fn quotas(&self) -> Vec<Quota> {
        Self::quotas(self)
    }

    fn name(&self) -> Option<&str> {
        Self::name(self)
    }
}

/// How many cells a request costs.
///
/// Implemented for functions of the request; one of cost 0 always passes.
pub trait Cost<Req> {
    /// The cells that `request` takes.
    fn cost(&self, request: &Req) -> u32;
}

impl<Req, F: Fn(&Req) -> u32> Cost<Req> for F {
    #[inline]
    fn cost(&self, request: &Req) -> u32 {
        self(request)
    }
}

/// Each request costs one cell.
#[derive(Clone, Copy, Debug, Default)]
pub struct One;

impl<Req> Cost<Req> for One {
    #[inline]
    fn cost(&self, _: &Req) -> u32 {
        1
    }
}
