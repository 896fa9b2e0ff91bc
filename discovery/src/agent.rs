//! What a lease asks of a registry.

use seawall_core::Health;

use crate::{RegisterError, Registration};

/// The part of a registry that a [`Lease`](crate::Lease) talks to: the means to write a
/// [`Registrar`](crate::Registrar).
///
/// Each call is one attempt, bounded in time by the implementation. A lease never has two calls in
/// flight, and lets one that it started come to its end before it makes the next, so that no
/// heartbeat can overtake a deregistration.
pub trait Agent: Send + Sync + 'static {
    /// Puts the registration there, in place of one with the same id, with `health` from the first
    /// moment on.
    fn register(
        &self,
        registration: &Registration,
        health: Health,
    ) -> impl Future<Output = Result<(), RegisterError>> + Send;

    /// Says that the instance lives and is in `health`. For a registration without a TTL, asks
    /// whether it is still there.
    ///
    /// # Errors
    ///
    /// [`RegisterError::Unknown`] makes the lease register again at once.
    fn heartbeat(
        &self,
        registration: &Registration,
        health: Health,
    ) -> impl Future<Output = Result<(), RegisterError>> + Send;

    /// Changes the health, from `before` to `after`.
    fn change_health(
        &self,
        registration: &Registration,
        before: Health,
        after: Health,
    ) -> impl Future<Output = Result<(), RegisterError>> + Send;

    /// Takes the registration out. [`RegisterError::Unknown`] is as good as done.
    fn deregister(&self, id: &str) -> impl Future<Output = Result<(), RegisterError>> + Send;
}
