//! Where one call has been, so that it goes elsewhere.

use crate::{Tried, node::Node};

/// The bound of `max_picks`, and room for the endpoints that one call has left.
pub(crate) const MOST_PICKS: u8 = 8;

/// The endpoints that one call has left, by their addresses in memory: nothing is read through
/// them, and an address that is used anew costs that endpoint one call at worst.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Left {
    nodes: [usize; MOST_PICKS as usize],
    len: usize,
}

impl Left {
    pub(crate) fn add(&mut self, node: &Node) {
        if let Some(place) = self.nodes.get_mut(self.len) {
            *place = address(node);
            self.len += 1;
        }
    }

    #[inline]
    pub(crate) fn holds(&self, node: &Node) -> bool {
        self.len != 0 && self.nodes[..self.len].contains(&address(node))
    }

    pub(crate) fn is_full(&self) -> bool {
        self.len == self.nodes.len()
    }
}

fn address(node: &Node) -> usize {
    std::ptr::from_ref(node).addr()
}

/// What a pick stays away from.
#[derive(Debug)]
pub(crate) struct Elsewhere<'a> {
    pub(crate) left: &'a mut Left,
    pub(crate) tried: Option<&'a Tried>,
}
