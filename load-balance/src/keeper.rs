//! The task of a balancer: sweeps, active checks and first connections.

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
    warm_up::Cold,
};

/// What runs beside the calls, and ends with the last clone of the balancer.
pub(crate) trait Kept: Send + Sync + 'static {
    /// Examines an interval.
    fn sweep(&self);

    /// The endpoints that may be picked.
    fn nodes(&self) -> Vec<Arc<Node>>;

    /// Those of them that are to be connected to.
    fn cold(&self) -> Vec<Cold>;
}

/// The task, once it is started.
#[derive(Debug)]
pub(crate) struct Keeper {
    /// How often to sweep, where there is something to sweep for.
    interval: Option<Duration>,
    checks: Option<ActiveChecks>,
    /// Whether new endpoints are connected to.
    connects: bool,
    changed: Arc<Notify>,
    started: AtomicBool,
    task: Mutex<Option<AbortHandle>>,
}

impl Keeper {
    pub(crate) fn new(
        interval: Option<Duration>,
        checks: Option<ActiveChecks>,
        connects: bool,
    ) -> Self {
        let (changed, started, task) = Default::default();
        Self { interval, checks, connects, changed, started, task }
    }

    /// The set has changed.
    pub(crate) fn changed(&self) {
        self.changed.notify_one();
    }

    /// Starts the task where there is a runtime and work, if it has not been.
    pub(crate) fn start<K: Kept>(&self, kept: &Weak<K>) {
        if self.interval.is_none() && self.checks.is_none() && !self.connects {
            return;
        }
        let Ok(runtime) = Handle::try_current() else { return };
        // Relaxed: only one caller may win, and nothing is read on the strength of it.
        if self.started.swap(true, Relaxed) {
            return;
        }
        let work = keep(
            kept.clone(),
            self.interval,
            self.checks.clone(),
            self.connects,
            self.changed.clone(),
        );
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

/// What runs for one endpoint at one address. Ends its task when dropped.
struct Running {
    node: Arc<Node>,
    address: Address,
    task: AbortHandle,
}

type AllRunning = HashMap<EndpointId, Running>;

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn keep<K: Kept>(
    kept: Weak<K>,
    interval: Option<Duration>,
    checks: Option<ActiveChecks>,
    connects: bool,
    changed: Arc<Notify>,
) {
    let (mut checking, mut connecting) = (AllRunning::new(), AllRunning::new());
    let mut sweep_at = interval.map(|interval| tokio::time::Instant::now() + interval);
    loop {
        if let Some(checks) = &checks {
            // Held for the look alone, so that the balancer can end meanwhile.
            let Some(nodes) = kept.upgrade().map(|kept| kept.nodes()) else { return };
            let start = |node: Arc<Node>| (node.clone(), keep_checking(node, checks.clone()));
            follow(&mut checking, nodes.into_iter().map(start));
        }
        if connects {
            let Some(cold) = kept.upgrade().map(|kept| kept.cold()) else { return };
            follow(&mut connecting, cold.into_iter().map(|Cold { node, work }| (node, work)));
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

/// Starts the work of those for whom nothing runs yet, and ends it for those that left or moved.
fn follow<F>(running: &mut AllRunning, work: impl Iterator<Item = (Arc<Node>, F)>)
where
    F: Future<Output = ()> + Send + 'static,
{
    let mut before = std::mem::take(running);
    for (node, work) in work {
        let (id, address) = (node.id().clone(), node.endpoint().address().clone());
        let still = before
            .remove(&id)
            .filter(|running| Arc::ptr_eq(&running.node, &node) && running.address == address);
        let entry = still.unwrap_or_else(|| Running {
            node,
            address,
            task: tokio::spawn(work).abort_handle(),
        });
        running.insert(id, entry);
    }
}
