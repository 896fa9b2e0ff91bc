//! Waiting for the cells of a key, in turn.
//!
//! As for a limiter without keys, the queue is the bucket: whoever has to wait takes its cells at
//! once and sleeps until they pass.

use std::{
    fmt,
    hash::{BuildHasher, Hash, Hasher},
    pin::Pin,
    sync::{Arc, atomic::Ordering::Relaxed},
    task::{Context, Poll, ready},
    time::Duration,
};

use pin_project_lite::pin_project;
use seawall_core::Instant;
use tokio::time::{Instant as TokioInstant, Sleep, sleep};

use super::{KeyedLimiter, shared::Shared};
use crate::{Allowed, Quota, Rejected, algorithm::Algorithm, sync::pause};

impl<K: Hash + ?Sized> KeyedLimiter<K> {
    /// The hash of `key`, or of what all without a key share, and its plan.
    #[inline]
    fn place(&self, key: Option<&K>) -> (u64, usize) {
        match key {
            Some(key) => (self.shared.seed.hash_one(key), self.plan(key)),
            None => (self.shared.seed.build_hasher().finish(), 0),
        }
    }

    /// Takes `cost` cells of `key`, or of what callers without a key share.
    pub(crate) fn check_any(&self, key: Option<&K>, cost: u32) -> Result<Allowed, Rejected> {
        let (hash, plan) = self.place(key);
        self.shared.watch.tell(cost, self.shared.check(hash, plan, cost, 0))
    }

    /// What `key` is limited to.
    pub(crate) fn quota_of(&self, key: Option<&K>) -> Quota {
        let plan = key.map_or(0, |key| self.plan(key));
        self.shared.plans(|plans| plans.bucket(plan).quota())
    }

    /// Takes `cost` cells of `key` now, or a turn within `patience`.
    pub(crate) fn acquire(
        &self,
        key: Option<&K>,
        cost: u32,
        patience: Duration,
    ) -> Result<Option<KeyedTurn>, Rejected> {
        let (hash, plan) = self.place(key);
        let watch = &self.shared.watch;
        let rejected = match self.shared.check(hash, plan, cost, 0) {
            Ok(allowed) => return watch.tell(cost, Ok(allowed)).map(|_| None),
            Err(rejected) => rejected,
        };
        if patience.is_zero() || watch.is_shadow() {
            return watch.tell(cost, Err(rejected)).map(|_| None);
        }
        let nanos = u64::try_from(patience.as_nanos()).unwrap_or(u64::MAX);
        match self.shared.book(hash, plan, cost, nanos, rejected) {
            Ok(booked) => {
                let turn = KeyedTurn { shared: self.shared.clone(), hash, booked, used: false };
                watch.waits(cost, turn.delay());
                Ok(Some(turn))
            }
            Err(rejected) => watch.tell(cost, Err(rejected)).map(|_| None),
        }
    }

    /// A refusal for good.
    pub(crate) fn never(&self) -> Rejected {
        self.shared.bucket.refuse_for_good(self.shared.clock.now())
    }
}

/// Where the cells of a turn end, in the bucket that they were taken from.
#[derive(Clone, Copy)]
struct Booked {
    ready: Instant,
    end: u64,
    size: u64,
    slot: u8,
    generation: u64,
}

impl Shared {
    /// Takes a turn of a key that was refused just now; one without a place has nothing to wait for.
    fn book(
        &self,
        hash: u64,
        plan: usize,
        cost: u32,
        patience_nanos: u64,
        rejected: Rejected,
    ) -> Result<Booked, Rejected> {
        let mut spins = 0;
        loop {
            let booked = self.plans(|plans| {
                let Some(mut held) = self.table.find(hash) else {
                    return Some(Err(rejected));
                };
                let generation = plans.generation();
                // Relaxed: under the lock of the place, as for a check.
                if self.generation.load(Relaxed) != generation {
                    return None;
                }
                let (now, slot) = (self.clock.now(), plans.slot(plan));
                let mut state = held.state();
                plans.move_to(slot, held.slot(), &mut state, now);
                held.set_slot(slot);
                let before = state;
                let booked = plans.bucket(plan).book(&mut state, now, cost, patience_nanos);
                held.set(state);
                Some(booked.map(|(ready, _)| {
                    let size = state.saturating_sub(before);
                    Booked { ready, end: state, size, slot, generation }
                }))
            });
            match booked {
                Some(booked) => return booked,
                None => pause(&mut spins),
            }
        }
    }

    /// Gives back what later turns have not built on; nothing once the quota has changed, because
    /// the bucket counts in other units then.
    fn unbook(&self, hash: u64, booked: &Booked) {
        let Some(mut held) = self.table.find(hash) else { return };
        let is_same =
            held.slot() == booked.slot && self.generation.load(Relaxed) == booked.generation;
        if is_same && self.clock.now() < booked.ready {
            let state = held.state();
            let built_on = state.saturating_sub(booked.end);
            held.set(state.saturating_sub(booked.size.saturating_sub(built_on)));
        }
    }
}

/// A turn of a key. Dropped before it has come, it gives back what later turns have not built on.
pub struct KeyedTurn {
    shared: Arc<Shared>,
    hash: u64,
    booked: Booked,
    used: bool,
}

impl KeyedTurn {
    fn delay(&self) -> Duration {
        self.booked.ready.saturating_since(self.shared.clock.now())
    }
}

impl Drop for KeyedTurn {
    fn drop(&mut self) {
        if !self.used {
            self.shared.unbook(self.hash, &self.booked);
        }
    }
}

impl fmt::Debug for KeyedTurn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyedTurn").field("delay", &self.delay()).finish_non_exhaustive()
    }
}

pin_project! {
    /// Waits for the turn of a key. Dropped before, it gives the turn back.
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct KeyedWait {
        #[pin]
        sleep: Sleep,
        turn: KeyedTurn,
    }
}

impl KeyedWait {
    pub(crate) fn new(turn: KeyedTurn) -> Self {
        Self { sleep: sleep(turn.delay()), turn }
    }
}

impl Future for KeyedWait {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        loop {
            ready!(this.sleep.as_mut().poll(cx));
            // Tokio's clock is not the limiter's, and it is the limiter's that counts.
            let delay = this.turn.delay();
            if delay.is_zero() {
                this.turn.used = true;
                return Poll::Ready(());
            }
            this.sleep.as_mut().reset(TokioInstant::now() + delay);
        }
    }
}
