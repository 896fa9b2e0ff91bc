//! The last N calls.
//!
//! # Algorithm
//!
//! A ring with one slot for each of the N calls. A call claims the next place with one addition to a
//! cursor, exchanges what the slot held, and corrects the sums by the difference. In a healthy
//! service the slot holds a success already and the sums do not change, so that a success writes one
//! word: the cursor.
//!
//! # Orderings
//!
//! Relaxed throughout. Each word carries the tag of its generation, and every change but the claim is
//! a compare-exchange that fails on another tag; the sums are, at any quiet moment, those of the
//! slots. A generation is published by the machine's word (Release) after [`CountWindow::reset`].
//!
//! A call of an older generation that claims a place at the very moment of the change leaves that
//! place without a verdict for one lap; it never adds one.

use std::sync::{OnceLock, atomic::Ordering::Relaxed};

use super::{Counts, Sample, Tag};
use crate::sync::{Apart, AtomicU32, AtomicU64};

/// The sums have 16 bits for each.
pub(crate) const MAX_CALLS: u32 = u16::MAX as u32;

/// Rings of 1, 2, 4 … 65,536 slots: a ring that callers may be reading is never replaced, a window of
/// another size uses another ring.
const RINGS: usize = 17;

const OCCUPIED: u32 = 1;
const FAILED: u32 = 2;
const SLOW: u32 = 4;

pub(crate) struct CountWindow {
    /// The next place above the tag, so that it overflows without touching the tag.
    cursor: Apart<AtomicU64>,
    /// From above: tag, slow calls, failures, calls.
    sums: AtomicU64,
    /// How many calls it holds; set under the machine's lock, before the generation that uses it.
    calls: AtomicU32,
    ring: AtomicU32,
    /// 2⁶⁴ divided by `calls`, rounded up, so that a place is found by multiplying: the method of
    /// Granlund and Montgomery, *Division by Invariant Integers using Multiplication* (1994). Exact,
    /// because places have 48 bits and `calls` 16. 0 for a window of one call.
    inverse: AtomicU64,
    rings: [OnceLock<Box<[AtomicU32]>>; RINGS],
}

impl CountWindow {
    pub(crate) fn new(tag: Tag) -> Self {
        Self {
            cursor: Apart(AtomicU64::new(tag.0.into())),
            sums: AtomicU64::new(empty(tag)),
            calls: AtomicU32::new(1),
            ring: AtomicU32::new(0),
            inverse: AtomicU64::new(0),
            rings: Default::default(),
        }
    }

    /// Allocates what a window of `calls` needs, and makes it the one in use.
    pub(crate) fn prepare(&self, calls: u32) {
        self.calls.store(calls, Relaxed);
        self.ring.store(ring_for(calls) as u32, Relaxed);
        let inverse = if calls == 1 { 0 } else { u64::MAX / u64::from(calls) + 1 };
        self.inverse.store(inverse, Relaxed);
        self.rings[ring_for(calls)]
            .get_or_init(|| (0..calls.next_power_of_two()).map(|_| AtomicU32::new(0)).collect());
    }

    /// Starts a new generation: everything that carries another tag is forgotten by that.
    pub(crate) fn reset(&self, tag: Tag) {
        self.sums.swap(empty(tag), Relaxed);
        let retag = |cursor: u64| Some(cursor & !0xffff | u64::from(tag.0));
        // `retag` always answers, so that the update cannot fail.
        let _ = self.cursor.fetch_update(Relaxed, Relaxed, retag);
    }

    pub(crate) fn counts(&self) -> Counts {
        unpack(self.sums.load(Relaxed))
    }

    /// Adds a call; `None` for an older generation.
    #[inline]
    pub(crate) fn record(&self, tag: Tag, sample: Sample) -> Option<Counts> {
        // Relaxed: while these change, the generation does too, and what is read of two sizes at once
        // is refused by the tags or the bounds.
        let ring = self.rings[self.ring.load(Relaxed) as usize].get()?;
        let claim = self.cursor.fetch_add(1 << 16, Relaxed);
        if claim as u16 != tag.0 {
            return None;
        }
        let slot = ring.get(self.place(claim >> 16))?;
        let mine = u32::from(tag.0) << 16 | flags(sample);
        let before = slot.load(Relaxed);
        if before == mine {
            return self.current(tag);
        }
        self.exchange(tag, slot, before, mine)
    }

    /// `turn` modulo the number of calls.
    #[inline]
    fn place(&self, turn: u64) -> usize {
        let (inverse, calls) = (self.inverse.load(Relaxed), self.calls.load(Relaxed));
        let laps = ((u128::from(turn) * u128::from(inverse)) >> 64) as u64;
        if calls == 1 { 0 } else { turn.wrapping_sub(laps.wrapping_mul(calls.into())) as usize }
    }

    #[inline]
    fn current(&self, tag: Tag) -> Option<Counts> {
        let sums = self.sums.load(Relaxed);
        (tag_of(sums) == tag).then(|| unpack(sums))
    }

    #[cold]
    fn exchange(&self, tag: Tag, slot: &AtomicU32, mut before: u32, mine: u32) -> Option<Counts> {
        loop {
            // Whatever else is in the slot is older than this generation, as long as it lasts; if it
            // ends here, what is written carries its tag and counts as empty.
            self.current(tag)?;
            match slot.compare_exchange_weak(before, mine, Relaxed, Relaxed) {
                Ok(_) => break,
                Err(now) => before = now,
            }
        }
        let replaced = if before >> 16 == u32::from(tag.0) { before } else { 0 };
        let mut sums = self.sums.load(Relaxed);
        loop {
            if tag_of(sums) != tag {
                return None;
            }
            let next = correct(sums, replaced, mine);
            match self.sums.compare_exchange_weak(sums, next, Relaxed, Relaxed) {
                Ok(_) => return Some(unpack(next)),
                Err(now) => sums = now,
            }
        }
    }
}

impl std::fmt::Debug for CountWindow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CountWindow").field("counts", &self.counts()).finish_non_exhaustive()
    }
}

const fn ring_for(calls: u32) -> usize {
    calls.next_power_of_two().trailing_zeros() as usize
}

const fn flags(sample: Sample) -> u32 {
    OCCUPIED | if sample.failed { FAILED } else { 0 } | if sample.slow { SLOW } else { 0 }
}

const fn empty(tag: Tag) -> u64 {
    (tag.0 as u64) << 48
}

const fn tag_of(sums: u64) -> Tag {
    Tag((sums >> 48) as u16)
}

const fn unpack(sums: u64) -> Counts {
    Counts { calls: sums & 0xffff, failures: sums >> 16 & 0xffff, slow: sums >> 32 & 0xffff }
}

/// `sums` with the flags of `out` replaced by those of `new`.
const fn correct(sums: u64, out: u32, new: u32) -> u64 {
    let mut sums = sums;
    let mut field = 0;
    while field < 3 {
        let (flag, shift) = (1 << field, 16 * field);
        let full = sums >> shift & 0xffff == 0xffff;
        let none = sums >> shift & 0xffff == 0;
        if new & flag != 0 && out & flag == 0 && !full {
            sums += 1 << shift;
        }
        // Never below zero, even if a tag should repeat after 65,536 generations.
        if out & flag != 0 && new & flag == 0 && !none {
            sums -= 1 << shift;
        }
        field += 1;
    }
    sums
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    fn window(calls: u32) -> CountWindow {
        let window = CountWindow::new(Tag(0));
        window.prepare(calls);
        window
    }

    proptest! {
        #[test]
        fn it_counts_the_last_n_calls_of_its_generation(
            calls in 1..40_u32,
            steps in proptest::collection::vec((any::<bool>(), any::<bool>(), 0..60_u8), 0..300),
        ) {
            let (window, mut tag) = (window(calls), Tag(65_500));
            window.reset(tag);
            let mut model = VecDeque::new();
            for (failed, slow, kind) in steps {
                if kind == 0 {
                    tag = Tag(tag.0.wrapping_add(1));
                    window.reset(tag);
                    model.clear();
                }
                let counts = window.record(tag, Sample { failed, slow }).unwrap();
                model.push_back((failed, slow));
                if model.len() > calls as usize {
                    model.pop_front();
                }
                let expected = Counts {
                    calls: model.len() as u64,
                    failures: model.iter().filter(|call| call.0).count() as u64,
                    slow: model.iter().filter(|call| call.1).count() as u64,
                };
                prop_assert_eq!(counts, expected);
                prop_assert_eq!(window.record(Tag(tag.0 ^ 1), Sample::FAILED), None);
                // The stray claim costs a place; put the model where the ring is.
                model.push_back((false, false));
                model.pop_back();
                window.cursor.fetch_sub(1 << 16, Relaxed);
            }
        }
    }

    proptest! {
        #[test]
        fn a_place_is_the_remainder(turn in 0..1_u64 << 48, calls in 1..=MAX_CALLS) {
            let window = window(calls);
            prop_assert_eq!(window.place(turn) as u64, turn % u64::from(calls));
        }
    }

    #[test]
    fn sums_are_those_of_the_ring_after_many_threads() {
        let window = window(100);
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let window = &window;
                scope.spawn(move || {
                    for n in 0..20_000 {
                        let sample = Sample { failed: (n + thread) % 3 == 0, slow: n % 7 == 0 };
                        window.record(Tag(0), sample);
                    }
                });
            }
        });
        let ring = window.rings[ring_for(100)].get().unwrap();
        let held = |flag| ring.iter().filter(|slot| slot.load(Relaxed) & flag != 0).count() as u64;
        let counts = window.counts();
        assert_eq!(counts.calls, 100);
        assert_eq!((counts.failures, counts.slow), (held(FAILED), held(SLOW)));
    }

    #[test]
    fn the_largest_window_fills_to_its_last_place() {
        let window = window(MAX_CALLS);
        for _ in 0..=MAX_CALLS {
            window.record(Tag(0), Sample::FAILED);
        }
        let all = u64::from(MAX_CALLS);
        assert_eq!(window.counts(), Counts { calls: all, failures: all, slow: 0 });
    }
}
