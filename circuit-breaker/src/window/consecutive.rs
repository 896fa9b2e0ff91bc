//! Failures in a row.
//!
//! # Algorithm
//!
//! The original breaker of Michael T. Nygard, *Release It!* (2007): a counter that every success sets
//! back to zero. A success that finds it at zero only reads, so that a healthy service costs its
//! callers no shared write.
//!
//! # Orderings
//!
//! One word holds the tag of the generation and the count, so a relaxed compare-exchange decides
//! alone: whoever has an older generation fails it. The word that publishes a new generation is
//! stored with Release after [`Streak::reset`] and loaded with Acquire by every caller that has it.

use std::sync::atomic::Ordering::Relaxed;

use super::Tag;
use crate::sync::AtomicU64;

#[derive(Debug)]
pub(crate) struct Streak {
    /// The tag above 32 bits of count.
    word: AtomicU64,
}

impl Streak {
    pub(crate) fn new(tag: Tag) -> Self {
        Self { word: AtomicU64::new(empty(tag)) }
    }

    /// Starts a new generation.
    pub(crate) fn reset(&self, tag: Tag) {
        // An exchange, because loom orders plain stores and exchanges of one word only loosely.
        self.word.swap(empty(tag), Relaxed);
    }

    /// The number of failures since the last success.
    pub(crate) fn length(&self) -> u32 {
        self.word.load(Relaxed) as u32
    }

    #[inline]
    pub(crate) fn success(&self, tag: Tag) {
        let word = self.word.load(Relaxed);
        if word as u32 != 0 {
            self.end(tag, word);
        }
    }

    #[cold]
    fn end(&self, tag: Tag, mut word: u64) {
        while tag_of(word) == tag && word as u32 != 0 {
            match self.word.compare_exchange_weak(word, empty(tag), Relaxed, Relaxed) {
                Ok(_) => return,
                Err(now) => word = now,
            }
        }
    }

    /// The length of the streak with this failure; `None` for an older generation.
    pub(crate) fn failure(&self, tag: Tag) -> Option<u32> {
        let mut word = self.word.load(Relaxed);
        loop {
            if tag_of(word) != tag {
                return None;
            }
            let length = (word as u32).saturating_add(1);
            let next = empty(tag) | u64::from(length);
            match self.word.compare_exchange_weak(word, next, Relaxed, Relaxed) {
                Ok(_) => return Some(length),
                Err(now) => word = now,
            }
        }
    }
}

const fn empty(tag: Tag) -> u64 {
    (tag.0 as u64) << 32
}

const fn tag_of(word: u64) -> Tag {
    Tag((word >> 32) as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_success_ends_the_streak() {
        let (tag, streak) = (Tag(7), Streak::new(Tag(7)));
        assert_eq!(streak.failure(tag), Some(1));
        assert_eq!(streak.failure(tag), Some(2));
        streak.success(tag);
        assert_eq!(streak.failure(tag), Some(1));
    }

    #[test]
    fn an_older_generation_neither_lengthens_nor_ends_it() {
        let streak = Streak::new(Tag(u16::MAX));
        streak.failure(Tag(u16::MAX));
        streak.reset(Tag(0));
        assert_eq!(streak.failure(Tag(u16::MAX)), None);
        assert_eq!(streak.failure(Tag(0)), Some(1));
        streak.success(Tag(u16::MAX));
        assert_eq!(streak.length(), 1);
    }
}
