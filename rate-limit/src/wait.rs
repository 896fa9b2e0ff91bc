//! Waiting for cells, in turn.
//!
//! The queue is the state of the algorithm: a caller who has to wait takes its cells at once, so that
//! whoever asks later, however little, comes after it, and a large cost is not starved by small ones.
//! It then sleeps until its turn. There is nobody to wake the next one, and nobody to wait for who
//! sleeps on.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep, sleep};

use crate::{
    Allowed, RateLimiter, Rejected, TokenBucket,
    algorithm::{Algorithm, Booked},
    limiter::Acquired,
    reservation::Ticket,
};

pin_project! {
    /// Waits until cells pass; see [`RateLimiter::until_ready`].
    #[must_use = "futures do nothing unless polled"]
    pub struct UntilReady<'a, A: Algorithm = TokenBucket> {
        limiter: &'a RateLimiter<A>,
        cost: u32,
        patience: Duration,
        #[pin]
        wait: Option<Wait<A>>,
    }
}

impl<'a, A: Algorithm> UntilReady<'a, A> {
    pub(crate) fn new(limiter: &'a RateLimiter<A>, cost: u32) -> Self {
        Self { limiter, cost, patience: Duration::MAX, wait: None }
    }

    /// Waits at most so long, counted from the first poll, and fails at once when that would not do.
    pub fn within(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }
}

impl<A: Algorithm> Future for UntilReady<'_, A> {
    type Output = Result<Allowed, Rejected>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if this.wait.is_none() {
            match this.limiter.acquire(*this.cost, *this.patience)? {
                Acquired::Now(allowed) => return Poll::Ready(Ok(allowed)),
                Acquired::Later(booked) => {
                    this.wait.set(Some(Wait::new(this.limiter.clone(), booked)));
                }
            }
        }
        match this.wait.as_pin_mut() {
            Some(wait) => wait.poll(cx).map(Ok),
            None => Poll::Pending,
        }
    }
}

impl<A: Algorithm> fmt::Debug for UntilReady<'_, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UntilReady")
            .field("limiter", &self.limiter)
            .field("cost", &self.cost)
            .field("patience", &self.patience)
            .field("waiting", &self.wait.is_some())
            .finish()
    }
}

pin_project! {
    /// Waits until cells pass that a call has taken in advance. Dropped before, it gives them back.
    #[must_use = "futures do nothing unless polled"]
    pub struct Wait<A: Algorithm> {
        #[pin]
        sleep: Sleep,
        ticket: Ticket<A>,
    }
}

impl<A: Algorithm> Wait<A> {
    pub(crate) fn new(limiter: RateLimiter<A>, booked: Booked) -> Self {
        let ticket = Ticket::new(limiter, booked);
        Self { sleep: sleep(ticket.delay()), ticket }
    }
}

impl<A: Algorithm> Future for Wait<A> {
    type Output = Allowed;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Allowed> {
        let mut this = self.project();
        loop {
            ready!(this.sleep.as_mut().poll(cx));
            // Tokio's clock is not the limiter's, and it is the limiter's that counts.
            let delay = this.ticket.delay();
            if delay.is_zero() {
                this.ticket.redeem();
                let limiter = this.ticket.limiter();
                return Poll::Ready(limiter.look(0).unwrap_or_else(Allowed::despite));
            }
            this.sleep.as_mut().reset(Instant::now() + delay);
        }
    }
}

impl<A: Algorithm> fmt::Debug for Wait<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wait").field("delay", &self.ticket.delay()).finish_non_exhaustive()
    }
}
