//! Places for the buckets of keys.
//!
//! An open-addressed table that never grows: each key has a window of places that begins where its
//! hash says. A place that was used once is never unused again, so that whoever looks for a key stops
//! at the first unused one.
//!
//! # Orderings
//!
//! A place is two words. `tag` holds the key's fingerprint, the slot of the quota that its bucket
//! keeps and, in its lowest bit, a lock; `state` holds the bucket, and is read and written by the holder of the lock alone, except for a glance by
//! whoever looks for a place, who then takes the lock and looks again. Taking the lock is an Acquire
//! compare-exchange of `tag`, giving it back a Release store of `tag`: what one holder wrote to
//! `state`, the next one reads.
//!
//! A key that is new is entered under one of the `entries` locks, the same one for the same key, so
//! that no key is entered twice. What happened under it, the next holder sees by the lock itself.

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use crate::sync::{AtomicU64, Mutex, lock, pause};

/// How many places a key may be at: sixteen cache lines. Models have few threads and keys.
const WINDOW: usize = if cfg!(seawall_loom) { 2 } else { 64 };

/// The locks under which keys are entered.
const ENTRIES: usize = if cfg!(seawall_loom) { 1 } else { 256 };

/// The tag of a place that was never used.
const UNUSED: u64 = 0;

const LOCKED: u64 = 1;

/// How many slots a tag can name.
pub(super) const SLOTS: usize = 128;
const SLOT_SHIFT: u32 = 1;

/// Where the fingerprint begins. The bits of the hash that are lost are its highest, by which the
/// place was chosen.
const FINGERPRINT_SHIFT: u32 = 8;
const FINGERPRINT: u64 = u64::MAX << FINGERPRINT_SHIFT;

pub(super) struct Table {
    places: Box<[Place]>,
    /// The places at which a window may begin.
    starts: usize,
    entries: Box<[Mutex<()>]>,
}

/// Four to a cache line.
#[repr(align(16))]
struct Place {
    tag: AtomicU64,
    state: AtomicU64,
}

/// The place of a key, locked. Dropping it gives the lock back.
pub(super) struct Held<'a> {
    place: &'a Place,
    /// What the lock is given back with.
    tag: u64,
}

impl Held<'_> {
    #[inline]
    pub(super) fn state(&self) -> u64 {
        // Relaxed, here and below: the lock on `tag` orders the accesses to the state.
        self.place.state.load(Relaxed)
    }

    #[inline]
    pub(super) fn set(&mut self, state: u64) {
        self.place.state.store(state, Relaxed);
    }

    /// The slot of the quota that the bucket keeps.
    #[inline]
    pub(super) fn slot(&self) -> u8 {
        slot(self.tag)
    }

    pub(super) fn set_slot(&mut self, slot: u8) {
        self.tag = tag(self.tag & FINGERPRINT, slot);
    }
}

impl Drop for Held<'_> {
    #[inline]
    fn drop(&mut self) {
        // Release: pairs with the Acquire of the next one who locks this place.
        self.place.tag.store(self.tag, Release);
    }
}

impl Table {
    pub(super) fn new(keys: usize) -> Self {
        // Two of three places are taken at most: fewer, and the table is larger than it needs to be
        // for the caches; more, and windows are full long before the table is.
        let starts = keys + keys / 2;
        let place = || Place { tag: AtomicU64::new(UNUSED), state: AtomicU64::new(0) };
        Self {
            places: (0..starts + WINDOW - 1).map(|_| place()).collect(),
            starts,
            entries: (0..ENTRIES).map(|_| Mutex::new(())).collect(),
        }
    }

    #[inline]
    fn window(&self, hash: u64) -> &[Place] {
        // The high bits choose the place (D. Lemire, "Fast random integer generation in an
        // interval", 2019), without a division.
        let start = ((u128::from(hash) * self.starts as u128) >> 64) as usize;
        &self.places[start..start + WINDOW]
    }

    /// The place of the key with this hash, if it has one.
    #[inline]
    pub(super) fn find(&self, hash: u64) -> Option<Held<'_>> {
        let fingerprint = fingerprint(hash);
        for place in self.window(hash) {
            let mut spins = 0;
            loop {
                // Relaxed: the compare-exchange below reads it again.
                let tag = place.tag.load(Relaxed);
                if tag == UNUSED {
                    return None;
                }
                // A place that is being used for the first time hides those behind it until it is
                // known whose it is.
                if tag & FINGERPRINT != fingerprint && tag != UNUSED | LOCKED {
                    break;
                }
                if tag & LOCKED == 0 && place.lock(tag) {
                    return Some(Held { place, tag });
                }
                pause(&mut spins);
            }
        }
        None
    }

    /// The place of the key with this hash, which it gets now if it has none: one that was never
    /// used, or else that of a key whose state is at rest.
    ///
    /// # Errors
    ///
    /// The slots and states in the window of the key, when it cannot have a place there.
    pub(super) fn enter(
        &self,
        hash: u64,
        (new_slot, rest): (u8, u64),
        is_at_rest: impl Fn(u8, u64) -> bool,
    ) -> Result<Held<'_>, impl Iterator<Item = (u8, u64)>> {
        let fingerprint = fingerprint(hash);
        let _entry = lock(&self.entries[hash as usize % ENTRIES]);
        if let Some(held) = self.find(hash) {
            return Ok(held);
        }
        let window = self.window(hash);
        // A place that was never used comes first: whoever is at rest and comes back then finds its
        // own where it was, as long as the table has room.
        let unused = window.iter().position(|place| place.tag.load(Relaxed) == UNUSED);
        let (before, after) = window.split_at(unused.unwrap_or(0));
        for place in after.iter().chain(before) {
            let tag = place.tag.load(Relaxed);
            let free = |state| tag == UNUSED || is_at_rest(slot(tag), state);
            if tag & LOCKED != 0 || !free(place.state.load(Relaxed)) || !place.lock(tag) {
                continue;
            }
            let mut held = Held { place, tag };
            if free(held.state()) {
                held.tag = self::tag(fingerprint, new_slot);
                held.set(rest);
                return Ok(held);
            }
            // Its key has come back meanwhile.
        }
        Err(window.iter().map(|place| (slot(place.tag.load(Relaxed)), place.state.load(Relaxed))))
    }

    /// Every place that was used, locked in turn; with those that are entered before it is asked for,
    /// and without some that are entered later.
    pub(super) fn used(&self) -> impl Iterator<Item = Held<'_>> {
        for entries in &self.entries {
            // Whoever enters a key now is done after this.
            drop(lock(entries));
        }
        self.places.iter().filter_map(|place| {
            let mut spins = 0;
            loop {
                let tag = place.tag.load(Relaxed);
                if tag == UNUSED {
                    return None;
                }
                if tag & LOCKED == 0 && place.lock(tag) {
                    return Some(Held { place, tag });
                }
                pause(&mut spins);
            }
        })
    }
}

impl Place {
    #[inline]
    fn lock(&self, tag: u64) -> bool {
        // Acquire: pairs with the Release in the drop of `Held`, whose state is read next.
        self.tag.compare_exchange(tag, tag | LOCKED, Acquire, Relaxed).is_ok()
    }
}

/// What a place knows a key by; never zero, so that no tag in use is an unused one.
#[inline]
fn fingerprint(hash: u64) -> u64 {
    match hash << FINGERPRINT_SHIFT {
        0 => 1 << FINGERPRINT_SHIFT,
        fingerprint => fingerprint,
    }
}

#[inline]
fn tag(fingerprint: u64, slot: u8) -> u64 {
    fingerprint | u64::from(slot) << SLOT_SHIFT
}

#[inline]
fn slot(tag: u64) -> u8 {
    (tag >> SLOT_SHIFT) as u8 & (SLOTS - 1) as u8
}

#[cfg(all(test, not(seawall_loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_million_keys_fit_into_twenty_five_megabytes() {
        let table = Table::new(1_000_000);
        let bytes =
            table.places.len() * size_of::<Place>() + table.entries.len() * size_of::<Mutex<()>>();
        assert!(bytes <= 25_000_000, "{bytes} bytes");
    }

    #[test]
    fn nearly_as_many_keys_as_there_is_room_for_find_a_place() {
        let table = Table::new(100_000);
        let mut rng = seawall_test_support::Rng::new();
        // At rest never: nobody makes room.
        let refused = (0..100_000)
            .filter(|_| table.enter(rng.u64(..), (0, 1), |_, _| false).is_err())
            .count();
        // About ten in a million are.
        assert!(refused <= 20, "{refused} of 100,000 keys found no place");
    }

    #[test]
    fn a_tag_in_use_is_neither_unused_nor_locked_and_keeps_its_slot() {
        for hash in [0, 1, 2, 3, 0xFF << 56, u64::MAX] {
            for number in [0, 1, 77, 127] {
                let tag = tag(fingerprint(hash), number);
                assert!(tag != UNUSED && tag & LOCKED == 0, "{hash}");
                assert_eq!((slot(tag), tag & FINGERPRINT), (number, fingerprint(hash)), "{hash}");
            }
        }
    }
}
