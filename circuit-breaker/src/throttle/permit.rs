//! The right to make one call.

use std::{fmt, sync::Arc};

use seawall_core::{Guard, Outcome};

use super::{
    Priority,
    shared::{Shared, Ticket},
};

/// The right to make one call, from a [`Throttle`](super::Throttle), which it keeps alive.
///
/// Dropped, it reports an abandoned call: [`OnDrop`](crate::OnDrop) says what that counts as. Dropped
/// by a panic, it reports a call that was not accepted.
#[must_use = "dropping a permit reports an abandoned call"]
pub struct ThrottlePermit {
    /// Whoever takes it tells it, so that it is told once.
    shared: Option<Arc<Shared>>,
    ticket: Ticket,
}

impl ThrottlePermit {
    #[inline]
    pub(super) fn new(shared: Arc<Shared>, ticket: Ticket) -> Self {
        Self { shared: Some(shared), ticket }
    }

    /// The callee took the call on.
    #[inline]
    pub fn accepted(self) {
        self.finish(Outcome::Success);
    }

    /// The callee refused the call, or could not be reached, or gave no answer in time.
    #[inline]
    pub fn refused(self) {
        self.finish(Outcome::Failure);
    }

    /// The call says nothing about the callee.
    #[inline]
    pub fn ignore(self) {
        self.finish(Outcome::Ignored);
    }

    /// The call ended like this: a success was accepted, a failure was not.
    #[inline]
    pub fn finish(mut self, outcome: Outcome) {
        if let Some(shared) = self.shared.take() {
            shared.finish(self.ticket, outcome);
        }
    }

    /// The priority of the call.
    pub const fn priority(&self) -> Priority {
        self.ticket.priority
    }
}

impl Guard for ThrottlePermit {
    #[inline]
    fn finish(self, outcome: Outcome) {
        self.finish(outcome);
    }
}

impl Drop for ThrottlePermit {
    #[inline]
    fn drop(&mut self) {
        if let Some(shared) = self.shared.take() {
            abandoned(&shared, self.ticket);
        }
    }
}

#[cold]
fn abandoned(shared: &Shared, ticket: Ticket) {
    let outcome = if std::thread::panicking() { Outcome::Failure } else { shared.dropped(ticket) };
    shared.finish(ticket, outcome);
}

impl fmt::Debug for ThrottlePermit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ThrottlePermit").field("priority", &self.priority()).finish_non_exhaustive()
    }
}
