//! Cells that are taken now and pass later.

use std::time::Duration;

use crate::{
    RateLimiter, TokenBucket,
    algorithm::{Algorithm, Booked},
};

/// Cells that are taken, with the time from which the caller may act on them.
///
/// Dropping it keeps the cells.
#[derive(Debug)]
#[must_use = "a reservation that is dropped keeps its cells"]
pub struct Reservation<A: Algorithm = TokenBucket> {
    limiter: RateLimiter<A>,
    booked: Booked,
}

impl<A: Algorithm> Reservation<A> {
    pub(crate) fn new(limiter: RateLimiter<A>, booked: Booked) -> Self {
        Self { limiter, booked }
    }

    /// How long the caller has yet to wait; zero when it may act.
    pub fn delay(&self) -> Duration {
        self.booked.ready().saturating_since(self.limiter.now())
    }

    /// Gives back what later reservations have not built on; nothing once the delay is over.
    pub fn cancel(self) {
        self.limiter.unbook(&self.booked);
    }
}

/// Cells that are given back when their holder stops waiting for them.
#[derive(Debug)]
pub(crate) struct Ticket<A: Algorithm> {
    limiter: RateLimiter<A>,
    booked: Booked,
    used: bool,
}

impl<A: Algorithm> Ticket<A> {
    pub(crate) fn new(limiter: RateLimiter<A>, booked: Booked) -> Self {
        Self { limiter, booked, used: false }
    }

    pub(crate) fn delay(&self) -> Duration {
        self.booked.ready().saturating_since(self.limiter.now())
    }

    pub(crate) fn limiter(&self) -> &RateLimiter<A> {
        &self.limiter
    }

    pub(crate) fn redeem(&mut self) {
        self.used = true;
    }
}

impl<A: Algorithm> Drop for Ticket<A> {
    fn drop(&mut self) {
        if !self.used {
            self.limiter.unbook(&self.booked);
        }
    }
}
