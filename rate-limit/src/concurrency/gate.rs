//! Who is in, who waits, and how many may be in.
//!
//! # Orderings
//!
//! The three numbers are one word, so that each step is one compare-exchange on all of them: nobody
//! gets in above a limit that stands, and nobody starts to wait while there is room. While anybody
//! waits, nobody else gets in, whatever the room: it is theirs.
//!
//! The number of those who wait changes only under the lock of the queue, together with the queue
//! itself. Whoever leaves, or raises the limit, and sees in the word that somebody waits, takes the
//! lock and lets in as many as there is room for. No call is lost between the two: one that starts to
//! wait saw no room in the same word, so that somebody in is yet to leave, and will see it there.
//!
//! Leaving releases and getting in acquires, so that what one call did is seen by the next one that
//! the gate let in, as with a lock.

use std::{
    sync::atomic::Ordering::{Acquire, Relaxed, Release},
    task::Waker,
    time::Duration,
};

use super::{
    config::Queueing,
    events::Refusal,
    queue::{Queue, Ticket},
};
use crate::sync::{AtomicU64, Mutex, MutexGuard, lock};

const BITS: u32 = 21;
const MASK: u64 = (1 << BITS) - 1;

/// The word: who is in, below the limit, below those who wait.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Standing(u64);

const IN: u64 = 1;
const WAITING: u64 = 1 << (2 * BITS);

impl Standing {
    pub(crate) fn in_flight(self) -> u32 {
        (self.0 & MASK) as u32
    }

    pub(crate) fn limit(self) -> u32 {
        (self.0 >> BITS & MASK) as u32
    }

    pub(crate) fn waiting(self) -> u32 {
        (self.0 >> (2 * BITS)) as u32
    }

    fn has_room(self) -> bool {
        self.in_flight() < self.limit()
    }

    /// Whether a newcomer gets in.
    pub(crate) fn admits(self) -> bool {
        self.has_room() && self.waiting() == 0
    }

    fn with_limit(self, limit: u32) -> Self {
        Self(self.0 & !(MASK << BITS) | u64::from(limit) << BITS)
    }
}

/// On cache lines of its own, because every call writes to it. 128 bytes, because current x86-64
/// processors fetch lines in pairs.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct Gate {
    word: AtomicU64,
    waiting: Mutex<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    queue: Queue,
    rule: Queueing,
}

/// What became of somebody who came to the gate.
#[derive(Debug)]
pub(crate) enum Entered {
    In,
    /// It waits, for at most so long.
    Waits(Ticket, Duration),
    Refused(Refusal),
}

impl Gate {
    pub(crate) fn new(limit: u32, rule: Queueing) -> Self {
        Self {
            word: AtomicU64::new(Standing(0).with_limit(limit).0),
            waiting: Mutex::new(Waiting { queue: Queue::new(), rule }),
        }
    }

    pub(crate) fn standing(&self) -> Standing {
        // Relaxed: nothing else is read on the strength of it.
        Standing(self.word.load(Relaxed))
    }

    /// Lets a newcomer in if there is room that nobody waits for.
    #[inline]
    pub(crate) fn try_enter(&self) -> bool {
        let mut before = self.standing();
        while before.admits() {
            // Acquire: pairs with the Release in `leave`.
            match self.word.compare_exchange_weak(before.0, before.0 + IN, Acquire, Relaxed) {
                Ok(_) => return true,
                Err(newer) => before = Standing(newer),
            }
        }
        false
    }

    /// Lets a newcomer in, or wait.
    pub(crate) fn enter(&self, waker: &Waker) -> Entered {
        let mut waiting = self.lock();
        let mut before = self.standing();
        loop {
            let enters = before.admits();
            if !enters && before.waiting() >= waiting.rule.calls {
                let queues = waiting.rule.calls > 0;
                return Entered::Refused(if queues { Refusal::QueueFull } else { Refusal::Full });
            }
            let step = if enters { IN } else { WAITING };
            // Acquire: pairs with the Release in `leave`.
            match self.word.compare_exchange_weak(before.0, before.0 + step, Acquire, Relaxed) {
                Ok(_) if enters => return Entered::In,
                Ok(_) => {
                    let wait = waiting.rule.wait;
                    return Entered::Waits(waiting.queue.join(waker.clone()), wait);
                }
                Err(newer) => before = Standing(newer),
            }
        }
    }

    /// Whether the turn of somebody who waits has come. Then it is in, and has yet to give its place
    /// in the queue up; else `waker` is told when it does.
    pub(crate) fn is_called(&self, ticket: &Ticket, waker: &Waker) -> bool {
        self.lock().queue.is_called(ticket, waker)
    }

    /// Gives up a place in the queue, and says whether it was called: then its holder is in.
    pub(crate) fn give_up(&self, ticket: Ticket) -> bool {
        let mut waiting = self.lock();
        let called = waiting.queue.leave(ticket);
        if !called {
            // Relaxed: the lock orders what is in the queue.
            self.word.fetch_sub(WAITING, Relaxed);
        }
        called
    }

    /// Somebody who was in goes.
    #[inline]
    pub(crate) fn leave(&self) {
        // Release: pairs with the Acquire of whoever gets in next.
        let before = Standing(self.word.fetch_sub(IN, Release));
        if before.waiting() > 0 {
            self.call();
        }
    }

    /// Changes how many may be in, and says how many might before. Those who are in stay.
    pub(crate) fn set_limit(&self, limit: u32) -> u32 {
        let mut before = self.standing();
        loop {
            let after = before.with_limit(limit);
            // Relaxed: whoever gets in on the strength of it reads nothing else from here.
            match self.word.compare_exchange_weak(before.0, after.0, Relaxed, Relaxed) {
                Ok(_) => break,
                Err(newer) => before = Standing(newer),
            }
        }
        if before.waiting() > 0 {
            self.call();
        }
        before.limit()
    }

    /// Changes who may wait. Those who do stay, with the time that they were given.
    pub(crate) fn set_rule(&self, rule: Queueing) {
        self.lock().rule = rule;
    }

    pub(crate) fn rule(&self) -> Queueing {
        self.lock().rule
    }

    /// Calls those who wait, in turn, as long as there is room.
    #[cold]
    fn call(&self) {
        // Each is woken outside of the lock, which its task is about to take.
        while let Some(waker) = self.call_one() {
            waker.wake();
        }
    }

    fn call_one(&self) -> Option<Waker> {
        let mut waiting = self.lock();
        let mut before = self.standing();
        while before.has_room() && before.waiting() > 0 {
            let after = before.0 + IN - WAITING;
            // Acquire: pairs with the Release in `leave`; the lock hands it on to whoever is called.
            match self.word.compare_exchange_weak(before.0, after, Acquire, Relaxed) {
                Ok(_) => return waiting.queue.call_first(),
                Err(newer) => before = Standing(newer),
            }
        }
        None
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        lock(&self.waiting)
    }
}
