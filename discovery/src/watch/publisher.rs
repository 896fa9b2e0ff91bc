//! The other end of a watch.

use std::{any::Any, sync::Arc};

use seawall_core::{Endpoint, diff};
use tokio::{sync::watch, time::Instant};

use super::{Snapshot, Watch, WatchState};

/// Tells watches who can be called: the means to write a [`Resolver`](crate::Resolver).
///
/// Clones tell the same watches.
#[derive(Clone, Debug)]
pub struct Publisher {
    snapshots: watch::Sender<Snapshot>,
}

impl Publisher {
    /// A publisher that has nothing to tell yet: its watches are empty and stale.
    pub fn new() -> Self {
        let why = "the registry has not answered yet".into();
        let state = WatchState::Stale { since: Instant::now(), why };
        Self { snapshots: watch::Sender::new(Snapshot { set: Arc::from([]), state }) }
    }

    /// The set is now `endpoints`, in any order, and fresh. Returns whether that is a change.
    pub fn publish(&self, endpoints: Vec<Endpoint>) -> bool {
        self.publish_with(|| endpoints)
    }

    /// As [`publish`](Self::publish), with a set that is read where nobody else publishes, so that
    /// the last to publish is also the last to read.
    pub(crate) fn publish_with(&self, read: impl FnOnce() -> Vec<Endpoint>) -> bool {
        let mut changed = false;
        self.snapshots.send_if_modified(|snapshot| {
            let endpoints = read();
            changed = !diff(&snapshot.set, &endpoints).is_empty();
            if changed {
                snapshot.set = endpoints.into();
            }
            snapshot.state.freshen() | changed
        });
        changed
    }

    /// The set is what the registry says, without a look at it.
    pub fn fresh(&self) {
        self.snapshots.send_if_modified(|snapshot| snapshot.state.freshen());
    }

    /// The set can no longer be trusted to be what the registry says, and `why`.
    pub fn stale(&self, why: impl Into<Arc<str>>) {
        let why = why.into();
        self.snapshots.send_if_modified(|snapshot| snapshot.state.spoil(why));
    }

    /// The set is now `endpoints`, as far as anybody knows, who cannot say for sure and `why`.
    pub(crate) fn publish_stale(&self, endpoints: Vec<Endpoint>, why: Arc<str>) {
        self.snapshots.send_if_modified(|snapshot| {
            let changed = !diff(&snapshot.set, &endpoints).is_empty();
            if changed {
                snapshot.set = endpoints.into();
            }
            snapshot.state.spoil(why) || changed
        });
    }

    /// The endpoints that were published last.
    pub fn current(&self) -> Arc<[Endpoint]> {
        Arc::clone(&self.snapshots.borrow().set)
    }

    /// Waits until nobody watches.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn unwatched(&self) {
        self.snapshots.closed().await;
    }

    /// A watch of what this publishes.
    pub fn subscribe(&self) -> Watch {
        self.subscribe_with(Arc::new(self.clone()))
    }

    /// A watch that keeps `source` alive.
    pub(crate) fn subscribe_with(&self, source: Arc<dyn Any + Send + Sync>) -> Watch {
        Watch::new(self.snapshots.subscribe(), source)
    }
}

impl Default for Publisher {
    fn default() -> Self {
        Self::new()
    }
}
