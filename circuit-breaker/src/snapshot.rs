//! What a breaker looks like at one moment.

use std::time::Duration;

use seawall_core::Instant;

use crate::{Counts, Mode, State, Totals};

/// What a breaker looked like when it was asked.
///
/// Read under the breaker's lock, so that its parts belong together; the counts of calls that end at
/// this very moment may or may not be in it.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Snapshot {
    /// The state.
    pub state: State,
    /// Who decides.
    pub mode: Mode,
    /// The number of the present stay in this state; grows with every change.
    pub generation: u64,
    /// Since when, by the breaker's clock.
    #[cfg_attr(feature = "serde", serde(skip))]
    pub since: Instant,
    /// For how long.
    #[cfg_attr(feature = "serde", serde(with = "seawall_core::duration"))]
    pub age: Duration,
    /// How long until the next probe may start: zero when it may, `None` when the breaker is not
    /// open or was opened by hand.
    #[cfg_attr(feature = "serde", serde(with = "seawall_core::duration::option"))]
    pub next_probe_in: Option<Duration>,
    /// What the window holds; empty without one.
    pub counts: Counts,
    /// Failures since the last success, in this generation; 0 where they are not counted.
    pub consecutive_failures: u32,
    /// Calls in flight that are slower than the threshold already, where they are counted.
    pub overdue_in_flight: u64,
    /// Probes that have not ended.
    pub probes_in_flight: u32,
    /// Probes of this generation that succeeded.
    pub probe_successes: u32,
    /// Probes of this generation that failed.
    pub probe_failures: u32,
    /// Openings in a row without a recovery that lasted.
    pub openings: u32,
    /// The share of calls that a ramp lets pass, from 0 to 1; `None` without one.
    pub admitted_share: Option<f64>,
    /// How calls ended since the breaker was built, where that is counted.
    pub totals: Option<Totals>,
}
