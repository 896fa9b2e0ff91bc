//! Counts the calls of a client, until it is shut down.
//!
//! # Orderings
//!
//! One word holds the number of calls and whether new ones are refused. Each change is one
//! read-modify-write of it, so that a call is either seen by the shutdown or sees it. AcqRel: what a
//! call did happens before the end that a shutdown sees.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::AcqRel},
};

const CLOSED: u64 = 1 << 63;

/// Where the calls of a client enter.
#[derive(Debug, Default)]
pub(crate) struct Gate(AtomicU64);

/// One call, until it has its response or is dropped.
#[derive(Debug)]
pub(crate) struct Entered(Arc<Gate>);

impl Gate {
    /// `None` once the gate is closed.
    pub(crate) fn enter(self: &Arc<Self>) -> Option<Entered> {
        let before = self.0.fetch_add(1, AcqRel);
        let entered = Entered(self.clone());
        (before & CLOSED == 0).then_some(entered)
    }

    /// Lets nobody in any more; how many are inside.
    pub(crate) fn close(&self) -> u64 {
        self.0.fetch_or(CLOSED, AcqRel) & !CLOSED
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_inside_is_counted_and_nobody_enters_a_closed_gate() {
        let gate = Arc::new(Gate::default());
        let (one, two) = (gate.enter(), gate.enter());
        assert!(one.is_some() && two.is_some());
        drop(one);
        assert_eq!(gate.close(), 1);
        assert!(gate.enter().is_none());
        assert_eq!(gate.close(), 1, "who was turned away is not inside");
        drop(two);
        assert_eq!(gate.close(), 0);
    }
}
