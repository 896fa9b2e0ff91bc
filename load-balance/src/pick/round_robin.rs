//! Each in turn.

use super::{Candidates, power_of_two::WALK};

/// The endpoint whose turn it is; one that may not be picked loses its turn.
#[inline]
pub(crate) fn round_robin(of: &mut impl Candidates) -> Option<usize> {
    let turns = of.len().min(WALK);
    // Twice as many, because weights give some of them several turns in a row of cycles.
    for _ in 0..2 * turns {
        let at = of.turn();
        if of.share(at).is_some() {
            return Some(at);
        }
    }
    super::power_of_two::any(of)
}

/// A random endpoint, by weight.
#[inline]
pub(crate) fn random(of: &mut impl Candidates) -> Option<usize> {
    let at = of.draw();
    if of.share(at).is_some() { Some(at) } else { super::power_of_two::any(of) }
}
