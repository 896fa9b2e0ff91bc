//! How handles share an algorithm and its state.

use seawall_core::Instant;

use super::{Algorithm, Booked};
use crate::{Allowed, Rejected};

/// An algorithm and its state, in the hands of many. Every operation is one step for all others.
pub trait Share<A: Algorithm>: Send + Sync + 'static {
    /// A limiter that was never used.
    fn new(algorithm: A) -> Self;

    /// The algorithm as it is now.
    fn algorithm(&self) -> A;

    /// What [`take`](Self::take) would answer.
    ///
    /// # Errors
    ///
    /// As there.
    fn look(&self, now: Instant, cost: u32, spare: u32) -> Result<Allowed, Rejected>;

    /// Lets `cost` cells pass now when `spare` more would be left, and nobody waits.
    ///
    /// # Errors
    ///
    /// When that is more than may pass; nothing has changed then.
    fn take(&self, now: Instant, cost: u32, spare: u32) -> Result<Allowed, Rejected>;

    /// Lets as many of `cost` cells pass as may, and says how many.
    fn take_at_most(&self, now: Instant, cost: u32) -> u32;

    /// Takes `cost` cells now or, after all who wait, within `patience_nanos`.
    ///
    /// # Errors
    ///
    /// When the wait would be longer; nothing has changed then.
    fn book(&self, now: Instant, cost: u32, patience_nanos: u64) -> Result<Booked, Rejected>;

    /// Gives back what `booked` took, unless it has passed, as far as later bookings have not built
    /// on it.
    fn unbook(&self, now: Instant, booked: &Booked);

    /// Decides as `algorithm` does from now on. What passed, and who waits until when, stays.
    fn adopt(&self, now: Instant, algorithm: A);
}
