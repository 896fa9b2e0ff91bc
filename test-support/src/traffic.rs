//! What the in-process servers count.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

/// Calls begun and calls that did not end yet.
#[derive(Clone, Debug, Default)]
pub(crate) struct Traffic {
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    calls: AtomicU64,
    in_flight: AtomicUsize,
}

impl Traffic {
    /// Counts a call, which is in flight until the guard drops.
    pub(crate) fn begin(&self) -> InFlight {
        // Relaxed, here and below: gauges that a test reads by themselves.
        self.counts.calls.fetch_add(1, Relaxed);
        self.counts.in_flight.fetch_add(1, Relaxed);
        InFlight { counts: Arc::clone(&self.counts) }
    }

    pub(crate) fn calls(&self) -> u64 {
        self.counts.calls.load(Relaxed)
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.counts.in_flight.load(Relaxed)
    }
}

/// A call that did not end yet.
#[derive(Debug)]
pub(crate) struct InFlight {
    counts: Arc<Counts>,
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.counts.in_flight.fetch_sub(1, Relaxed);
    }
}
