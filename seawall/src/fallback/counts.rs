//! How often fallbacks were needed.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use serde::Serialize;

use super::DegradedFrom;

/// Counts for people. Relaxed: nothing is read on the strength of them.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    service: AtomicU64,
    stale: AtomicU64,
    function: AtomicU64,
    value: AtomicU64,
    none: AtomicU64,
}

/// What calls of a client got that had failed for good, as far as they had a fallback.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct FallbackSnapshot {
    /// A response of another service.
    pub service: u64,
    /// The last good response.
    pub stale: u64,
    /// What the function gave.
    pub function: u64,
    /// The value of the policy.
    pub value: u64,
    /// The failure, because no fallback had an answer.
    pub none: u64,
}

impl Counts {
    pub(super) fn count(&self, from: Option<&DegradedFrom>) {
        let count = match from {
            Some(DegradedFrom::Service(_)) => &self.service,
            Some(DegradedFrom::Stale { .. }) => &self.stale,
            Some(DegradedFrom::Function) => &self.function,
            Some(DegradedFrom::Value) => &self.value,
            None => &self.none,
        };
        count.fetch_add(1, Relaxed);
    }

    pub(crate) fn snapshot(&self) -> FallbackSnapshot {
        FallbackSnapshot {
            service: self.service.load(Relaxed),
            stale: self.stale.load(Relaxed),
            function: self.function.load(Relaxed),
            value: self.value.load(Relaxed),
            none: self.none.load(Relaxed),
        }
    }
}
