//! Places for the buckets of keys.
//!
//! An open-addressed table that never grows: each key has a window of groups, each of them a cache
//! line of places, that begins where its hash says. A place that was used once is never unused again,
//! and a key gets the first free place in its window, so that whoever looks for a key stops at the
//! first group with an unused one.
//!
//! A group is looked at as a whole: nearly every key is in the first group of its window, though
//! anywhere in there, and a processor that had to guess where would guess wrong more often than not.
//!
//! # Orderings
//!
//! A place is two words. `tag` holds the key's fingerprint, the slot of the quota that its bucket
//! keeps and, in its lowest bit, a lock; `state` holds the bucket, and is read and written by the
//! holder of the lock alone, except for a glance by whoever looks for a place, who then takes the lock
//! and looks again. Taking the lock is an Acquire compare-exchange of `tag`, giving it back a Release
//! store of `tag`: what one holder wrote to `state`, the next one reads.
//!
//! A key that is new is entered under one of the `entries` locks, the same one for the same key, so
//! that no key is entered twice. What happened under it, the next holder sees by the lock itself: who
//! looks without it may miss a key that is being entered, and then looks again under it.

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use crate::sync::{AtomicU64, Mutex, lock, pause};

/// How many groups a key may be in. Models have few threads and keys.
const WINDOW: usize = if cfg!(seawall_loom) { 2 } else { 16 };

/// How many places a group has: a cache line of them.
const PLACES: usize = if cfg!(seawall_loom) { 1 } else { 4 };

/// Among how many places the one that has been at rest for the longest is chosen: more would forget
/// fewer keys that come back soon, and each is one more to look at.
const CHOICE: usize = 8;

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
    groups: Box<[Group]>,
    /// The groups at which a window may begin.
    starts: usize,
    entries: Box<[Mutex<()>]>,
}

#[repr(align(64))]
struct Group([Place; PLACES]);

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
        let starts = (keys + keys / 2).div_ceil(PLACES);
        let place = |_| Place { tag: AtomicU64::new(UNUSED), state: AtomicU64::new(0) };
        Self {
            groups: (0..starts + WINDOW - 1).map(|_| Group(std::array::from_fn(place))).collect(),
            starts,
            entries: (0..ENTRIES).map(|_| Mutex::new(())).collect(),
        }
    }

    #[inline]
    fn window(&self, hash: u64) -> &[Group] {
        // The high bits choose the group (D. Lemire, "Fast random integer generation in an
        // interval", 2019), without a division.
        let start = ((u128::from(hash) * self.starts as u128) >> 64) as usize;
        &self.groups[start..start + WINDOW]
    }

    fn places(&self, hash: u64) -> impl Iterator<Item = &Place> {
        self.window(hash).iter().flat_map(|group| &group.0)
    }

    /// The place of the key with this hash, if it has one.
    #[inline]
    pub(super) fn find(&self, hash: u64) -> Option<Held<'_>> {
        let fingerprint = fingerprint(hash);
        for group in self.window(hash) {
            let mut spins = 0;
            while let Some(place) = group.place_of(fingerprint) {
                // Relaxed: the compare-exchange reads it again.
                let tag = place.tag.load(Relaxed);
                if tag & (FINGERPRINT | LOCKED) == fingerprint && place.lock(tag) {
                    return Some(Held { place, tag });
                }
                pause(&mut spins);
            }
            if group.has_unused() {
                return None;
            }
        }
        None
    }

    /// The place of the key with this hash, which it gets now if it has none: one that was never
    /// used, or else that of a key that has been at rest for long. So the keys in use keep their places,
    /// although they too are at rest most of the time, as long as there are others. `rested` is for how long the key with this slot and state has been at rest, if it is.
    ///
    /// # Errors
    ///
    /// The slots and states in the window of the key, when it cannot have a place there.
    pub(super) fn enter(
        &self,
        hash: u64,
        (new_slot, rest): (u8, u64),
        rested: impl Fn(u8, u64) -> Option<u64>,
    ) -> Result<Held<'_>, impl Iterator<Item = (u8, u64)>> {
        let fingerprint = fingerprint(hash);
        let _entry = lock(&self.entries[hash as usize % ENTRIES]);
        if let Some(held) = self.find(hash) {
            return Ok(held);
        }
        while let Some((place, tag)) = self.free(hash, &rested) {
            if !place.lock(tag) {
                continue;
            }
            let mut held = Held { place, tag };
            if tag == UNUSED || rested(slot(tag), held.state()).is_some() {
                held.tag = self::tag(fingerprint, new_slot);
                held.set(rest);
                // Before the lock of entries is given back, so that whoever takes it next finds the
                // key, still locked. Relaxed: that lock orders it.
                place.tag.store(held.tag | LOCKED, Relaxed);
                return Ok(held);
            }
            // Its key has come back meanwhile.
        }
        Err(self
            .places(hash)
            .map(|place| (slot(place.tag.load(Relaxed)), place.state.load(Relaxed))))
    }

    /// The best place for a new key, at a glance, and its tag.
    fn free(&self, hash: u64, rested: impl Fn(u8, u64) -> Option<u64>) -> Option<(&Place, u64)> {
        let mut oldest: Option<(u64, &Place, u64)> = None;
        for (looked_at, place) in self.places(hash).enumerate() {
            let tag = place.tag.load(Relaxed);
            if tag == UNUSED {
                return Some((place, tag));
            }
            if looked_at >= CHOICE && oldest.is_some() {
                break;
            }
            if tag & LOCKED != 0 {
                continue;
            }
            if let Some(age) = rested(slot(tag), place.state.load(Relaxed))
                && oldest.is_none_or(|(oldest, ..)| age > oldest)
            {
                oldest = Some((age, place, tag));
            }
        }
        oldest.map(|(_, place, tag)| (place, tag))
    }

    /// Every place that was used, locked in turn; with those that are entered before it is asked for,
    /// and without some that are entered later.
    pub(super) fn used(&self) -> impl Iterator<Item = Held<'_>> {
        for entries in &self.entries {
            // Whoever enters a key now is done after this.
            drop(lock(entries));
        }
        self.groups.iter().flat_map(|group| &group.0).filter_map(|place| {
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

impl Group {
    /// The place with this fingerprint, which may be gone by now.
    #[inline]
    fn place_of(&self, fingerprint: u64) -> Option<&Place> {
        // A bit for each place, without a branch.
        let mut found = 0_u32;
        for (bit, place) in self.0.iter().enumerate() {
            // Relaxed: a hint.
            found |= u32::from(place.tag.load(Relaxed) & FINGERPRINT == fingerprint) << bit;
        }
        self.0.get(found.trailing_zeros() as usize)
    }

    /// Places are taken in turn, so that the last one tells.
    fn has_unused(&self) -> bool {
        self.0[PLACES - 1].tag.load(Relaxed) == UNUSED
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
            table.groups.len() * size_of::<Group>() + table.entries.len() * size_of::<Mutex<()>>();
        assert!(bytes <= 25_000_000, "{bytes} bytes");
    }

    #[test]
    fn nearly_as_many_keys_as_there_is_room_for_find_a_place() {
        let table = Table::new(100_000);
        let mut rng = seawall_test_support::Rng::new();
        // At rest never: nobody makes room.
        let refused =
            (0..100_000).filter(|_| table.enter(rng.u64(..), (0, 1), |_, _| None).is_err()).count();
        // About ten in a million are.
        assert!(refused <= 20, "{refused} of 100,000 keys found no place");
    }

    #[test]
    fn keys_in_use_keep_their_places_although_they_are_at_rest() {
        let table = Table::new(1_000);
        let mut rng = seawall_test_support::Rng::new();
        let in_use: Vec<u64> = (0..500).map(|_| rng.u64(..)).collect();
        let (mut now, mut lost) = (0, 0);
        // The state is when the key was used last, and everybody is at rest at once.
        let mut call = |hash| {
            now += 1;
            let known = table.find(hash);
            let is_new = known.is_none();
            let held = known.or_else(|| table.enter(hash, (0, now), |_, at| Some(now - at)).ok());
            held.expect("all the others are at rest").set(now);
            is_new
        };
        for round in 0..100 {
            let new = in_use.iter().filter(|hash| call(**hash)).count();
            lost += if round == 0 { 0 } else { new };
            // Somebody else comes by, once.
            for _ in 0..100 {
                call(rng.u64(..));
            }
        }
        assert!(lost <= 500, "{lost} of 49,500 calls found that their key had lost its place");
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
