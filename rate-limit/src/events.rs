//! What a limiter tells those who watch it.

use std::time::Duration;

use crate::{Allowed, Quota, Rejected};

/// Watches a limiter: [`RateLimiter::observed_by`](crate::RateLimiter::observed_by).
///
/// Every method does nothing unless implemented. They run on the thread whose call caused the event,
/// outside any lock of the limiter, so they may use it; they should be quick and must not panic.
/// Looking, which takes nothing, is no event. Keys are not told, because there is no bound on how
/// many there are.
pub trait Observer: Send + Sync {
    /// A call of this cost passes at once.
    fn allowed(&self, name: Option<&str>, cost: u32, allowed: &Allowed) {
        let _ = (name, cost, allowed);
    }

    /// A call of this cost is to pass after this wait.
    fn waits(&self, name: Option<&str>, cost: u32, wait: Duration) {
        let _ = (name, cost, wait);
    }

    /// A call of this cost is refused; in shadow mode it passes, and would have been refused.
    fn rejected(&self, name: Option<&str>, cost: u32, rejected: &Rejected, shadow: bool) {
        let _ = (name, cost, rejected, shadow);
    }

    /// The limiter keeps this quota from now on.
    fn reconfigured(&self, name: Option<&str>, quota: Quota) {
        let _ = (name, quota);
    }
}
