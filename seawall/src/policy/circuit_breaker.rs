//! When an endpoint is left alone.

use std::time::Duration;

use seawall_core::duration;
use serde::{Deserialize, Serialize};

/// When an endpoint is left alone, and when it is tried again. Each endpoint has a breaker of its
/// own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CircuitBreaker {
    pub(crate) failure_threshold: u32,
    pub(crate) success_threshold: u32,
    #[serde(alias = "timeout", with = "duration")]
    pub(crate) open_wait: Duration,
    pub(crate) max_requests: u16,
}

/// Five failures in a row are hardly chance, and one probe is enough to learn that a server is back.
/// Five seconds are short, because calls go elsewhere meanwhile and only the probe is risked.
impl Default for CircuitBreaker {
    fn default() -> Self {
        Self {
            failure_threshold: 5,
            success_threshold: 1,
            open_wait: Duration::from_secs(5),
            max_requests: 1,
        }
    }
}

impl CircuitBreaker {
    /// The defaults: 5 failures, 5 s, 1 probe at once, 1 success.
    pub fn new() -> Self {
        Self::default()
    }

    /// Opens after so many failures in a row; 1 or more.
    #[must_use]
    pub fn failure_threshold(mut self, failures: u32) -> Self {
        self.failure_threshold = failures;
        self
    }

    /// Closes after so many successful probes; 1 or more.
    #[must_use]
    pub fn success_threshold(mut self, successes: u32) -> Self {
        self.success_threshold = successes;
        self
    }

    /// How long it stays open before the first probe.
    #[must_use]
    pub fn open_wait(mut self, wait: Duration) -> Self {
        self.open_wait = wait;
        self
    }

    /// How many probes may be out at once; 1 or more.
    #[must_use]
    pub fn max_requests(mut self, probes: u16) -> Self {
        self.max_requests = probes;
        self
    }
}
