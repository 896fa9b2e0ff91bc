//! A part of a ring.

/// Where on the ring a point is, and the slot of its endpoint.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Point {
    pub(crate) position: u32,
    pub(crate) slot: u32,
}

impl Point {
    /// The point at a spot, where `slots` has the slot of each place.
    pub(super) fn at(spot: super::Spot, slots: &[u32]) -> Self {
        Self { position: (spot >> 32) as u32, slot: slots[spot as u32 as usize] }
    }
}

/// The points between two positions that differ in the first bits, in order.
pub(crate) struct Chunk {
    /// For each of as many equal parts of the chunk, the first point in it or after it: a search
    /// begins there, with a few points left to look at.
    guide: [u32; PARTS],
    pub(crate) points: Box<[Point]>,
}

const PART_BITS: u32 = 8;
const PARTS: usize = 1 << PART_BITS;

impl Default for Chunk {
    fn default() -> Self {
        Self { guide: [0; PARTS], points: Box::default() }
    }
}

impl Chunk {
    fn new(points: Vec<Point>, bits: u32) -> Self {
        let mut guide = [0; PARTS];
        let mut next = 0;
        for (part, first) in guide.iter_mut().enumerate() {
            while points.get(next).is_some_and(|point| part_of(point.position, bits) < part) {
                next += 1;
            }
            *first = next as u32;
        }
        Self { guide, points: points.into() }
    }

    /// The first point at this position or after it: one past the last when there is none.
    #[inline]
    pub(crate) fn first(&self, position: u32, bits: u32) -> usize {
        let mut at = self.guide[part_of(position, bits)] as usize;
        while self.points.get(at).is_some_and(|point| point.position < position) {
            at += 1;
        }
        at
    }

    /// The chunk without some points and with others. All are in the order of positions and, where
    /// these are equal, of the endpoints' places; those that leave are in the chunk.
    pub(super) fn after(
        &self,
        leave: impl Iterator<Item = Point>,
        enter: impl ExactSizeIterator<Item = Point>,
        bits: u32,
        places: &[u32],
    ) -> Self {
        let mut points = Vec::with_capacity(self.points.len() + enter.len());
        let mut leave = leave.peekable();
        let mut enter = enter.peekable();
        let order = |point: &Point| (point.position, places[point.slot as usize]);
        for point in &self.points {
            if leave.next_if(|left| left == point).is_some() {
                continue;
            }
            let mine = order(point);
            while let Some(first) = enter.next_if(|entered| order(entered) < mine) {
                points.push(first);
            }
            points.push(*point);
        }
        points.extend(enter);
        Self::new(points, bits)
    }
}

/// The part of its chunk in which a position is, where chunks differ in the first `bits` bits.
#[inline]
fn part_of(position: u32, bits: u32) -> usize {
    ((position << bits) >> (u32::BITS - PART_BITS)) as usize
}
