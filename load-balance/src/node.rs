//! What is known of one endpoint, for as long as its id stays in the set.
//!
//! # Orderings
//!
//! `started` and `finished` are counters; in-flight is their difference. A guard adds to `started`
//! when it is made and to `finished` when the call has ended, perhaps on another thread. Whoever
//! reads both reads `finished` first: its Release and the reader's Acquire make every call that is
//! counted as finished be counted as started too, so that the difference is never negative.

use std::{fmt, sync::Arc};

use arc_swap::ArcSwap;
use seawall_core::{Endpoint, EndpointId, Fault, Instant, Outcome};

use crate::{
    health::{Health, Record, State},
    latency::Latency,
    sync::{
        AtomicU64,
        Ordering::{Acquire, Relaxed, Release},
    },
};

/// An endpoint of one balancer: counters, health and latency, but not its service.
pub(crate) struct Node {
    hot: Hot,
    failures: AtomicU64,
    ignored: AtomicU64,
    abandoned: AtomicU64,
    unsent: AtomicU64,
    id: EndpointId,
    endpoint: ArcSwap<Endpoint>,
    record: Record,
}

/// All that a usual call looks at and writes, on one cache line of its own.
#[repr(align(64))]
struct Hot {
    started: AtomicU64,
    finished: AtomicU64,
    latency: Latency,
    state: State,
    health: Arc<Health>,
}

impl Node {
    pub(crate) fn new(endpoint: Arc<Endpoint>, health: Arc<Health>) -> Self {
        Self {
            hot: Hot {
                started: AtomicU64::new(0),
                finished: AtomicU64::new(0),
                latency: Latency::default(),
                state: State::default(),
                health,
            },
            failures: AtomicU64::new(0),
            ignored: AtomicU64::new(0),
            abandoned: AtomicU64::new(0),
            unsent: AtomicU64::new(0),
            id: endpoint.id().clone(),
            endpoint: ArcSwap::new(endpoint),
            record: Record::default(),
        }
    }

    #[inline]
    pub(crate) fn id(&self) -> &EndpointId {
        &self.id
    }

    pub(crate) fn endpoint(&self) -> Arc<Endpoint> {
        self.endpoint.load_full()
    }

    pub(crate) fn update(&self, endpoint: Arc<Endpoint>) {
        self.endpoint.store(endpoint);
    }

    #[inline]
    pub(crate) fn health(&self) -> &Health {
        &self.hot.health
    }

    #[inline]
    pub(crate) fn state(&self) -> &State {
        &self.hot.state
    }

    /// Calls that have begun and not ended.
    #[inline]
    pub(crate) fn in_flight(&self) -> u64 {
        // Acquire: pairs with the Release in `ended`; see the module's text.
        let finished = self.hot.finished.load(Acquire);
        self.hot.started.load(Relaxed).saturating_sub(finished)
    }

    pub(crate) fn record(&self) -> &Record {
        &self.record
    }

    #[inline]
    pub(crate) fn latency(&self) -> &Latency {
        &self.hot.latency
    }

    pub(crate) fn finished(&self) -> u64 {
        // Relaxed: a number to take every eighth call by.
        self.hot.finished.load(Relaxed)
    }

    #[inline]
    pub(crate) fn begin(&self) {
        // Relaxed: whoever must see this sees it through `finished`.
        self.hot.started.fetch_add(1, Relaxed);
        self.hot.health.begun();
    }

    /// A call has ended with this outcome, `None` when its caller abandoned it. `started` is there
    /// when it was not answered and its time is measured; `fault` matters to a failure alone.
    #[inline]
    pub(crate) fn end(&self, outcome: Option<Outcome>, fault: Fault, started: Option<Instant>) {
        self.hot.health.told(self, outcome);
        match outcome {
            Some(Outcome::Success) => self.hot.health.success(self),
            Some(Outcome::Failure) => {
                self.failures.fetch_add(1, Relaxed);
                self.hot.health.failure(self, fault, started);
            }
            // A refusal by a layer of ours, or an outcome that is not known here.
            Some(_) => {
                self.ignored.fetch_add(1, Relaxed);
            }
            None => {
                self.abandoned.fetch_add(1, Relaxed);
                self.hot.health.abandoned(self, started);
            }
        }
        self.ended();
    }

    /// Goes on with what another balancer counted and learned of this endpoint. Calls that are under way
    /// there end there, and count here as ended.
    pub(crate) fn inherit(&self, before: &Self) {
        // Relaxed: no call looks at this node yet.
        let started = before.hot.started.load(Relaxed);
        self.hot.started.fetch_add(started, Relaxed);
        self.hot.finished.fetch_add(started, Release);
        for (from, to) in [
            (&before.failures, &self.failures),
            (&before.ignored, &self.ignored),
            (&before.abandoned, &self.abandoned),
            (&before.unsent, &self.unsent),
        ] {
            to.fetch_add(from.load(Relaxed), Relaxed);
        }
        self.hot.latency.copy(&before.hot.latency);
    }

    /// The endpoint was picked, but the call went elsewhere before anything was sent.
    pub(crate) fn end_unsent(&self) {
        self.unsent.fetch_add(1, Relaxed);
        self.ended();
    }

    /// The endpoint was picked, but its service could not be made: a call that failed.
    pub(crate) fn failed_to_make(&self) {
        self.hot.state.set_broken();
        self.begin();
        self.end(Some(Outcome::Failure), Fault::Local, None);
    }

    #[inline]
    fn ended(&self) {
        // Release: pairs with the Acquire in `in_flight`.
        self.hot.finished.fetch_add(1, Release);
        self.hot.health.ended();
    }

    pub(crate) fn totals(&self) -> Totals {
        let in_flight = self.in_flight();
        // Relaxed: the numbers are for people and need not agree to the last call.
        let (failures, ignored) = (self.failures.load(Relaxed), self.ignored.load(Relaxed));
        let (abandoned, unsent) = (self.abandoned.load(Relaxed), self.unsent.load(Relaxed));
        let calls = self.hot.started.load(Relaxed).saturating_sub(unsent);
        let without_success = in_flight + failures + ignored + abandoned;
        Totals {
            in_flight,
            calls,
            failures,
            abandoned,
            successes: calls.saturating_sub(without_success),
        }
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node")
            .field("id", &self.id)
            .field("in_flight", &self.in_flight())
            .finish_non_exhaustive()
    }
}

/// What a node has counted.
pub(crate) struct Totals {
    pub(crate) in_flight: u64,
    pub(crate) calls: u64,
    pub(crate) successes: u64,
    pub(crate) failures: u64,
    pub(crate) abandoned: u64,
}
