//! Waiting for a permit, in turn.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use pin_project_lite::pin_project;
use seawall_core::Rejection;
use tokio::time::{Sleep, sleep};

use super::{ConcurrencyLimit, Permit, events::Refusal, gate::Entered, queue::Ticket};

pin_project! {
    /// Waits for a permit; see [`ConcurrencyLimit::acquire`].
    #[must_use = "futures do nothing unless polled"]
    pub struct Acquire {
        limit: ConcurrencyLimit,
        place: Option<Place>,
        // None while nobody counts, or when it may wait for ever.
        #[pin]
        patience: Option<Sleep>,
    }
}

impl Acquire {
    pub(super) fn new(limit: ConcurrencyLimit) -> Self {
        Self { limit, place: None, patience: None }
    }
}

impl Future for Acquire {
    type Output = Result<Permit, Rejection>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let limit = this.limit;
        if let Some(place) = this.place {
            if place.is_called(cx.waker()) {
                // The permit is made first: nobody must be in without one.
                let permit = limit.admitted();
                place.take();
                *this.place = None;
                return Poll::Ready(Ok(permit));
            }
        } else {
            if let Some(permit) = limit.admit() {
                return Poll::Ready(Ok(permit));
            }
            match limit.gate().enter(cx.waker()) {
                Entered::In => return Poll::Ready(Ok(limit.admitted())),
                Entered::Refused(refusal) => return Poll::Ready(Err(limit.refuse(refusal))),
                Entered::Waits(ticket, wait) => {
                    *this.place = Some(Place { limit: limit.clone(), ticket: Some(ticket) });
                    if wait < Duration::MAX {
                        this.patience.set(Some(sleep(wait)));
                    }
                }
            }
        }
        let over =
            this.patience.as_mut().as_pin_mut().is_some_and(|sleep| sleep.poll(cx).is_ready());
        if !over {
            return Poll::Pending;
        }
        // Its turn may have come in between.
        let called = this.place.take().is_some_and(|mut place| place.take());
        Poll::Ready(if called {
            Ok(limit.admitted())
        } else {
            Err(limit.refuse(Refusal::WaitedTooLong))
        })
    }
}

impl fmt::Debug for Acquire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acquire")
            .field("limit", &self.limit)
            .field("waiting", &self.place.is_some())
            .finish()
    }
}

/// A place in the queue. Dropped, it is given up, and if it was called, so is what it was called to.
struct Place {
    limit: ConcurrencyLimit,
    ticket: Option<Ticket>,
}

impl Place {
    fn is_called(&self, waker: &Waker) -> bool {
        self.ticket.as_ref().is_some_and(|ticket| self.limit.gate().is_called(ticket, waker))
    }

    /// Gives the place up, and says whether it was called: then whoever asks is in.
    fn take(&mut self) -> bool {
        self.ticket.take().is_some_and(|ticket| self.limit.gate().give_up(ticket))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.take() {
            self.limit.gate().leave();
        }
    }
}
