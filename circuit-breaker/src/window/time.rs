//! The calls of the last so many seconds.
//!
//! # Algorithm
//!
//! Sixteen buckets, each a sixteenth of the window long; the newest one is still filling, so a call
//! counts for at least 15/16 of the window and at most all of it. A call adds to the newest bucket;
//! the first one after a bucket's end clears those that time has passed over. The cost of a call
//! depends neither on the rate of calls nor on the window's length.
//!
//! # Orderings
//!
//! `head` names the newest bucket. It is moved only under the lock of `turn`, with Release, after the
//! buckets that it passes over have been cleared; callers load it with Acquire, so they find the
//! bucket that it names ready. The counts are [`Tagged`]: relaxed, and dropped by a bucket that is
//! over. A call that was counted in `calls` and not yet in `failures` makes the rate too low for a
//! moment, never too high.

use std::sync::{
    PoisonError,
    atomic::Ordering::{Acquire, Relaxed, Release},
};

use seawall_core::Instant;

use super::{
    Counts, Sample, Tag,
    tagged::{Head, Mark, Tagged},
};
use crate::sync::{Apart, AtomicU64, Mutex};

/// A power of two, so that a bucket's place is a mask away. More would make the window's end smoother
/// and its sum dearer.
pub(crate) const BUCKETS: u64 = 16;

#[derive(Debug)]
pub(crate) struct TimeWindow {
    head: AtomicU64,
    /// The newest bucket with a failure or a slow call in it, or later.
    last_bad: AtomicU64,
    failures: [Tagged; BUCKETS as usize],
    slow: [Tagged; BUCKETS as usize],
    calls: Apart<[Tagged; BUCKETS as usize]>,
    turn: Mutex<()>,
}

impl TimeWindow {
    pub(crate) fn new() -> Self {
        let row = || std::array::from_fn(|_| Tagged::new());
        Self {
            head: AtomicU64::new(Head::new(Tag(0), 0).bits()),
            last_bad: AtomicU64::new(0),
            failures: row(),
            slow: row(),
            calls: Apart(row()),
            turn: Mutex::new(()),
        }
    }

    /// Starts a new generation with buckets of `bucket_nanos`.
    pub(crate) fn reset(&self, tag: Tag, now: Instant, bucket_nanos: u64) {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let newest = now.as_nanos() / bucket_nanos;
        self.clear(tag, newest.saturating_sub(BUCKETS - 1), newest);
        self.last_bad.store(0, Relaxed);
        // Release: pairs with the Acquire in `record`.
        self.head.store(Head::new(tag, newest).bits(), Release);
    }

    /// Adds a call that ended `now`; `None` for an older generation.
    ///
    /// While nothing in the window went wrong, sums it only if it is told to, and else gives the one
    /// call.
    #[inline]
    pub(crate) fn record(
        &self,
        tag: Tag,
        sample: Sample,
        now: Instant,
        bucket_nanos: u64,
        always_sum: bool,
    ) -> Option<Counts> {
        let newest = self.add(tag, sample, now, bucket_nanos)?;
        if !sample.failed && !sample.slow && !always_sum && self.is_clean(newest) {
            // Nothing in the window went wrong, so there is nothing to sum.
            return Some(Counts { calls: 1, failures: 0, slow: 0 });
        }
        Some(self.sum(tag, newest, newest))
    }

    /// Adds a call that ended `now`; gives its bucket, or `None` for an older generation.
    #[inline]
    pub(crate) fn add(
        &self,
        tag: Tag,
        sample: Sample,
        now: Instant,
        bucket_nanos: u64,
    ) -> Option<u64> {
        let bucket = now.as_nanos() / bucket_nanos;
        let mut head = self.head();
        if bucket > head.bucket() {
            head = self.turn(tag, bucket);
        }
        if head.tag() != tag {
            return None;
        }
        // A caller whose clock is behind counts in the newest bucket.
        let (newest, mark) = (head.bucket(), Mark::new(tag, head.bucket()));
        let place = (newest % BUCKETS) as usize;
        if !self.calls[place].add(mark) {
            return None;
        }
        if sample.failed || sample.slow {
            if sample.failed {
                self.failures[place].add(mark);
            }
            if sample.slow {
                self.slow[place].add(mark);
            }
            self.last_bad.fetch_max(newest + 1, Relaxed);
        }
        Some(newest)
    }

    /// Whether something in the window went wrong.
    #[inline]
    pub(crate) fn has_bad(&self, now: Instant, bucket_nanos: u64) -> bool {
        !self.is_clean(now.as_nanos() / bucket_nanos)
    }

    /// Whether nothing went wrong in the window that ends with the bucket `newest`.
    #[inline]
    fn is_clean(&self, newest: u64) -> bool {
        self.last_bad.load(Relaxed) + BUCKETS <= newest
    }

    /// What the window holds at `now`.
    pub(crate) fn counts(&self, now: Instant, bucket_nanos: u64) -> Counts {
        let head = self.head();
        let newest = (now.as_nanos() / bucket_nanos).max(head.bucket());
        self.sum(head.tag(), head.bucket(), newest)
    }

    fn sum(&self, tag: Tag, head: u64, newest: u64) -> Counts {
        let mut counts = Counts::default();
        for bucket in newest.saturating_sub(BUCKETS - 1)..=head {
            let (place, mark) = ((bucket % BUCKETS) as usize, Mark::new(tag, bucket));
            // The failures first: a call on its way into both is then in `calls` at most.
            counts.failures += self.failures[place].read(mark);
            counts.slow += self.slow[place].read(mark);
            counts.calls += self.calls[place].read(mark);
        }
        counts
    }

    /// Makes `bucket` the newest one, unless it is or the generation is over.
    #[cold]
    fn turn(&self, tag: Tag, bucket: u64) -> Head {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let head = self.head();
        if head.tag() != tag || bucket <= head.bucket() {
            return head;
        }
        let first = (head.bucket() + 1).max(bucket.saturating_sub(BUCKETS - 1));
        self.clear(tag, first, bucket);
        let head = Head::new(tag, bucket);
        // Release: pairs with the Acquire in `record`.
        self.head.store(head.bits(), Release);
        head
    }

    fn clear(&self, tag: Tag, first: u64, last: u64) {
        for bucket in first..=last {
            let (place, mark) = ((bucket % BUCKETS) as usize, Mark::new(tag, bucket));
            self.failures[place].start(mark);
            self.slow[place].start(mark);
            self.calls[place].start(mark);
        }
    }

    #[inline]
    fn head(&self) -> Head {
        // Acquire: pairs with the Release in `turn` and `reset`.
        Head::from_bits(self.head.load(Acquire))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LENGTH: u64 = 1_000;

    proptest! {
        #[test]
        fn it_counts_the_calls_of_the_last_sixteen_buckets(
            steps in proptest::collection::vec((0..20_000_u64, any::<bool>(), any::<bool>(), 0..40_u8), 0..200),
        ) {
            let (window, mut tag, mut now) = (TimeWindow::new(), Tag(65_530), 0);
            window.reset(tag, Instant::ORIGIN, LENGTH);
            let mut model: Vec<(u64, Sample)> = Vec::new();
            for (pass, failed, slow, kind) in steps {
                // Mostly short steps; now and then one past the window.
                now += if kind % 4 == 0 { pass } else { pass % 700 };
                let at = Instant::from_nanos(now);
                if kind == 0 {
                    tag = Tag(tag.0.wrapping_add(1));
                    window.reset(tag, at, LENGTH);
                    model.clear();
                }
                let sample = Sample { failed, slow };
                let counts = window.record(tag, sample, at, LENGTH, false).unwrap();
                model.push((now / LENGTH, sample));
                let newest = now / LENGTH;
                let alive: Vec<_> = model.iter().filter(|call| call.0 + BUCKETS > newest).collect();
                let expected = Counts {
                    calls: alive.len() as u64,
                    failures: alive.iter().filter(|call| call.1.failed).count() as u64,
                    slow: alive.iter().filter(|call| call.1.slow).count() as u64,
                };
                if expected.failures + expected.slow > 0 {
                    prop_assert_eq!(counts, expected);
                }
                prop_assert_eq!(window.counts(at, LENGTH), expected);
                prop_assert_eq!(window.record(Tag(tag.0 ^ 1), Sample::FAILED, at, LENGTH, false), None);
            }
        }
    }

    #[test]
    fn a_failure_leaves_when_its_bucket_does_and_not_before() {
        let (window, tag) = (TimeWindow::new(), Tag(3));
        window.reset(tag, Instant::ORIGIN, LENGTH);
        window.record(tag, Sample::FAILED, Instant::from_nanos(999), LENGTH, false);
        assert_eq!(window.counts(Instant::from_nanos(15_999), LENGTH).failures, 1);
        assert_eq!(window.counts(Instant::from_nanos(16_000), LENGTH).failures, 0);
    }

    #[test]
    fn a_clock_that_runs_backward_counts_in_the_newest_bucket() {
        let (window, tag) = (TimeWindow::new(), Tag(0));
        window.reset(tag, Instant::from_nanos(50_000), LENGTH);
        let counts = window.record(tag, Sample::FAILED, Instant::ORIGIN, LENGTH, false).unwrap();
        assert_eq!(counts.failures, 1);
    }

    #[test]
    fn the_end_of_time_is_a_bucket_like_any_other() {
        let (window, tag) = (TimeWindow::new(), Tag(0));
        let length = 625_000;
        window.reset(tag, Instant::ORIGIN, length);
        for _ in 0..3 {
            window.record(tag, Sample::FAILED, Instant::MAX, length, false);
        }
        assert_eq!(window.counts(Instant::MAX, length).failures, 3);
    }

    #[test]
    fn no_call_is_lost_between_threads_and_turning_buckets() {
        let (window, tag) = (TimeWindow::new(), Tag(0));
        window.reset(tag, Instant::ORIGIN, LENGTH);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                let window = &window;
                scope.spawn(move || {
                    for n in 0..10_000 {
                        let sample = Sample { failed: n % 2 == 0, slow: false };
                        window.record(tag, sample, Instant::from_nanos(n), LENGTH, false);
                    }
                });
            }
        });
        let counts = window.counts(Instant::from_nanos(9_999), LENGTH);
        assert_eq!((counts.calls, counts.failures), (40_000, 20_000));
    }
}
