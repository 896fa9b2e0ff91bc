//! Makes large tables aside, so that nobody waits for them.

use std::{
    sync::{Arc, OnceLock},
    thread,
};

use seawall_core::EndpointId;

use super::table::Table;
use crate::sync::{Mutex, lock};

/// Makes one table after the other in a thread that ends when nothing is left to do. A job that has
/// not begun gives way to the next.
#[derive(Default)]
pub(super) struct Builder {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    next: Option<Job>,
    running: bool,
    /// The last table that was made, which may be younger than the one in use when changes come
    /// faster than tables.
    latest: Option<Arc<Table>>,
}

/// A table to be made.
pub(super) struct Job {
    pub(super) names: Vec<(EndpointId, u16)>,
    pub(super) cells: u32,
    pub(super) seed: u64,
    /// Where it goes.
    pub(super) made: Arc<OnceLock<Arc<Table>>>,
}

impl Job {
    pub(super) fn run(self) -> Arc<Table> {
        let table = Arc::new(Table::new(self.names, self.cells, self.seed));
        // Set once: the place is this job's own.
        let _ = self.made.set(table.clone());
        table
    }

    /// Whether somebody still looks at the place.
    fn is_wanted(&self) -> bool {
        Arc::strong_count(&self.made) > 1
    }
}

impl Builder {
    pub(super) fn submit(self: &Arc<Self>, job: Job) {
        let mut state = lock(&self.state);
        let superseded = state.next.replace(job);
        let starts = !std::mem::replace(&mut state.running, true);
        drop(state);
        drop(superseded);
        if !starts {
            return;
        }
        let builder = self.clone();
        let thread = thread::Builder::new().name("seawall-maglev".into());
        if thread.spawn(move || builder.work()).is_err() {
            // No thread is to be had: late is better than never.
            self.work();
        }
    }

    fn work(&self) {
        loop {
            let mut state = lock(&self.state);
            let Some(job) = state.next.take() else {
                state.running = false;
                return;
            };
            drop(state);
            if job.is_wanted() {
                let table = job.run();
                let replaced = lock(&self.state).latest.replace(table);
                drop(replaced);
            }
        }
    }

    pub(super) fn latest(&self) -> Option<Arc<Table>> {
        lock(&self.state).latest.clone()
    }

    /// A younger table was made without the builder.
    pub(super) fn forget(&self) {
        let old = lock(&self.state).latest.take();
        drop(old);
    }

    /// Keeps jobs waiting for ever.
    #[cfg(test)]
    pub(super) fn pause(&self) {
        lock(&self.state).running = true;
    }
}
