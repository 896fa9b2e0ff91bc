//! The bound on the queries that wait at Consul.

use std::{
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    time::Duration,
};

use tokio::sync::{Semaphore, SemaphorePermit};

/// How long a query waits when others wait for its place.
const TURN: Duration = Duration::from_millis(500);

/// Bounds the queries that wait at Consul.
pub(super) struct Turns {
    places: Semaphore,
    count: usize,
    watched: AtomicUsize,
}

/// One more that asks every now and then.
pub(super) struct Watched<'a>(&'a AtomicUsize);

impl Drop for Watched<'_> {
    fn drop(&mut self) {
        // Relaxed, here and below: nothing else is read on the strength of it.
        self.0.fetch_sub(1, Relaxed);
    }
}

impl Turns {
    pub(super) fn new(count: usize) -> Self {
        let count = count.min(Semaphore::MAX_PERMITS);
        Self { places: Semaphore::new(count), count, watched: AtomicUsize::new(0) }
    }

    pub(super) fn watched(&self) -> Watched<'_> {
        self.watched.fetch_add(1, Relaxed);
        Watched(&self.watched)
    }

    /// A place, in the order of asking, and how long it may be kept, of `wait` at most.
    pub(super) async fn take(&self, wait: Duration) -> (Option<SemaphorePermit<'_>>, Duration) {
        // The semaphore is never closed, and without it nothing would be bounded.
        let place = self.places.acquire().await.ok();
        let crowded = self.watched.load(Relaxed) > self.count;
        (place, if crowded { wait.min(TURN) } else { wait })
    }
}
