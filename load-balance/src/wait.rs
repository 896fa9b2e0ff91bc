//! Calls that wait for a first endpoint.

use std::{
    collections::BTreeMap,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use crate::sync::{AtomicUsize, Mutex, Ordering::Relaxed, lock};

/// Those who wait. Nobody touches it while there are endpoints.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    wakers: Mutex<BTreeMap<usize, Waker>>,
    next: AtomicUsize,
}

impl Waiting {
    /// Wakes all, after the set has changed.
    pub(crate) fn wake(&self) {
        let wakers = std::mem::take(&mut *lock(&self.wakers));
        wakers.into_values().for_each(Waker::wake);
    }
}

/// One call that waits; dropping it gives its place up.
#[derive(Debug)]
pub(crate) struct Waiter {
    waiting: Arc<Waiting>,
    number: usize,
}

impl Waiter {
    pub(crate) fn new(waiting: Arc<Waiting>) -> Self {
        // Relaxed: only has to differ from the other numbers.
        let number = waiting.next.fetch_add(1, Relaxed);
        Self { waiting, number }
    }

    /// Ready once `there` says so, which is asked again after each change.
    pub(crate) fn poll(&self, cx: &mut Context<'_>, there: impl Fn() -> bool) -> Poll<()> {
        let waker = cx.waker().clone();
        lock(&self.waiting.wakers).insert(self.number, waker);
        // Asked after the waker is in place, so that no change falls between the two.
        if there() { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        lock(&self.waiting.wakers).remove(&self.number);
    }
}
