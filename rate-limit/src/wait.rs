//! Waiting for cells, in turn.
//!
//! The queue is the bucket itself: a caller who has to wait takes its cells at once, so that whoever
//! asks later, however little, comes after it, and a large cost is not starved by small ones. It then
//! sleeps until its turn. There is no list of waiting tasks to lock, and nobody to wake the next one.

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
    reservation::Ticket,
};

pin_project! {
    /// Waits until cells pass; see [`RateLimiter::until_ready`].
    #[must_use = "futures do nothing unless polled"]
    pub struct UntilReady<'a> {
        limiter: &'a RateLimiter,
        cost: u32,
        patience: Duration,
        #[pin]
        wait: Option<Wait<TokenBucket>>,
    }
}

impl<'a> UntilReady<'a> {
    pub(crate) fn new(limiter: &'a RateLimiter, cost: u32) -> Self {
        Self { limiter, cost, patience: Duration::MAX, wait: None }
    }

    /// Waits at most so long, counted from the first poll, and fails at once when that would not do.
    pub fn within(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }
}

impl Future for UntilReady<'_> {
    type Output = Result<Allowed, Rejected>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if this.wait.is_none() {
            // Nobody waits, or this would not pass: the queue is ahead of the clock.
            if let Ok(allowed) = this.limiter.check_n(*this.cost) {
                return Poll::Ready(Ok(allowed));
            }
            let booked = this.limiter.book(*this.cost, *this.patience)?;
            this.wait.set(Some(Wait::new(this.limiter.clone(), booked)));
        }
        match this.wait.as_pin_mut() {
            Some(wait) => wait.poll(cx).map(Ok),
            None => Poll::Pending,
        }
    }
}

impl fmt::Debug for UntilReady<'_> {
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
    /// Sleeps until booked cells pass. Dropped before, it gives them back.
    pub(crate) struct Wait<A: Algorithm> {
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
