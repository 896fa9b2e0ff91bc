//! What a call tells of the callee.

use std::time::Duration;

use seawall_core::Instant;

/// One call that has ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    /// When it began, once it had its permit.
    pub(crate) started: Instant,
    pub(crate) ended: Ended,
    /// How long it took to be answered; where it was not, how long it had been in flight.
    pub(crate) latency: Duration,
    /// How many calls were in flight at its end, itself among them.
    pub(crate) in_flight: u32,
}

/// How the call ended, as far as a limit is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The callee answered.
    Answered,
    /// The callee failed.
    Failed,
    /// The caller gave up before there was an answer.
    Abandoned,
}
