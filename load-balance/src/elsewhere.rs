//! Where one call belongs, and where it has been, so that it goes elsewhere.

use crate::{HashKey, Tried, node::Node};

/// The bound of `max_picks`, and room for the endpoints that one call has left.
pub(crate) const MOST_PICKS: u8 = 8;

/// The endpoints that one call has left, by their addresses in memory: nothing is read through
/// them, and an address that is used anew costs that endpoint one call at worst.
///
/// Hardly any call leaves one, so that the list gets its room when one does.
#[derive(Debug, Default)]
pub(crate) struct Left {
    nodes: Vec<usize>,
}

impl Left {
    #[cold]
    pub(crate) fn add(&mut self, node: &Node) {
        if !self.is_full() {
            self.nodes.push(address(node));
        }
    }

    #[inline]
    pub(crate) fn holds(&self, node: &Node) -> bool {
        !self.nodes.is_empty() && self.nodes.contains(&address(node))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.nodes.len() >= MOST_PICKS.into()
    }
}

fn address(node: &Node) -> usize {
    std::ptr::from_ref(node).addr()
}

/// What a pick goes for, and what it stays away from.
#[derive(Debug)]
pub(crate) struct Elsewhere<'a> {
    pub(crate) left: &'a mut Left,
    pub(crate) tried: Option<&'a Tried>,
    pub(crate) key: Option<HashKey>,
    pub(crate) subset: Option<&'a str>,
}
