//! The list of services, as it is followed.

use std::{collections::BTreeMap, fmt, sync::Arc};

use tokio::{sync::watch, task::AbortHandle, time::Instant};

use super::{Query, follow::Subject};
use crate::WatchState;

/// The names of services, and the tags that any of their instances has.
type Names = BTreeMap<Arc<str>, Vec<Arc<str>>>;

#[derive(Clone, Debug)]
struct Snapshot {
    names: Arc<Names>,
    state: WatchState,
}

/// Follows which services Consul knows.
///
/// As with a [`Watch`](crate::Watch), what is wrong shows in [`state`](Self::state), and the last
/// good list stays in use meanwhile. Clones share what is sent to Consul, which ends with the last
/// of them.
///
/// Made by [`Consul::services`](crate::Consul::services).
#[derive(Clone)]
#[must_use = "the registry is followed only as long as the watch is kept"]
pub struct Services {
    snapshots: watch::Receiver<Snapshot>,
    seen: Arc<Names>,
    _task: Arc<Task>,
}

/// Ends with the last of those that it feeds.
struct Task(AbortHandle);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Services {
    pub(super) fn start(query: Query, spawn: impl FnOnce(Catalog) -> AbortHandle) -> Self {
        let why = "the registry has not answered yet".into();
        let state = WatchState::Stale { since: Instant::now(), why };
        let names = Arc::new(Names::new());
        let snapshot = Snapshot { names: Arc::clone(&names), state };
        let (sender, snapshots) = watch::channel(snapshot);
        let task = Arc::new(Task(spawn(Catalog { query, sender })));
        Self { snapshots, seen: names, _task: task }
    }

    /// The services that are known now, each with the tags that any of its instances has.
    pub fn current(&self) -> Arc<BTreeMap<Arc<str>, Vec<Arc<str>>>> {
        Arc::clone(&self.snapshots.borrow().names)
    }

    /// Whether that is what Consul says now.
    pub fn state(&self) -> WatchState {
        self.snapshots.borrow().state.clone()
    }

    /// Waits for another list than this returned last; the first time, for one that is not empty.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses no change.
    pub async fn changed(&mut self) -> Arc<BTreeMap<Arc<str>, Vec<Arc<str>>>> {
        let seen = Arc::clone(&self.seen);
        match self.snapshots.wait_for(|snapshot| snapshot.names != seen).await {
            Ok(snapshot) => self.seen = Arc::clone(&snapshot.names),
            // The task went down with its runtime: nothing will ever change, which is no error.
            Err(_) => std::future::pending().await,
        }
        Arc::clone(&self.seen)
    }
}

impl fmt::Debug for Services {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let snapshot = self.snapshots.borrow();
        f.debug_struct("Services")
            .field("services", &snapshot.names.len())
            .field("state", &snapshot.state)
            .finish_non_exhaustive()
    }
}

pub(super) struct Catalog {
    query: Query,
    sender: watch::Sender<Snapshot>,
}

impl Subject for Catalog {
    type Set = Names;

    fn name(&self) -> &str {
        "the list of services"
    }

    fn path(&self) -> Vec<&str> {
        vec!["v1", "catalog", "services"]
    }

    fn query(&self) -> &Query {
        &self.query
    }

    fn read(&mut self, body: &[u8]) -> Result<Names, serde_json::Error> {
        /// Lists may be null.
        type Read = BTreeMap<Arc<str>, Option<Vec<Arc<str>>>>;
        let read = serde_json::from_slice::<Option<Read>>(body)?;
        let tags = |(name, tags): (_, Option<Vec<Arc<str>>>)| {
            let mut tags = tags.unwrap_or_default();
            // Order is not content.
            tags.sort_unstable();
            (name, tags)
        };
        Ok(read.unwrap_or_default().into_iter().map(tags).collect())
    }

    /// Consul itself is in every list, unless access control hides it.
    fn is_empty(names: &Names) -> bool {
        names.keys().all(|name| &**name == "consul")
    }

    fn holds_any(&self) -> bool {
        !Self::is_empty(&self.sender.borrow().names)
    }

    fn publish(&self, names: Names) {
        self.sender.send_if_modified(|snapshot| {
            let changed = *snapshot.names != names;
            if changed {
                snapshot.names = Arc::new(names);
            }
            snapshot.state.freshen() | changed
        });
    }

    fn fresh(&self) {
        self.sender.send_if_modified(|snapshot| snapshot.state.freshen());
    }

    fn stale(&self, why: String) {
        self.sender.send_if_modified(|snapshot| snapshot.state.spoil(why.into()));
    }
}
