//! The hash of keys, which callers choose.
//!
//! # Algorithm
//!
//! SipHash (J.-P. Aumasson and D. J. Bernstein, "SipHash: a fast short-input PRF", 2012) with one
//! round for each word and three at the end, which is what the standard library's maps use. Whoever
//! does not know its 128-bit key cannot choose inputs that collide, which hashes of the multiplying
//! kind do not promise. The standard library hands each integer over as a slice of bytes and picks it
//! apart again; this takes it as it is, which is most of the time that a number as a key costs.
//! Integers of the size of a word have the same hash either way.

use std::hash::{BuildHasher, Hasher, RandomState};

/// The secret of a limiter.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seed {
    low: u64,
    high: u64,
}

impl Seed {
    /// A secret that nobody outside can guess: drawn from the system once in each thread.
    pub(crate) fn random() -> Self {
        let random = RandomState::new();
        Self { low: random.hash_one(0_u8), high: random.hash_one(1_u8) }
    }

    #[cfg(any(test, seawall_loom))]
    pub(crate) fn zero() -> Self {
        Self { low: 0, high: 0 }
    }
}

impl BuildHasher for Seed {
    type Hasher = SipHash;

    #[inline]
    fn build_hasher(&self) -> SipHash {
        SipHash {
            v0: self.low ^ 0x736f_6d65_7073_6575,
            v1: self.high ^ 0x646f_7261_6e64_6f6d,
            v2: self.low ^ 0x6c79_6765_6e65_7261,
            v3: self.high ^ 0x7465_6462_7974_6573,
            tail: 0,
            length: 0,
        }
    }
}

/// The names are those of the paper.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SipHash {
    v0: u64,
    v1: u64,
    v2: u64,
    v3: u64,
    /// Bytes that are no word yet, the first of them lowest.
    tail: u64,
    length: u64,
}

impl SipHash {
    #[inline]
    fn round(&mut self) {
        self.v0 = self.v0.wrapping_add(self.v1);
        self.v2 = self.v2.wrapping_add(self.v3);
        self.v1 = self.v1.rotate_left(13) ^ self.v0;
        self.v3 = self.v3.rotate_left(16) ^ self.v2;
        self.v0 = self.v0.rotate_left(32);
        self.v2 = self.v2.wrapping_add(self.v1);
        self.v0 = self.v0.wrapping_add(self.v3);
        self.v1 = self.v1.rotate_left(17) ^ self.v2;
        self.v3 = self.v3.rotate_left(21) ^ self.v0;
        self.v2 = self.v2.rotate_left(32);
    }

    #[inline]
    fn word(&mut self, word: u64) {
        self.v3 ^= word;
        self.round();
        self.v0 ^= word;
    }

    /// The lowest `bytes` of `value`, 1 to 8; the others are zero.
    #[inline]
    fn take(&mut self, value: u64, bytes: u32) {
        let held = (self.length % 8) as u32;
        self.length += u64::from(bytes);
        self.tail |= value << (8 * held);
        if held + bytes >= 8 {
            self.word(self.tail);
            // What did not fit; a shift by all of the bits would be none.
            self.tail = if held == 0 { 0 } else { value >> (8 * (8 - held)) };
        }
    }
}

/// The `rest` of some bytes, one to seven of them, as a word. Read in one or two pieces that overlap
/// what is known: a copy of a length that is not known is a call of its own.
#[inline]
fn last_word(bytes: &[u8], rest: &[u8]) -> u64 {
    if let Some(last) = bytes.last_chunk() {
        return u64::from_le_bytes(*last) >> (8 * (8 - rest.len()));
    }
    if let (Some(first), Some(last)) = (rest.first_chunk(), rest.last_chunk()) {
        let (first, last) = (u32::from_le_bytes(*first), u32::from_le_bytes(*last));
        return u64::from(first) | u64::from(last) << (8 * (rest.len() - 4));
    }
    rest.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte))
}

impl Hasher for SipHash {
    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.take(u64::from_le_bytes(*word), 8);
        }
        if !rest.is_empty() {
            // At most seven.
            self.take(last_word(bytes, rest), rest.len() as u32);
        }
    }

    #[inline]
    fn write_u8(&mut self, value: u8) {
        self.take(value.into(), 1);
    }

    #[inline]
    fn write_u16(&mut self, value: u16) {
        self.take(value.into(), 2);
    }

    #[inline]
    fn write_u32(&mut self, value: u32) {
        self.take(value.into(), 4);
    }

    #[inline]
    fn write_u64(&mut self, value: u64) {
        self.take(value, 8);
    }

    #[inline]
    fn write_usize(&mut self, value: usize) {
        self.take(value as u64, 8);
    }

    #[inline]
    fn finish(&self) -> u64 {
        let mut last = *self;
        last.word(self.length << 56 | self.tail);
        last.v2 ^= 0xFF;
        for _ in 0..3 {
            last.round();
        }
        last.v0 ^ last.v1 ^ last.v2 ^ last.v3
    }
}

#[cfg(all(test, not(seawall_loom)))]
mod tests {
    use std::hash::{DefaultHasher, Hash};

    use proptest::prelude::*;

    use super::*;

    fn same(key: impl Hash) -> Result<(), TestCaseError> {
        let (mut ours, mut theirs) = (Seed::zero().build_hasher(), DefaultHasher::new());
        key.hash(&mut ours);
        key.hash(&mut theirs);
        prop_assert_eq!(ours.finish(), theirs.finish());
        Ok(())
    }

    proptest! {
        #[test]
        fn it_is_the_siphash_of_the_standard_library(
            text in ".{0,40}",
            bytes in proptest::collection::vec(any::<u8>(), 0..40),
            numbers in any::<(u8, u16, u32, u64, i64, u128)>(),
        ) {
            same(&text)?;
            same(&bytes)?;
            same(numbers)?;
            same(numbers.3)?;
            same((numbers.0, &text, numbers.2, &bytes, numbers.1))?;
        }
    }

    #[test]
    fn no_two_limiters_have_the_same_secret() {
        assert_ne!(Seed::random().hash_one(7), Seed::random().hash_one(7));
        assert_ne!(Seed::random().low, Seed::random().high);
    }
}
