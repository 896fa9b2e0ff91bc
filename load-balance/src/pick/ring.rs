//! Points on a ring.

mod chunk;
mod points;

use self::{
    chunk::{Chunk, Point, changed, first},
    points::Points,
};
use super::place::{Fate, Placed, compare};
use crate::HashKey;

/// The points of all endpoints, in chunks by the first bits of where they are, so that a change
/// copies only the chunks that it touches.
///
/// A point knows its endpoint by a slot, which stays the same while the endpoints' places in the
/// list shift.
pub(crate) struct Ring {
    points: Points,
    /// As many as `bits` bits can tell apart.
    chunks: Vec<Chunk>,
    bits: u32,
    slots: Slots,
    /// The number of points in each slot.
    counts: Vec<u32>,
    len: usize,
}

/// Numbers for endpoints that survive changes of the list.
#[derive(Clone, Default)]
struct Slots {
    /// For each slot, the place of its endpoint in the list.
    places: Vec<u32>,
    /// For each place, the slot.
    of: Vec<u32>,
    free: Vec<u32>,
}

/// About 2^9 points to a chunk: a search that goes by their number errs by a dozen, and 2^22 points
/// make 8,192 chunks.
const CHUNK_BITS: u32 = 9;

/// Where a point is, and the place in the list of its endpoint: equal positions are ordered by id.
type Spot = u64;

fn spot(position: u32, place: usize) -> Spot {
    u64::from(position) << 32 | place as u64
}

impl Ring {
    pub(crate) fn new(ring: &crate::Ring, seed: u64) -> Self {
        Self {
            points: Points::new(ring, seed),
            chunks: vec![Chunk::default()],
            bits: 0,
            slots: Slots::default(),
            counts: Vec::new(),
            len: 0,
        }
    }

    pub(crate) fn after<P: Placed>(&self, old: &[P], new: &[P]) -> Self {
        let wanted = self.points.counts(new);
        let len: usize = wanted.iter().map(|count| *count as usize).sum();
        let bits = len.max(1).ilog2().saturating_sub(CHUNK_BITS);
        if bits.abs_diff(self.bits) > 1 {
            // The chunks have become too large or too small: once in a quadrupling.
            let empty = Self {
                points: self.points.clone(),
                chunks: vec![Chunk::default(); 1 << bits],
                bits,
                slots: Slots::default(),
                counts: Vec::new(),
                len: 0,
            };
            return empty.with(&[], new, &wanted, len);
        }
        self.with(old, new, &wanted, len)
    }

    fn with<P: Placed>(&self, old: &[P], new: &[P], wanted: &[u32], len: usize) -> Self {
        let mut slots = self.slots.clone();
        let mut counts = self.counts.clone();
        let (mut gone, mut come) = (Vec::new(), Vec::new());
        let mut of = vec![0; new.len()];
        let mut came = Vec::new();
        compare(old, new, |fate| match fate {
            Fate::Kept { old, new: at } => {
                let slot = self.slots.of[old];
                (of[at], slots.places[slot as usize]) = (slot, at as u32);
                let (had, wants) = (counts[slot as usize], wanted[at]);
                if had != wants {
                    let id = new[at].id();
                    self.points.each(id, wants..had, |position| gone.push(spot(position, old)));
                    self.points.each(id, had..wants, |position| come.push(spot(position, at)));
                    counts[slot as usize] = wants;
                }
            }
            Fate::Gone { old: at } => {
                let slot = self.slots.of[at];
                let had = std::mem::take(&mut counts[slot as usize]);
                self.points.each(old[at].id(), 0..had, |position| gone.push(spot(position, at)));
                slots.free.push(slot);
            }
            Fate::Came { new: at } => came.push(at),
        });
        for at in came {
            let slot = slots.take(at);
            of[at] = slot;
            counts.resize(slots.places.len(), 0);
            counts[slot as usize] = wanted[at];
            let mut place = |position| come.push(spot(position, at));
            self.points.each(new[at].id(), 0..wanted[at], &mut place);
        }
        gone.sort_unstable();
        come.sort_unstable();
        let old_of = &self.slots.of;
        let (mut gone, mut come) = (&gone[..], &come[..]);
        let chunks = self.chunks.iter().enumerate().map(|(number, chunk)| {
            // The last chunk's end does not fit 32 bits.
            let end = (number as u64 + 1) << (64 - self.bits).min(63);
            let last = number + 1 == self.chunks.len();
            let within = |spots: &[Spot]| {
                if last { spots.len() } else { spots.partition_point(|spot| *spot < end) }
            };
            let (leaves, enters);
            (leaves, gone) = gone.split_at(within(gone));
            (enters, come) = come.split_at(within(come));
            if leaves.is_empty() && enters.is_empty() {
                return chunk.clone();
            }
            let leaves = leaves.iter().map(|spot| Point::at(*spot, old_of));
            let enters = enters.iter().map(|spot| Point::at(*spot, &of));
            changed(chunk, leaves, enters, &slots.places)
        });
        let chunks = chunks.collect();
        slots.of = of;
        Self { points: self.points.clone(), chunks, bits: self.bits, slots, counts, len }
    }

    #[inline]
    pub(crate) fn find(
        &self,
        key: HashKey,
        most: usize,
        mut takes: impl FnMut(usize) -> bool,
    ) -> Option<usize> {
        let position = (key.hash() >> 32) as u32;
        let number = if self.bits == 0 { 0 } else { (position >> (32 - self.bits)) as usize };
        let chunk = &self.chunks[number];
        let first = first(chunk, position, self.bits);
        if let Some(point) = chunk.get(first) {
            let place = self.slots.places[point.slot as usize] as usize;
            if takes(place) {
                return Some(place);
            }
        }
        self.walk(number, first, most, takes)
    }

    /// Goes on after the point `first` of the chunk `number`.
    #[cold]
    fn walk(
        &self,
        number: usize,
        first: usize,
        most: usize,
        mut takes: impl FnMut(usize) -> bool,
    ) -> Option<usize> {
        let rest = self.chunks[number].iter().skip(first + 1);
        let others = self.chunks[number + 1..].iter().chain(&self.chunks[..=number]);
        let points = rest.chain(others.flat_map(|chunk| chunk.iter()));
        let mut last = None;
        for point in points.take(self.len.min(most)) {
            // Neighbours on the ring are often of one endpoint in a small set.
            if last.replace(point.slot) == Some(point.slot) {
                continue;
            }
            let place = self.slots.places[point.slot as usize] as usize;
            if takes(place) {
                return Some(place);
            }
        }
        None
    }
}

impl Slots {
    /// A slot for the endpoint at this place.
    fn take(&mut self, place: usize) -> u32 {
        match self.free.pop() {
            Some(slot) => {
                self.places[slot as usize] = place as u32;
                slot
            }
            None => {
                self.places.push(place as u32);
                self.places.len() as u32 - 1
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, sync::Arc};

    use proptest::prelude::*;
    use seawall_core::EndpointId;

    use super::*;
    use crate::pick::place::tests::{Name, keys, names};

    fn ring(config: &crate::Ring, names: &[Name]) -> Ring {
        Ring::new(config, 0).after(&[], names)
    }

    fn owner<'a>(ring: &Ring, names: &'a [Name], key: HashKey) -> &'a EndpointId {
        &names[ring.find(key, 1, |_| true).unwrap()].0
    }

    /// All points of the ring in order, as (position, id).
    fn all<'a>(ring: &Ring, names: &'a [Name]) -> Vec<(u32, &'a str)> {
        let points = ring.chunks.iter().flat_map(|chunk| chunk.iter());
        let name = |point: &Point| {
            let place = ring.slots.places[point.slot as usize] as usize;
            (point.position, names[place].0.as_str())
        };
        points.map(name).collect()
    }

    #[test]
    fn a_key_belongs_to_the_next_point_as_a_plain_search_finds_it() {
        for count in [1, 2, 10, 300] {
            let names = names(0..count);
            let ring = ring(&crate::Ring::new(), &names);
            let points = all(&ring, &names);
            assert_eq!(points.len(), count * 160);
            assert!(points.is_sorted());
            let edges = [0, 1, u32::MAX].into_iter();
            let edges = edges.chain(points.iter().take(500).map(|(position, _)| *position));
            let edges = edges.map(|position| HashKey::from_hash(u64::from(position) << 32));
            for key in keys(2000).chain(edges) {
                let position = (key.hash() >> 32) as u32;
                let at = points.partition_point(|(point, _)| *point < position) % points.len();
                assert_eq!(owner(&ring, &names, key).as_str(), points[at].1);
            }
        }
    }

    #[test]
    fn the_walk_meets_every_endpoint_from_every_key() {
        let names = names(0..40);
        let ring = ring(&crate::Ring::new(), &names);
        for key in keys(100) {
            let mut met = vec![false; 40];
            let found = ring.find(key, usize::MAX, |place| {
                met[place] = true;
                false
            });
            assert!(found.is_none() && met.iter().all(|met| *met), "{met:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// The ring after any row of changes is the ring that is built from nothing.
        #[test]
        fn changes_lead_to_the_ring_that_is_built_at_once(
            steps in proptest::collection::vec(
                proptest::collection::btree_map(0..60_usize, 1..9_u16, 0..60), 1..8),
            ketama: bool,
            max_points in prop_oneof![Just(1_u32 << 10), Just(1 << 12), Just(1 << 22)],
        ) {
            let config = if ketama { crate::Ring::ketama() } else { crate::Ring::new() };
            let config = config.with_max_points(max_points);
            let mut current = Ring::new(&config, 7);
            let mut before: Vec<Name> = Vec::new();
            for step in steps {
                let name = |(number, weight): (usize, u16)| {
                    Name(format!("{number}").into(), weight)
                };
                let mut after: Vec<_> = step.into_iter().map(name).collect();
                after.sort_by(|a, b| a.0.cmp(&b.0));
                current = current.after(&before, &after);
                before = after;
                let fresh = Ring::new(&config, 7).after(&[], &before);
                prop_assert_eq!(all(&current, &before), all(&fresh, &before));
                prop_assert_eq!(current.len, all(&current, &before).len());
            }
        }
    }

    #[test]
    fn coinciding_points_belong_to_the_lower_id_however_they_came() {
        // Enough points for some to coincide: about 1,000,000^2 / 2^33 of them.
        let config = crate::Ring::new().with_points(50_000);
        let (few, many) = (names([3, 5, 7]), names((0..20).rev()));
        let at_once = ring(&config, &many);
        let points = all(&at_once, &many);
        assert!(points.windows(2).any(|pair| pair[0].0 == pair[1].0), "none coincide");
        assert!(points.is_sorted());
        let in_steps = ring(&config, &few).after(&few, &many);
        assert_eq!(all(&in_steps, &many), points);
        let (a, b) =
            points.windows(2).map(|pair| (pair[0], pair[1])).find(|(a, b)| a.0 == b.0).unwrap();
        let key = HashKey::from_hash(u64::from(a.0) << 32);
        assert_eq!(owner(&at_once, &many, key).as_str(), a.1);
        assert!(a.1 < b.1);
    }

    #[test]
    fn only_the_removed_endpoints_keys_move() {
        let (all, without) = (names(0..100), names((0..100).filter(|number| *number != 42)));
        let before = ring(&crate::Ring::new(), &all);
        let after = before.after(&all, &without);
        let mut moved = 0;
        for key in keys(50_000) {
            let (old, new) = (owner(&before, &all, key), owner(&after, &without, key));
            if old.as_str() == "e000042" {
                moved += 1;
            } else {
                assert_eq!(old, new);
            }
        }
        assert!((300..800).contains(&moved), "{moved} of 50,000 keys moved");
    }

    #[test]
    fn only_the_keys_of_a_new_weight_move() {
        let light = names(0..50);
        let mut heavy = light.clone();
        heavy[7].1 = 5;
        let (before, after) =
            (ring(&crate::Ring::new(), &light), ring(&crate::Ring::new(), &heavy));
        for key in keys(20_000) {
            let (old, new) = (owner(&before, &light, key), owner(&after, &heavy, key));
            assert!(old == new || *new == heavy[7].0, "{old} to {new}");
        }
    }

    #[test]
    fn shares_follow_the_weights() {
        let mut names = names(0..10);
        (0..10).for_each(|at| names[at].1 = at as u16 + 1);
        let ring = ring(&crate::Ring::new().with_points(1000), &names);
        let mut counts = BTreeMap::<_, u32>::new();
        keys(110_000).for_each(|key| *counts.entry(owner(&ring, &names, key)).or_default() += 1);
        for Name(id, weight) in &names {
            // A standard deviation is one part in the square root of the points, 32 or more.
            let (count, share) = (f64::from(counts[id]), 2000.0 * f64::from(*weight));
            assert!((count / share - 1.0).abs() < 0.12, "{id}: {count} of {share}");
        }
    }

    #[test]
    fn a_large_set_keeps_to_its_points() {
        // Beyond 16 bits of endpoints, and so many that each has less than its 160 points.
        let names = names(0..70_000);
        let ring = ring(&crate::Ring::new().with_max_points(1 << 20), &names);
        assert_eq!(ring.len, 70_000 * 10);
        let most = keys(10_000).map(|key| ring.find(key, 1, |_| true).unwrap()).max();
        assert!(most > Some(65_535), "{most:?}");
    }

    #[test]
    fn a_change_of_one_shares_all_other_chunks() {
        let (all, without) = (names(0..5000), names(1..5000));
        let before = ring(&crate::Ring::new().with_points(10), &all);
        let after = before.after(&all, &without);
        let pairs = before.chunks.iter().zip(&after.chunks);
        let copied = pairs.filter(|(old, new)| !Arc::ptr_eq(old, new)).count();
        assert!((1..=10).contains(&copied), "{copied} of {}", before.chunks.len());
    }

    /// The servers and the digest that libketama's own test ships: `ketama.servers` and `test.sh` of
    /// <https://github.com/RJ/ketama>.
    #[test]
    fn a_ketama_ring_passes_the_test_of_libketama() {
        use std::fmt::Write as _;

        let weights = [600, 300, 200, 350, 1000, 800, 950, 100].into_iter().enumerate();
        let name = |(at, weight)| Name(format!("10.0.1.{}:11211", at + 1).into(), weight);
        let names: Vec<_> = weights.map(name).collect();
        let ring = ring(&crate::Ring::ketama(), &names);
        assert_eq!(ring.len, 1264);
        let points = all(&ring, &names);
        let (mut digest, mut line) = (md5::Context::new(), String::new());
        // It prints its last error first, of which there is none.
        digest.consume("\n");
        for number in 0..1_000_000 {
            line.clear();
            write!(line, "{number}").unwrap();
            let key = HashKey::ketama(&line);
            let position = (key.hash() >> 32) as u32;
            let id = owner(&ring, &names, key);
            let at = points.partition_point(|(point, _)| *point < position) % points.len();
            assert_eq!(points[at].1, id.as_str());
            line.clear();
            writeln!(line, "{position} {} {id}", points[at].0).unwrap();
            digest.consume(&line);
        }
        assert_eq!(format!("{:x}", digest.finalize()), "5672b131391f5aa2b280936aec1eea74");
    }
}
