//! What the layers of this crate ask before each call.

use seawall_core::{Guard, Reason, Rejection};

use crate::{CircuitBreaker, OwnedPermit, Rejected};

/// Decides which calls may be made: a [`CircuitBreaker`], the breakers of a
/// [registry](crate::registry), a [throttle](crate::throttle).
///
/// One layer, service and future serve them all: [`AdmitLayer`](crate::AdmitLayer). Clones share
/// their state.
pub trait Admit<Req> {
    /// Held until the call has ended, and told how.
    type Permit: Guard;

    /// A refusal, as small as it can be: the answer to a caller then stays in registers.
    type Rejected;

    /// Whether a call may be admitted, before its request is known. While it may not, the service
    /// inside is left alone.
    #[inline]
    fn would_admit(&self) -> bool {
        true
    }

    /// Asks for the right to make one call.
    ///
    /// # Errors
    ///
    /// The refusal.
    fn admit(&self, request: &Req) -> Result<Self::Permit, Self::Rejected>;

    /// `rejected` as the caller gets it.
    fn rejection(&self, rejected: Self::Rejected) -> Rejection;

    /// The refusal of a call after [`would_admit`](Self::would_admit) has said no: who implements
    /// that one implements this one too.
    fn refuse(&self, request: &Req) -> Rejection {
        let _ = request;
        Rejection::new(Reason::Overloaded)
    }
}

impl<Req> Admit<Req> for CircuitBreaker {
    type Permit = OwnedPermit;
    type Rejected = Rejected;

    #[inline]
    fn would_admit(&self) -> bool {
        self.would_admit()
    }

    #[inline]
    fn admit(&self, _: &Req) -> Result<OwnedPermit, Rejected> {
        self.admit_owned()
    }

    fn rejection(&self, rejected: Rejected) -> Rejection {
        self.rejection(rejected)
    }

    fn refuse(&self, _: &Req) -> Rejection {
        self.refuse()
    }
}
