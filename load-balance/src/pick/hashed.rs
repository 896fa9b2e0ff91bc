//! Picks by key.

use super::{
    Candidates, below,
    place::{Placement, part},
    power_of_two::WALK,
    round_robin::{random, round_robin},
};
use crate::{AbsentKey, ConsistentHash, HashKey};

/// The endpoint of the call's key, or the next that fits.
#[inline]
pub(crate) fn hashed(
    of: &mut impl Candidates,
    placement: &Placement,
    rule: &ConsistentHash,
    key: Option<HashKey>,
) -> Option<usize> {
    match (key, rule.bound) {
        (Some(key), None) => by_key(of, placement, key),
        (Some(key), Some(percent)) => bounded(of, placement, key, percent),
        (None, bound) => without_key(of, placement, rule.absent, bound),
    }
}

#[inline]
fn by_key(of: &mut impl Candidates, placement: &Placement, key: HashKey) -> Option<usize> {
    let found = placement.best(key, WALK, |at| of.share(at).is_some());
    if found.is_some() {
        return found;
    }
    // What is left has hardly a place there: from a place of the key's own through the list.
    through(of, key, WALK, |of, at| of.share(at).is_some())
}

#[cold]
fn through<C: Candidates>(
    of: &mut C,
    key: HashKey,
    most: usize,
    mut takes: impl FnMut(&mut C, usize) -> bool,
) -> Option<usize> {
    let len = of.len();
    let first = part(key, len);
    (first..len).chain(0..first).take(most).find(|at| takes(of, *at))
}

/// The first from the key's place on that has room; where nobody has, the least loaded of those.
fn bounded(
    of: &mut impl Candidates,
    placement: &Placement,
    key: HashKey,
    percent: u32,
) -> Option<usize> {
    let mut least: Option<(usize, f64)> = None;
    let found = placement.find(key, WALK, |at| {
        if of.share(at).is_none() {
            return false;
        }
        if of.take(at, percent) {
            return true;
        }
        let load = of.in_flight(at) / of.weight(at);
        if least.is_none_or(|(_, least)| load < least) {
            least = Some((at, load));
        }
        false
    });
    if found.is_some() {
        return found;
    }
    // The bounds of all add up to more than there is in flight, so somebody has room.
    let all = of.len();
    through(of, key, all, |of, at| of.share(at).is_some() && of.take(at, percent))
        .or(least.map(|(at, _)| at))
}

#[cold]
fn without_key(
    of: &mut impl Candidates,
    placement: &Placement,
    absent: AbsentKey,
    bound: Option<u32>,
) -> Option<usize> {
    let picked = match absent {
        AbsentKey::Random => random(of),
        AbsentKey::RoundRobin => round_robin(of),
        AbsentKey::First => {
            let len = of.len().min(WALK);
            (0..len).find(|at| of.share(*at).is_some())
        }
    }?;
    let Some(percent) = bound else { return Some(picked) };
    if of.take(picked, percent) {
        return Some(picked);
    }
    let key = HashKey::from_hash((below(1 << 32, of.rng()) as u64) << 32);
    bounded(of, placement, key, percent)
}
