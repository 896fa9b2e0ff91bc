//! What there is to see of a limit.

use std::{sync::Arc, time::Duration};

/// How a limit stood when it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Snapshot {
    /// Its name, if it has one.
    pub name: Option<Arc<str>>,
    /// How many calls may be in flight.
    pub limit: u32,
    /// How many are; more than the limit for a while after it went down.
    pub in_flight: u32,
    /// How many wait.
    pub waiting: u32,
    /// How many calls got a permit since the limit was built.
    pub allowed: u64,
    /// How many were rejected.
    pub rejected: u64,
    /// How long calls take without a queue, for a [`Gradient`](super::Gradient) that has measured it.
    pub unloaded_latency: Option<Duration>,
}
