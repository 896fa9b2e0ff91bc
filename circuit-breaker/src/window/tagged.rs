//! Words that count for one bucket of one generation.

use std::sync::atomic::Ordering::Relaxed;

use super::Tag;
use crate::sync::AtomicU64;

/// A count of 28 bits below the mark of the bucket it belongs to.
///
/// A write whose mark is not the word's is dropped: its bucket, or its generation, is over.
#[derive(Debug)]
pub(crate) struct Tagged(AtomicU64);

const COUNT_BITS: u32 = 28;
const COUNT: u64 = (1 << COUNT_BITS) - 1;

/// A bucket of a generation: 12 bits of the tag, 24 of the bucket's number.
///
/// A delayed write would have to sleep for 16 million buckets, or through 4,096 changes of state, to
/// meet its own mark again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark(u64);

impl Mark {
    pub(crate) const fn new(tag: Tag, bucket: u64) -> Self {
        Self((tag.0 as u64 & 0xfff) << 24 | bucket & 0xff_ffff)
    }
}

impl Tagged {
    pub(crate) fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Starts the bucket `mark` and gives what was counted before.
    pub(crate) fn start(&self, mark: Mark) -> u64 {
        self.0.swap(mark.0 << COUNT_BITS, Relaxed) & COUNT
    }

    /// The count, if it is of the bucket `mark`.
    #[inline]
    pub(crate) fn read(&self, mark: Mark) -> u64 {
        let word = self.0.load(Relaxed);
        if word >> COUNT_BITS == mark.0 { word & COUNT } else { 0 }
    }

    /// Counts one more in the bucket `mark`, at most 268 million; false when that is over.
    #[inline]
    pub(crate) fn add(&self, mark: Mark) -> bool {
        self.change(mark, |count| if count == COUNT { count } else { count + 1 })
    }

    /// Counts one less in the bucket `mark`; false when that is over.
    pub(crate) fn subtract(&self, mark: Mark) -> bool {
        self.change(mark, |count| count.saturating_sub(1))
    }

    /// Moves what is counted in the bucket `mark` to `other`, with no moment at which it is in
    /// neither.
    pub(crate) fn hand_on(&self, mark: Mark, other: &Self, others: Mark) {
        let mut word = self.0.load(Relaxed);
        while word >> COUNT_BITS == mark.0 && word & COUNT != 0 {
            let count = word & COUNT;
            other.change(others, |sum| (sum + count).min(COUNT));
            // Another mark, so that whoever ends now looks for itself in `other`.
            match self.0.compare_exchange(word, u64::MAX << COUNT_BITS, Relaxed, Relaxed) {
                Ok(_) => return,
                Err(now) => {
                    other.change(others, |sum| sum.saturating_sub(count));
                    word = now;
                }
            }
        }
    }

    #[inline]
    fn change(&self, mark: Mark, change: impl Fn(u64) -> u64) -> bool {
        let mut word = self.0.load(Relaxed);
        loop {
            if word >> COUNT_BITS != mark.0 {
                return false;
            }
            let next = mark.0 << COUNT_BITS | change(word & COUNT);
            match self.0.compare_exchange_weak(word, next, Relaxed, Relaxed) {
                Ok(_) => return true,
                Err(now) => word = now,
            }
        }
    }
}

/// Where a row of buckets stands: the number of its newest one above the tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head(u64);

impl Head {
    pub(crate) const fn new(tag: Tag, bucket: u64) -> Self {
        Self(bucket << 16 | tag.0 as u64)
    }

    pub(crate) const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    pub(crate) const fn bits(self) -> u64 {
        self.0
    }

    pub(crate) const fn bucket(self) -> u64 {
        self.0 >> 16
    }

    pub(crate) const fn tag(self) -> Tag {
        Tag(self.0 as u16)
    }
}
