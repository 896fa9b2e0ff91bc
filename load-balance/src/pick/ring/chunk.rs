//! A part of a ring.

use std::sync::Arc;

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

/// The points whose positions begin with the same bits, in order.
pub(crate) type Chunk = Arc<[Point]>;

/// The first of the points at this position or after it, one past the last when there is none, where
/// all positions of the chunk agree in the first `bits` bits.
///
/// # Algorithm
///
/// Interpolation, as in Peterson's "Addressing for Random-Access Storage" (1957): hashes are spread
/// evenly, so that the place is known but for about the square root of the number of points. Unlike
/// a table of places, that reads nothing but the points.
#[inline]
pub(super) fn first(points: &[Point], position: u32, bits: u32) -> usize {
    let part = u64::from(position << bits);
    let mut at = ((part * points.len() as u64) >> u32::BITS) as usize;
    while at > 0 && points[at - 1].position >= position {
        at -= 1;
    }
    while points.get(at).is_some_and(|point| point.position < position) {
        at += 1;
    }
    at
}

/// The points without some and with others. All are in the order of positions and, where these are
/// equal, of the endpoints' places; those that leave are there.
pub(super) fn changed(
    points: &[Point],
    leave: impl Iterator<Item = Point>,
    enter: impl ExactSizeIterator<Item = Point>,
    places: &[u32],
) -> Chunk {
    let mut changed = Vec::with_capacity(points.len() + enter.len());
    let mut leave = leave.peekable();
    let mut enter = enter.peekable();
    let order = |point: &Point| (point.position, places[point.slot as usize]);
    for point in points {
        if leave.next_if(|left| left == point).is_some() {
            continue;
        }
        let mine = order(point);
        while let Some(first) = enter.next_if(|entered| order(entered) < mine) {
            changed.push(first);
        }
        changed.push(*point);
    }
    changed.extend(enter);
    changed.into()
}
