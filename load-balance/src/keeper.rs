//! The task of a balancer: sweeps and active checks.

use std::{
    collections::HashMap,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use seawall_core::{Address, EndpointId};
use tokio::{runtime::Handle, sync::Notify, task::AbortHandle};

use crate::{
    check::{ActiveChecks, keep_checking},
    node::Node,
    sync::{Mutex, lock},
};

/// What runs beside the calls, and ends with the last clone of the balancer.
pub(crate) trait Kept: Send + Sync + 'static {
    /// Examines an interval.
    fn sweep(&self);

    /// The endpoints that may be picked.
    fn nodes(&self) -> Vec<Arc<Node>>;
}

/// The task, once it is started.
#[derive(Debug)]
pub(crate) struct Keeper {
    /// How often to sweep, where there is something to sweep for.
    interval: Option<Duration>,
    checks: Option<ActiveChecks>,
    changed: Arc<Notify>,
    started: AtomicBool,
    task: Mutex<Option<AbortHandle>>,
}

impl Keeper {
    pub(crate) fn new(interval: Option<Duration>, checks: Option<ActiveChecks>) -> Self {
        let (changed, started, task) = Default::default();
        Self { interval, checks, changed, started, task }
    }

    /// The set has changed.
    pub(crate) fn changed(&self) {
        self.changed.notify_one();
    }

    /// Starts the task where there is a runtime and work, if it has not been.
    pub(crate) fn start<K: Kept>(&self, kept: &Weak<K>) {
        if self.interval.is_none() && self.checks.is_none() {
            return;
        }
        let Ok(runtime) = Handle::try_current() else { return };
        // Relaxed: only one caller may win, and nothing is read on the strength of it.
        if self.started.swap(true, Relaxed) {
            return;
        }
        let work = keep(kept.clone(), self.interval, self.checks.clone(), self.changed.clone());
        *lock(&self.task) = Some(runtime.spawn(work).abort_handle());
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        if let Some(task) = lock(&self.task).take() {
            task.abort();
        }
    }
}

/// Ends its task when dropped.
struct Checking {
    address: Address,
    task: AbortHandle,
}

impl Drop for Checking {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn keep<K: Kept>(
    kept: Weak<K>,
    interval: Option<Duration>,
    checks: Option<ActiveChecks>,
    changed: Arc<Notify>,
) {
    let mut checking: HashMap<EndpointId, Checking> = HashMap::new();
    let mut sweep_at = interval.map(|interval| tokio::time::Instant::now() + interval);
    loop {
        if let Some(checks) = &checks {
            // Held for the look alone, so that the balancer can end meanwhile.
            let Some(nodes) = kept.upgrade().map(|kept| kept.nodes()) else { return };
            follow(&mut checking, nodes, checks);
        }
        let sweep = async {
            match sweep_at {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = sweep => {
                let Some(kept) = kept.upgrade() else { return };
                kept.sweep();
                sweep_at = interval.map(|interval| tokio::time::Instant::now() + interval);
            }
            () = changed.notified() => {}
        }
    }
}

/// Checks whom nobody checks yet, and no longer those that left or moved.
fn follow(
    checking: &mut HashMap<EndpointId, Checking>,
    nodes: Vec<Arc<Node>>,
    checks: &ActiveChecks,
) {
    let mut before = std::mem::take(checking);
    for node in nodes {
        let (id, address) = (node.id().clone(), node.endpoint().address().clone());
        let still = before.remove(&id).filter(|checking| checking.address == address);
        let entry = still.unwrap_or_else(|| Checking {
            address,
            task: tokio::spawn(keep_checking(node, checks.clone())).abort_handle(),
        });
        checking.insert(id, entry);
    }
}
