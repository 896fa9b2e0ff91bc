//! The task of a balancer: sweeps and active checks.

use std::{
    sync::{
        Weak,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{runtime::Handle, task::AbortHandle};

use crate::sync::{Mutex, lock};

/// What runs beside the calls, and ends with the last clone of the balancer.
pub(crate) trait Kept: Send + Sync + 'static {
    /// Examines an interval.
    fn sweep(&self);
}

/// The task, once it is started.
#[derive(Debug, Default)]
pub(crate) struct Keeper {
    started: AtomicBool,
    task: Mutex<Option<AbortHandle>>,
}

impl Keeper {
    /// Starts the task where there is a runtime, if it has not been.
    pub(crate) fn start<K: Kept>(&self, kept: &Weak<K>, interval: Option<Duration>) {
        // Relaxed: only one caller may win, and nothing is read on the strength of it.
        let Some(interval) = interval else { return };
        let Ok(runtime) = Handle::try_current() else { return };
        if self.started.swap(true, Relaxed) {
            return;
        }
        let kept = kept.clone();
        let task = runtime.spawn(async move {
            loop {
                tokio::time::sleep(interval).await;
                // Held for the sweep alone, so that the balancer can end meanwhile.
                let Some(kept) = kept.upgrade() else { return };
                kept.sweep();
            }
        });
        *lock(&self.task) = Some(task.abort_handle());
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        if let Some(task) = lock(&self.task).take() {
            task.abort();
        }
    }
}
