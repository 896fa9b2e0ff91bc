//! The shared handle.

mod build;
mod change;

use std::{
    fmt,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use seawall_core::{Clock, Reason, Rejection};

use super::{
    Acquire, Permit, Snapshot,
    config::Limit,
    estimator::Estimator,
    events::{Observer, Refusal},
    gate::Gate,
};
use crate::sync::{AtomicBool, AtomicU64, Mutex, MutexGuard, lock};

/// Says whether one more call may be in flight. Clones share one limit.
///
/// ```
/// use seawall_rate_limit::concurrency::ConcurrencyLimit;
///
/// let limit = ConcurrencyLimit::new(1)?.named("orders");
/// let permit = limit.try_acquire()?;
/// let refused = limit.try_acquire().unwrap_err();
/// assert_eq!(refused.to_string(), "overloaded (orders)");
/// drop(permit);
/// assert!(limit.would_admit());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct ConcurrencyLimit {
    shared: Arc<Shared>,
}

struct Shared {
    gate: Gate,
    allowed: AtomicU64,
    rejected: AtomicU64,
    /// Whether the rule needs to know how long calls take.
    measures: AtomicBool,
    /// Whether calls may wait.
    queues: AtomicBool,
    rule: Mutex<Rule>,
    clock: Clock,
    name: Option<Arc<str>>,
    observer: Option<Arc<dyn Observer>>,
}

struct Rule {
    limit: Limit,
    estimator: Estimator,
}

impl ConcurrencyLimit {
    /// The right to make one call now.
    ///
    /// Those who wait in [`acquire`](Self::acquire) come first: while there are any, it refuses.
    ///
    /// # Errors
    ///
    /// When as many calls as may be are in flight. Nobody knows when that changes, so that the
    /// rejection does not say when to come back.
    ///
    /// # Cost
    ///
    /// Allocates nothing and takes no lock.
    #[inline]
    pub fn try_acquire(&self) -> Result<Permit, Rejection> {
        self.admit().ok_or_else(|| self.refuse(Refusal::Full))
    }

    /// The right to make one call, in turn; waits where the configuration has a
    /// [queue](super::Builder::queue), and fails at once where it has none or where that is full.
    ///
    /// The place in the queue is taken at the first poll, and nobody who asks later gets in front.
    ///
    /// # Errors
    ///
    /// When there is no place to wait, or the turn does not come in time.
    ///
    /// # Panics
    ///
    /// When it has to wait outside of a tokio runtime with a timer, unless it may wait for ever.
    ///
    /// # Cancel safety
    ///
    /// Dropped while it waits, it frees its place. If its turn had come, that goes to the next one.
    ///
    /// # Cost
    ///
    /// Where there is room, that of [`try_acquire`](Self::try_acquire). Waiting takes the lock of the
    /// queue for some instructions, and allocates when more wait than ever before.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    /// use seawall_rate_limit::concurrency::{ConcurrencyLimit, Config};
    ///
    /// let config = Config::builder(1).queue(10, Duration::from_millis(100)).build()?;
    /// let limit = ConcurrencyLimit::of(config);
    /// let first = limit.acquire().await?;
    /// assert!(limit.acquire().await.is_err(), "it waited for 100 ms");
    ///
    /// let second = limit.acquire();
    /// drop(first);
    /// assert!(second.await.is_ok());
    /// # Ok(())
    /// # }
    /// ```
    pub fn acquire(&self) -> Acquire {
        Acquire::new(self.clone())
    }

    /// Whether [`try_acquire`](Self::try_acquire) would give a permit: for those who choose among
    /// several callees and want to know beforehand.
    #[inline]
    pub fn would_admit(&self) -> bool {
        self.shared.gate.standing().admits()
    }

    /// How the limit stands.
    pub fn snapshot(&self) -> Snapshot {
        let standing = self.shared.gate.standing();
        let unloaded = self.rule().estimator.unloaded();
        // Relaxed: counts, on which nothing depends.
        Snapshot {
            name: self.shared.name.clone(),
            limit: standing.limit(),
            in_flight: standing.in_flight(),
            waiting: standing.waiting(),
            allowed: self.shared.allowed.load(Relaxed),
            rejected: self.shared.rejected.load(Relaxed),
            unloaded_latency: unloaded.map(Duration::from_nanos),
        }
    }

    /// Its name, if it has one.
    pub fn name(&self) -> Option<&str> {
        self.shared.name.as_deref()
    }

    pub(super) fn gate(&self) -> &Gate {
        &self.shared.gate
    }

    pub(super) fn clock(&self) -> &Clock {
        &self.shared.clock
    }

    /// Whether anybody may wait.
    pub(super) fn queues(&self) -> bool {
        self.shared.queues.load(Relaxed)
    }

    /// Whether permits need to know how long calls take.
    pub(super) fn measures(&self) -> bool {
        self.shared.measures.load(Relaxed)
    }

    /// A permit, if there is room. A refusal is for the caller to make.
    #[inline]
    pub(super) fn admit(&self) -> Option<Permit> {
        self.gate().try_enter().then(|| self.admitted())
    }

    /// A permit for somebody whom the gate let in.
    #[inline]
    pub(super) fn admitted(&self) -> Permit {
        // Relaxed: a count, on which nothing depends.
        self.shared.allowed.fetch_add(1, Relaxed);
        Permit::new(self.clone())
    }

    #[cold]
    pub(super) fn refuse(&self, refusal: Refusal) -> Rejection {
        // Relaxed: a count, on which nothing depends.
        self.shared.rejected.fetch_add(1, Relaxed);
        if let Some(observer) = &self.shared.observer {
            observer.rejected(self.name(), refusal);
        }
        let rejection = Rejection::new(Reason::Overloaded);
        match &self.shared.name {
            Some(name) => rejection.by(name.clone()),
            None => rejection,
        }
    }

    fn rule(&self) -> MutexGuard<'_, Rule> {
        lock(&self.shared.rule)
    }
}

impl fmt::Debug for ConcurrencyLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Snapshot { name, limit, in_flight, waiting, .. } = self.snapshot();
        f.debug_struct("ConcurrencyLimit")
            .field("name", &name)
            .field("limit", &limit)
            .field("in_flight", &in_flight)
            .field("waiting", &waiting)
            .finish()
    }
}
