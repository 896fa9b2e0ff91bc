//! Calls in flight that are slower than they should be, while they still are.
//!
//! # Algorithm
//!
//! Calls are counted by when they started, in steps of an eighth of the threshold; a call takes itself
//! out when it ends. When a step begins, those from nine steps ago and earlier are overdue: each of
//! them started more than a threshold ago. Steps that are reused hand what is left in them to one
//! common count. A call costs one write at each end, however many are in flight.
//!
//! # Orderings
//!
//! As in the time window: `head` is moved under the lock of `turn`, with Release, after the step that
//! it names was made ready; the counts are [`Tagged`], so a call of an older generation changes
//! nothing. A step's count is added to `overdue` before it is cleared; only the caller that turns
//! reads the sum, and it does so after that.

use std::sync::{
    PoisonError,
    atomic::Ordering::{Acquire, Release},
};

use seawall_core::Instant;

use crate::{
    sync::{AtomicU64, Mutex},
    window::{Head, Mark, Tag, Tagged},
};

/// An eighth of the threshold is soon enough to notice.
pub(crate) const STEPS_PER_THRESHOLD: u64 = 8;
/// More than a threshold's worth, so that a step is overdue before it is reused.
const STEPS: u64 = 16;
/// Marks the common count; steps are numbered below it for 584 years.
const COMMON: u64 = 0xff_ffff;

#[derive(Debug)]
pub(crate) struct InFlight {
    head: AtomicU64,
    steps: [Tagged; STEPS as usize],
    overdue: Tagged,
    turn: Mutex<()>,
}

/// A call has been counted in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    /// The step in which it started.
    pub(crate) step: u64,
    /// It was the first of its step.
    pub(crate) turned: bool,
}

impl InFlight {
    pub(crate) fn new() -> Self {
        Self {
            head: AtomicU64::new(Head::new(Tag(0), 0).bits()),
            steps: std::array::from_fn(|_| Tagged::new()),
            overdue: Tagged::new(),
            turn: Mutex::new(()),
        }
    }

    /// Starts a new generation: calls of the one before are nobody's concern any more.
    pub(crate) fn reset(&self, tag: Tag, now: Instant, step_nanos: u64) {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let newest = now.as_nanos() / step_nanos.max(1);
        self.overdue.start(Mark::new(tag, COMMON));
        for step in newest.saturating_sub(STEPS - 1)..=newest {
            self.place(step).start(Mark::new(tag, step));
        }
        // Release: pairs with the Acquire in `head`.
        self.head.store(Head::new(tag, newest).bits(), Release);
    }

    /// Counts a call in that starts `now`; `None` for an older generation.
    pub(crate) fn enter(&self, tag: Tag, now: Instant, step_nanos: u64) -> Option<Entry> {
        let step = now.as_nanos() / step_nanos.max(1);
        let mut head = self.head();
        let turned = step > head.bucket();
        if turned {
            head = self.turn(tag, step);
        }
        let step = head.bucket();
        let entered = head.tag() == tag && self.place(step).add(Mark::new(tag, step));
        entered.then_some(Entry { step, turned })
    }

    /// Takes the call out that entered in `step`.
    pub(crate) fn leave(&self, tag: Tag, step: u64) {
        if !self.place(step).subtract(Mark::new(tag, step)) {
            // It was overdue and has been handed on, or its generation is over.
            self.overdue.subtract(Mark::new(tag, COMMON));
        }
    }

    /// How many calls have been in flight for at least the threshold.
    pub(crate) fn overdue(&self, now: Instant, step_nanos: u64) -> u64 {
        let head = self.head();
        let tag = head.tag();
        let step = now.as_nanos() / step_nanos.max(1);
        let mut sum = self.overdue.read(Mark::new(tag, COMMON));
        let first = head.bucket().saturating_sub(STEPS - 1);
        for late in first..=head.bucket() {
            if late + STEPS_PER_THRESHOLD < step {
                sum += self.place(late).read(Mark::new(tag, late));
            }
        }
        sum
    }

    #[cold]
    fn turn(&self, tag: Tag, step: u64) -> Head {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let head = self.head();
        if head.tag() != tag || step <= head.bucket() {
            return head;
        }
        let first = (head.bucket() + 1).max(step.saturating_sub(STEPS - 1));
        for next in first..=step {
            // What this place last stood for: the newest step before with the same place.
            let back = (next - head.bucket()).div_ceil(STEPS) * STEPS;
            if let Some(last) = next.checked_sub(back) {
                let common = Mark::new(tag, COMMON);
                self.place(next).hand_on(Mark::new(tag, last), &self.overdue, common);
            }
            self.place(next).start(Mark::new(tag, next));
        }
        let head = Head::new(tag, step);
        // Release: pairs with the Acquire in `head`.
        self.head.store(head.bits(), Release);
        head
    }

    fn place(&self, step: u64) -> &Tagged {
        &self.steps[(step % STEPS) as usize]
    }

    fn head(&self) -> Head {
        // Acquire: pairs with the Release in `turn` and `reset`.
        Head::from_bits(self.head.load(Acquire))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A threshold of 800.
    const STEP: u64 = 100;

    fn at(nanos: u64) -> Instant {
        Instant::from_nanos(nanos)
    }

    #[test]
    fn a_call_is_overdue_at_the_latest_a_step_and_an_eighth_after_the_threshold() {
        let (calls, tag) = (InFlight::new(), Tag(1));
        calls.reset(tag, at(0), STEP);
        calls.enter(tag, at(0), STEP).unwrap();
        assert_eq!(calls.overdue(at(899), STEP), 0);
        assert_eq!(calls.overdue(at(900), STEP), 1);
    }

    proptest! {
        #[test]
        fn it_counts_what_started_nine_steps_ago_or_earlier_and_did_not_end(
            steps in proptest::collection::vec((0..2_500_u64, any::<u8>(), 0..60_u8), 0..200),
        ) {
            let (calls, mut tag, mut now) = (InFlight::new(), Tag(65_534), 0);
            calls.reset(tag, at(0), STEP);
            let mut out: Vec<(Tag, u64)> = Vec::new();
            for (pass, pick, kind) in steps {
                now += if kind % 5 == 0 { pass } else { pass % 120 };
                if kind == 0 {
                    tag = Tag(tag.0.wrapping_add(1));
                    calls.reset(tag, at(now), STEP);
                } else if kind % 3 == 0 && !out.is_empty() {
                    let (tag, step) = out.remove(pick as usize % out.len());
                    calls.leave(tag, step);
                } else {
                    let entry = calls.enter(tag, at(now), STEP).unwrap();
                    prop_assert_eq!(entry.step, now / STEP);
                    out.push((tag, entry.step));
                }
                let late = |call: &&(Tag, u64)| call.0 == tag && call.1 + 8 < now / STEP;
                prop_assert_eq!(calls.overdue(at(now), STEP), out.iter().filter(late).count() as u64);
            }
        }
    }
}
