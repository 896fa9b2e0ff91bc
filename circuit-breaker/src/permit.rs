//! The right to make one call.
//!
//! A permit is told how the call ended, once, by being consumed. Dropping it is an ending too: the
//! call was abandoned, and [`OnDrop`](crate::OnDrop) says what that counts as. Whatever happens to a
//! call, then, the breaker hears of it, and a probe's slot comes back.

use std::{fmt, mem, ops::Deref, sync::Arc, time::Duration};

use seawall_core::{Guard, Outcome};

use crate::{breaker::Shared, machine::Ticket};

/// The right to make one call, borrowed from its breaker.
///
/// Dropped, it reports an abandoned call; dropped by a panic, a failed one. It belongs to the
/// generation of the breaker in which it was admitted: if the breaker has changed its state since,
/// the outcome changes nothing.
#[must_use = "dropping a permit reports an abandoned call"]
pub struct Permit<'a>(Held<&'a Shared>);

/// The right to make one call, which keeps its breaker alive: for futures and bodies.
///
/// Otherwise the same as [`Permit`].
///
/// # Cost
///
/// Counts a reference to the breaker up and down, which callers on several processors share.
#[must_use = "dropping a permit reports an abandoned call"]
pub struct OwnedPermit(Held<Arc<Shared>>);

macro_rules! permit {
    ($permit:ty) => {
        impl $permit {
            /// The call succeeded.
            #[inline]
            pub fn success(self) {
                self.finish(Outcome::Success);
            }

            /// The call failed.
            #[inline]
            pub fn failure(self) {
                self.finish(Outcome::Failure);
            }

            /// The call says nothing about the callee.
            #[inline]
            pub fn ignore(self) {
                self.finish(Outcome::Ignored);
            }

            /// The callee has answered, though the call goes on: latency ends here, and a probe is
            /// no longer overdue.
            #[inline]
            pub fn answered(&mut self) {
                self.0.answered();
            }

            /// The callee asked to be left alone for `wait`, by `Retry-After` or gRPC pushback. The
            /// layers that judge HTTP and gRPC say it by themselves.
            ///
            /// Counts if this call opens the breaker, and where
            /// [`OpenWait::from_server`](crate::OpenWait::from_server) allows it.
            pub fn retry_after(&mut self, wait: Duration) {
                self.0.ticket.set_told(wait);
            }

            /// The call ended like this.
            #[inline]
            pub fn finish(self, outcome: Outcome) {
                self.0.finish(outcome);
            }

            /// Whether the call is a probe of a half-open breaker.
            pub fn is_probe(&self) -> bool {
                self.0.ticket.is_probe()
            }

            /// The generation of the breaker that admitted the call; 0 when its outcome is not
            /// wanted.
            pub fn generation(&self) -> u64 {
                self.0.ticket.generation()
            }
        }

        impl Guard for $permit {
            #[inline]
            fn answered(&mut self) {
                self.0.answered();
            }

            fn retry_after(&mut self, wait: Duration) {
                self.0.ticket.set_told(wait);
            }

            #[inline]
            fn finish(self, outcome: Outcome) {
                self.0.finish(outcome);
            }

            /// What is not told apart counts as answered when it ends.
            #[inline]
            fn finish_answered(self, outcome: Outcome) {
                self.0.finish(outcome);
            }
        }

        impl fmt::Debug for $permit {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($permit))
                    .field("generation", &self.generation())
                    .field("is_probe", &self.is_probe())
                    .finish()
            }
        }
    };
}

permit!(Permit<'_>);
permit!(OwnedPermit);

impl<'a> Permit<'a> {
    pub(crate) fn new(shared: &'a Shared, ticket: Ticket) -> Self {
        Self(Held { shared: Some(shared), ticket })
    }
}

impl OwnedPermit {
    pub(crate) fn new(shared: Arc<Shared>, ticket: Ticket) -> Self {
        Self(Held { shared: Some(shared), ticket })
    }
}

/// Whoever takes `shared` tells it, so that it is told once. Everything is passed on by value: a
/// reference would keep the whole in memory on the way from admission to outcome.
struct Held<P: Deref<Target = Shared>> {
    shared: Option<P>,
    ticket: Ticket,
}

impl<P: Deref<Target = Shared>> Held<P> {
    #[inline]
    fn answered(&mut self) {
        if let Some(shared) = &self.shared {
            self.ticket = shared.machine.answered(self.ticket, || shared.clock.now());
        }
    }

    #[inline]
    fn finish(mut self, outcome: Outcome) {
        let (shared, ticket) = (self.shared.take(), self.ticket.copied());
        // Nothing is left to drop; without this the compiler keeps the whole in memory for it.
        mem::forget(self);
        if let Some(shared) = shared {
            shared.finish(ticket, outcome);
        }
    }
}

impl<P: Deref<Target = Shared>> Drop for Held<P> {
    #[inline]
    fn drop(&mut self) {
        if let Some(shared) = self.shared.take() {
            abandoned(&shared, self.ticket);
        }
    }
}

#[cold]
fn abandoned(shared: &Shared, ticket: Ticket) {
    let outcome = if std::thread::panicking() {
        Outcome::Failure
    } else {
        shared.machine.dropped(&ticket, || shared.clock.now())
    };
    shared.finish(ticket, outcome);
}
