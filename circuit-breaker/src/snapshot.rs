//! What a breaker looks like at one moment.

use std::time::Duration;

use seawall_core::Instant;

use crate::{Mode, State};

/// What a breaker looked like when it was asked.
///
/// Read under the breaker's lock, so that its parts belong together; the counts of calls that end at
/// this very moment may or may not be in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Snapshot {
    /// The state.
    pub state: State,
    /// Who decides.
    pub mode: Mode,
    /// The number of the present stay in this state; grows with every change.
    pub generation: u64,
    /// Since when, by the breaker's clock.
    pub since: Instant,
    /// How long until the next probe may start: zero when it may, `None` when the breaker is not
    /// open or was opened by hand.
    pub next_probe_in: Option<Duration>,
    /// Failures since the last success, in this generation.
    pub consecutive_failures: u32,
    /// Probes that have not ended.
    pub probes_in_flight: u32,
    /// Probes of this generation that succeeded.
    pub probe_successes: u32,
    /// Probes of this generation that failed.
    pub probe_failures: u32,
}
