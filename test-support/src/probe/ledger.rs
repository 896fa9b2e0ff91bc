//! What was done to a probe, and the levers that a test pulls.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

/// Counts what was done to a [`Probe`](super::Probe) and its clones, and holds or releases its
/// answers and readiness. Clones look at the same probe.
#[derive(Clone, Debug)]
pub struct ProbeHandle {
    ledger: Arc<Mutex<Ledger>>,
}

#[derive(Debug)]
struct Ledger {
    readiness_polls: u64,
    calls: u64,
    completed: u64,
    cancelled: u64,
    clones: u64,
    abandoned: u64,
    violations: u64,
    in_flight: usize,
    max_in_flight: usize,
    reserved: usize,
    capacity: usize,
    ready: bool,
    lenient: bool,
    next_ticket: u64,
    /// Answers that wait for a release, oldest first.
    held: VecDeque<u64>,
    /// Answers that were released and not polled since.
    released: HashSet<u64>,
    wakers: Vec<Waker>,
}

impl ProbeHandle {
    pub(super) fn new() -> Self {
        let ledger = Ledger {
            readiness_polls: 0,
            calls: 0,
            completed: 0,
            cancelled: 0,
            clones: 0,
            abandoned: 0,
            violations: 0,
            in_flight: 0,
            max_in_flight: 0,
            reserved: 0,
            capacity: usize::MAX,
            ready: true,
            lenient: false,
            next_ticket: 0,
            held: VecDeque::new(),
            released: HashSet::new(),
            wakers: Vec::new(),
        };
        Self { ledger: Arc::new(Mutex::new(ledger)) }
    }

    /// Polls of `poll_ready`, over all clones.
    pub fn readiness_polls(&self) -> u64 {
        self.lock().readiness_polls
    }

    /// Calls, over all clones.
    pub fn calls(&self) -> u64 {
        self.lock().calls
    }

    /// Calls whose future gave its answer.
    pub fn completed(&self) -> u64 {
        self.lock().completed
    }

    /// Calls whose future was dropped before its answer.
    pub fn cancelled(&self) -> u64 {
        self.lock().cancelled
    }

    /// Calls whose future is alive and gave no answer yet.
    pub fn in_flight(&self) -> usize {
        self.lock().in_flight
    }

    /// The most calls that were in flight at once.
    pub fn max_in_flight(&self) -> usize {
        self.lock().max_in_flight
    }

    /// How often the service was cloned.
    pub fn clones(&self) -> u64 {
        self.lock().clones
    }

    /// Instances that are ready and not called yet.
    pub fn reserved(&self) -> usize {
        self.lock().reserved
    }

    /// Instances that were dropped ready, without a call.
    pub fn abandoned(&self) -> u64 {
        self.lock().abandoned
    }

    /// Calls of an instance that was not polled ready.
    pub fn violations(&self) -> u64 {
        self.lock().violations
    }

    /// Answers that wait for [`ProbeHandle::release`].
    pub fn held(&self) -> usize {
        self.lock().held.len()
    }

    /// Gives the `count` oldest held answers.
    pub fn release(&self, count: usize) {
        self.change(|ledger| {
            let count = count.min(ledger.held.len());
            let oldest = ledger.held.drain(..count);
            ledger.released.extend(oldest);
        });
    }

    /// Gives all held answers.
    pub fn release_all(&self) {
        self.release(usize::MAX);
    }

    /// Whether instances become ready when polled. Those that are ready already stay so.
    pub fn set_ready(&self, ready: bool) {
        self.change(|ledger| ledger.ready = ready);
    }

    /// Asserts that everything was given back: nothing in flight, nothing reserved, and no call
    /// without readiness.
    ///
    /// # Panics
    ///
    /// When that is not so.
    #[track_caller]
    pub fn assert_idle(&self) {
        let (in_flight, reserved, violations) = {
            let ledger = self.lock();
            (ledger.in_flight, ledger.reserved, ledger.violations)
        };
        assert_eq!(
            (in_flight, reserved, violations),
            (0, 0, 0),
            "calls in flight, ready instances kept, calls without readiness"
        );
    }

    pub(super) fn set_capacity(&self, calls: usize) {
        self.change(|ledger| ledger.capacity = calls);
    }

    pub(super) fn set_lenient(&self) {
        self.lock().lenient = true;
    }

    pub(super) fn count_readiness_poll(&self) {
        self.lock().readiness_polls += 1;
    }

    pub(super) fn count_clone(&self) {
        self.lock().clones += 1;
    }

    /// Makes one instance ready, or keeps the waker until that may succeed.
    pub(super) fn reserve(&self, waker: &Waker) -> bool {
        let mut ledger = self.lock();
        let free = ledger.in_flight + ledger.reserved < ledger.capacity;
        if ledger.ready && free {
            ledger.reserved += 1;
            return true;
        }
        ledger.wakers.push(waker.clone());
        false
    }

    /// A ready instance is dropped.
    pub(super) fn abandon(&self) {
        self.change(|ledger| {
            ledger.reserved -= 1;
            ledger.abandoned += 1;
        });
    }

    /// A call begins, on an instance that was polled ready or not.
    #[track_caller]
    pub(super) fn begin(&self, ready: bool) -> Call {
        let mut ledger = self.lock();
        ledger.calls += 1;
        if ready {
            ledger.reserved -= 1;
        } else {
            ledger.violations += 1;
            let lenient = ledger.lenient;
            drop(ledger);
            assert!(lenient, "call of an instance that was not polled ready");
            ledger = self.lock();
        }
        ledger.in_flight += 1;
        ledger.max_in_flight = ledger.max_in_flight.max(ledger.in_flight);
        Call { handle: self.clone(), ticket: None, done: false }
    }

    /// Changes the ledger, then wakes whoever waits for such a change, outside the lock.
    fn change(&self, change: impl FnOnce(&mut Ledger)) {
        let mut ledger = self.lock();
        change(&mut ledger);
        let wakers = std::mem::take(&mut ledger.wakers);
        drop(ledger);
        wakers.into_iter().for_each(Waker::wake);
    }

    fn lock(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One call in flight; dropped before `complete`, a cancelled one.
#[derive(Debug)]
pub(super) struct Call {
    handle: ProbeHandle,
    ticket: Option<u64>,
    done: bool,
}

impl Call {
    /// Queues for a release and returns its place.
    pub(super) fn hold(&mut self) -> u64 {
        let mut ledger = self.handle.lock();
        let ticket = ledger.next_ticket;
        ledger.next_ticket += 1;
        ledger.held.push_back(ticket);
        self.ticket = Some(ticket);
        ticket
    }

    pub(super) fn poll_released(&mut self, ticket: u64, waker: &Waker) -> Poll<()> {
        let mut ledger = self.handle.lock();
        if ledger.released.remove(&ticket) {
            return Poll::Ready(());
        }
        ledger.wakers.push(waker.clone());
        Poll::Pending
    }

    pub(super) fn complete(&mut self) {
        self.done = true;
        self.handle.change(|ledger| {
            ledger.in_flight -= 1;
            ledger.completed += 1;
        });
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        self.handle.change(|ledger| {
            ledger.in_flight -= 1;
            ledger.cancelled += 1;
            if let Some(ticket) = self.ticket {
                ledger.held.retain(|held| *held != ticket);
                ledger.released.remove(&ticket);
            }
        });
    }
}
