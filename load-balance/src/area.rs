//! The part of a snapshot that one pick is made from.

use crate::{
    pick::{Table, place::Placement},
    shared::Turn,
};

/// Endpoints that a policy picks from, with what it prepared for them.
#[derive(Clone, Copy)]
pub(crate) struct Area<'a> {
    /// Their places among all; `None` where they are all.
    pub(crate) places: Option<&'a [u32]>,
    pub(crate) table: &'a Table,
    pub(crate) placement: &'a Placement,
    pub(crate) turn: &'a Turn,
    /// The sum of their weights.
    pub(crate) weights: u64,
    /// Whether those that are not well are used all the same, where that is not up to the set.
    pub(crate) panicking: Option<bool>,
}

impl Area<'_> {
    /// Where the endpoint is among all.
    #[inline]
    pub(crate) fn place(&self, at: usize) -> usize {
        self.places.map_or(at, |places| places[at] as usize)
    }
}
