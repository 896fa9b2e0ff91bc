//! What the handles of a keyed limiter share.

use std::sync::{
    Arc,
    atomic::Ordering::{Relaxed, Release},
};

use seawall_core::Clock;

use super::{Full, hash::Seed, plans::Plans, table::Table};
use crate::{
    Allowed, Rejected, TokenBucket,
    algorithm::{Algorithm, Share, SharedBucket},
    sync::{AtomicU64, Mutex, Swap, lock, pause},
    watch::Watch,
};

pub(super) struct Shared {
    pub(super) table: Table,
    pub(super) seed: Seed,
    pub(super) clock: Clock,
    pub(super) watch: Watch,
    /// The first plan as it was built.
    pub(super) bucket: TokenBucket,
    /// How often a quota was changed. What is published in `latest` comes before it is counted here.
    pub(super) generation: AtomicU64,
    pub(super) built: Plans,
    pub(super) latest: Swap<Plans>,
    pub(super) changing: Mutex<()>,
    /// What keys without a place share, for each plan.
    pub(super) overflow: Box<[SharedBucket]>,
    /// How often there was no place for a key.
    pub(super) full: AtomicU64,
    pub(super) when_full: Full,
    pub(super) keys: usize,
}

impl Shared {
    #[inline]
    pub(super) fn check(
        &self,
        hash: u64,
        plan: usize,
        cost: u32,
        spare: u32,
    ) -> Result<Allowed, Rejected> {
        let now = self.clock.now();
        let found = self.table.find(hash);
        let is_known = found.is_some();
        if let Some(mut held) = found {
            // Relaxed: whoever moved this key to another slot knew of the change before giving the
            // lock back, and changes that are not known yet have still to lock this place.
            if plan == 0 && held.slot() == 0 && self.generation.load(Relaxed) == 0 {
                let mut state = held.state();
                let answer = self.bucket.take(&mut state, now, cost, spare);
                held.set(state);
                return answer;
            }
        }
        self.enter(hash, plan, (cost, spare), is_known)
    }

    #[inline(never)]
    pub(super) fn tell(&self, hash: u64, plan: usize, cost: u32) -> Result<Allowed, Rejected> {
        self.watch.tell(cost, self.check(hash, plan, cost, 0))
    }

    /// The way of new keys, of plans other than the first, and after a change.
    #[inline(never)]
    fn enter(
        &self,
        hash: u64,
        plan: usize,
        cost: (u32, u32),
        is_known: bool,
    ) -> Result<Allowed, Rejected> {
        let mut spins = 0;
        loop {
            if let Some(answer) =
                self.plans(|plans| self.try_enter(plans, hash, plan, cost, is_known))
            {
                return answer;
            }
            pause(&mut spins);
        }
    }

    /// Nothing when `plans` are not the latest.
    fn try_enter(
        &self,
        plans: &Plans,
        hash: u64,
        plan: usize,
        (cost, spare): (u32, u32),
        is_known: bool,
    ) -> Option<Result<Allowed, Rejected>> {
        let is_latest = || self.generation.load(Relaxed) == plans.generation();
        let (slot, bucket) = (plans.slot(plan), plans.bucket(plan));
        let now = self.clock.now();
        let held = match is_known.then(|| self.table.find(hash)).flatten() {
            Some(held) => Ok(held),
            // A key whose plans are not known is not known to be at rest.
            None => self.table.enter(hash, (slot, bucket.rest()), |slot, tat| {
                plans.rested_nanos(slot, tat, now).filter(|_| is_latest())
            }),
        };
        if !is_latest() {
            return None;
        }
        let mut held = match held {
            Ok(held) => held,
            Err(taken) => {
                // Relaxed: a count; nothing is read on the strength of it.
                self.full.fetch_add(1, Relaxed);
                return Some(match self.when_full {
                    Full::Share => self.overflow[plan].take(now, cost, spare),
                    Full::Refuse => {
                        let rest = taken.map(|(slot, tat)| plans.nanos_to_rest(slot, tat, now));
                        Err(bucket.refuse_at_rest(rest.min().unwrap_or(0), now))
                    }
                });
            }
        };
        let mut state = held.state();
        plans.move_to(slot, held.slot(), &mut state, now);
        held.set_slot(slot);
        let answer = bucket.take(&mut state, now, cost, spare);
        held.set(state);
        Some(answer)
    }

    pub(super) fn look(&self, hash: u64, plan: usize) -> Result<Allowed, Rejected> {
        let mut spins = 0;
        loop {
            let answer = self.plans(|plans| {
                let now = self.clock.now();
                let held = self.table.find(hash);
                let mut state =
                    held.as_ref().map_or(plans.bucket(plan).rest(), |held| held.state());
                if let Some(held) = &held {
                    if self.generation.load(Relaxed) != plans.generation() {
                        return None;
                    }
                    plans.move_to(plans.slot(plan), held.slot(), &mut state, now);
                }
                Some(plans.bucket(plan).look(&state, now, 1, 0))
            });
            match answer {
                Some(answer) => return answer,
                None => pause(&mut spins),
            }
        }
    }

    pub(super) fn plans<R>(&self, look: impl FnOnce(&Plans) -> R) -> R {
        // Relaxed: what is decided by plans that are not the latest is thrown away.
        if self.generation.load(Relaxed) == 0 {
            return look(&self.built);
        }
        self.latest.with(|latest| look(latest.unwrap_or(&self.built)))
    }

    /// Keeps `bucket` for the keys of `plan` from now on.
    pub(super) fn change(&self, plan: usize, bucket: TokenBucket) {
        let _changing = lock(&self.changing);
        let now = self.clock.now();
        let plans = self.plans(|plans| plans.changed(plan, bucket, now));
        self.publish(plans.clone());
        for mut held in self.table.used() {
            let (mut state, slot) = (held.state(), plans.slot(plan));
            if plans.is_moved(held.slot()) {
                plans.move_to(slot, held.slot(), &mut state, now);
                held.set_slot(slot);
                held.set(state);
            }
        }
        self.overflow[plan].adopt(now, bucket);
        // Nobody is in the slot that was left: the next change may use it.
        self.publish(plans.settled());
    }

    fn publish(&self, plans: Plans) {
        let generation = plans.generation();
        self.latest.set(Arc::new(plans));
        // Release: pairs with nothing but the locks of places and entries, under which it is read.
        self.generation.store(generation, Release);
    }
}
