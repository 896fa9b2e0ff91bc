//! The token bucket in the hands of many, without a lock.
//!
//! # Orderings
//!
//! The state is one word, the TAT, and all that handles share: a decision reads it, and one
//! compare-exchange on the same word makes it true. Nothing else is read on the strength of it, so
//! that every access is relaxed.
//!
//! A bucket of another quota counts in other units, so that it gets a word of its own. The word that
//! it replaces is closed for good: its highest bit is set, so that every compare-exchange on it
//! fails, whatever was read before. Whoever finds it closed takes the latest word, which is published
//! by the swap right after.

use std::sync::{Arc, atomic::Ordering::Relaxed};

use seawall_core::Instant;

use super::{Algorithm, Booked, Share, TokenBucket};
use crate::{
    Allowed, Rejected,
    sync::{Apart, AtomicU64, Mutex, Swap, lock, pause},
};

/// Marks a word that was replaced; no TAT reaches this far.
const CLOSED: u64 = 1 << 63;

/// A token bucket that handles share.
///
/// # Cost
///
/// One compare-exchange for each call that passes, none for one that does not. Once the quota was
/// changed, a reader's slot of `arc-swap` besides.
#[derive(Debug)]
pub struct SharedBucket {
    /// As it was built, in place: most limiters are never changed.
    tat: Apart<AtomicU64>,
    bucket: TokenBucket,
    /// What came later.
    latest: Swap<Later>,
    changing: Mutex<()>,
}

#[derive(Debug)]
struct Later {
    tat: Apart<AtomicU64>,
    bucket: TokenBucket,
    ruler: Ruler,
}

/// Counts cells along the TAT from the first bucket on, in 2^-32 of a cell, so that bookings can be
/// told apart across changes of the unit: the count goes on where the bucket before left it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Ruler {
    offset: i128,
}

impl Ruler {
    fn cells(self, bucket: &TokenBucket, tat: u64) -> i128 {
        self.offset + (i128::from(tat) << 32) / i128::from(bucket.per_cell())
    }

    /// The ruler of a bucket whose `tat` stands for the same moment as that of the bucket before.
    fn go_on(self, before: (&TokenBucket, u64), after: (&TokenBucket, u64)) -> Self {
        let zero = Self::default();
        Self { offset: self.cells(before.0, before.1) - zero.cells(after.0, after.1) }
    }
}

/// Where a booking ends, in the units of the bucket that it was made on.
#[derive(Clone, Copy, Debug)]
pub(super) struct End {
    tat: u64,
    bucket: TokenBucket,
    ruler: Ruler,
}

/// Changes an open word as one step; nothing when it is closed.
#[inline]
fn update<R>(word: &AtomicU64, mut change: impl FnMut(&mut u64) -> R) -> Option<R> {
    let mut before = word.load(Relaxed);
    loop {
        if before & CLOSED != 0 {
            return None;
        }
        let mut after = before;
        let answer = change(&mut after);
        // What changes nothing writes nothing: a refusal does not take the line from others.
        if after == before {
            return Some(answer);
        }
        match word.compare_exchange_weak(before, after, Relaxed, Relaxed) {
            Ok(_) => return Some(answer),
            Err(newer) => before = newer,
        }
    }
}

impl SharedBucket {
    /// Acts on the word that is open.
    #[inline]
    fn on<R>(&self, mut act: impl FnMut(&AtomicU64, &TokenBucket, Ruler) -> Option<R>) -> R {
        match act(&self.tat, &self.bucket, Ruler::default()) {
            Some(answer) => answer,
            None => self.on_latest(act),
        }
    }

    /// [`take`](Share::take) once the quota was changed.
    #[inline(never)]
    fn take_latest(&self, now: Instant, cost: u32, spare: u32) -> Result<Allowed, Rejected> {
        self.on_latest(|tat, bucket, _| update(tat, |tat| bucket.take(tat, now, cost, spare)))
    }

    fn on_latest<R>(&self, mut act: impl FnMut(&AtomicU64, &TokenBucket, Ruler) -> Option<R>) -> R {
        let mut spins = 0;
        loop {
            let answer = self.latest.with(|latest| {
                latest.and_then(|later| act(&later.tat, &later.bucket, later.ruler))
            });
            match answer {
                Some(answer) => return answer,
                // Closed, and what replaces it is about to be published.
                None => pause(&mut spins),
            }
        }
    }
}

impl Share<TokenBucket> for SharedBucket {
    fn new(bucket: TokenBucket) -> Self {
        Self {
            tat: Apart(AtomicU64::new(bucket.rest())),
            bucket,
            latest: Swap::default(),
            changing: Mutex::new(()),
        }
    }

    fn algorithm(&self) -> TokenBucket {
        self.on(|tat, bucket, _| update(tat, |_| *bucket))
    }

    fn look(&self, now: Instant, cost: u32, spare: u32) -> Result<Allowed, Rejected> {
        self.on(|tat, bucket, _| update(tat, |tat| bucket.look(tat, now, cost, spare)))
    }

    /// As [`Algorithm::take`], with the answer put together once it
    /// stands: the way of nearly every call. Always inlined, so that the parts of the answer that the
    /// caller does not ask for are not computed, and the others not copied.
    #[inline(always)]
    fn take(&self, now: Instant, cost: u32, spare: u32) -> Result<Allowed, Rejected> {
        let now_units = self.bucket.units_at(now);
        let mut before = self.tat.load(Relaxed);
        while let Some(after) = self.bucket.pass(before, now_units, cost, spare)
            && after & CLOSED == 0
        {
            if cost == 0 {
                return Ok(self.bucket.allow(after, now, now_units));
            }
            match self.tat.compare_exchange_weak(before, after, Relaxed, Relaxed) {
                Ok(_) => return Ok(self.bucket.allow(after, now, now_units)),
                Err(newer) => before = newer,
            }
        }
        if before & CLOSED != 0 {
            return self.take_latest(now, cost, spare);
        }
        self.bucket.refuse(before, now, now_units, (cost, spare))
    }

    fn take_at_most(&self, now: Instant, cost: u32) -> u32 {
        self.on(|tat, bucket, _| {
            update(tat, |tat| {
                let left = bucket.look(tat, now, 0, 0).map_or(0, |allowed| allowed.remaining());
                let cost = cost.min(left);
                bucket.take(tat, now, cost, 0).map_or(0, |_| cost)
            })
        })
    }

    fn book(&self, now: Instant, cost: u32, patience_nanos: u64) -> Result<Booked, Rejected> {
        self.on(|tat, bucket, ruler| {
            update(tat, |tat| {
                let (ready, waits) = bucket.book(tat, now, cost, patience_nanos)?;
                let end = End { tat: *tat, bucket: *bucket, ruler };
                Ok(Booked { waits, end: Some(end), ..Booked::now(ready, cost) })
            })
        })
    }

    fn unbook(&self, now: Instant, booked: &Booked) {
        let Some(end) = booked.end.filter(|_| now < booked.ready) else {
            // What has passed is used.
            return;
        };
        self.on(|tat, bucket, ruler| {
            update(tat, |tat| {
                let back = if ruler == end.ruler && bucket.per_cell() == end.bucket.per_cell() {
                    let size = u64::from(booked.cells) * bucket.per_cell();
                    size.saturating_sub(tat.saturating_sub(end.tat))
                } else {
                    let ends = end.ruler.cells(&end.bucket, end.tat);
                    let built_on = (ruler.cells(bucket, *tat) - ends).max(0);
                    let cells = ((i128::from(booked.cells) << 32) - built_on).max(0);
                    u64::try_from((cells * i128::from(bucket.per_cell())) >> 32).unwrap_or(0)
                };
                *tat = tat.saturating_sub(back);
            })
        });
    }

    fn adopt(&self, now: Instant, bucket: TokenBucket) {
        let _changing = lock(&self.changing);
        let later = self.on(|word, before, ruler| {
            // Nobody changes a word that is closed.
            let mut old = 0;
            update(word, |tat| {
                old = *tat;
                *tat |= CLOSED;
            })?;
            let mut tat = old;
            bucket.adopt(before, &mut tat, now);
            let ruler = ruler.go_on((before, old), (&bucket, tat));
            Some(Later { tat: Apart(AtomicU64::new(tat)), bucket, ruler })
        });
        self.latest.set(Arc::new(later));
    }
}
