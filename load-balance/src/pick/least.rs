//! The least loaded of all, or of many.

use super::{Candidates, power_of_two::any};

/// Up to here all endpoints are looked at: their words are in the cache of whoever calls so few.
const SCANNED: usize = 128;

/// How many of a larger set are. The most loaded of a thousand is one of the least loaded eighth of
/// them in two picks of three, and further samples gain ever less.
const SAMPLED: usize = 8;

/// The endpoint with the fewest calls in flight per weight; of several one by weight, so that an
/// idle set shares by weight too.
///
/// # Algorithm
///
/// HAProxy's `leastconn` for sets of up to 128 endpoints; of larger ones the least of eight that
/// are drawn by weight, as Envoy's `least_request` with a choice count of eight does.
#[inline]
pub(crate) fn least_in_flight(of: &mut impl Candidates) -> Option<usize> {
    if of.len() <= SCANNED { scan(of) } else { sample(of) }
}

fn scan(of: &mut impl Candidates) -> Option<usize> {
    let mut best: Option<(f64, f64, usize)> = None;
    for at in 0..of.len() {
        let Some(part) = of.part(at) else { continue };
        let weight = of.weight(at) * part;
        let load = of.load(at) / weight;
        match &mut best {
            Some((least, _, _)) if *least < load => {}
            Some((least, weights, place)) if *least == load => {
                // Each of those that tie stays with a chance of its part of their weights.
                *weights += weight;
                if of.rng().f64() * *weights < weight {
                    *place = at;
                }
            }
            _ => best = Some((load, weight, at)),
        }
    }
    best.map(|(_, _, at)| at)
}

fn sample(of: &mut impl Candidates) -> Option<usize> {
    let mut best: Option<(f64, usize)> = None;
    let mut places = [0; SAMPLED];
    // All drawn beforehand, so that the processor fetches them at once.
    places.fill_with(|| of.draw());
    for at in places {
        if of.share(at).is_none() {
            continue;
        }
        // By whole weights: of its slow start, chance has taken account.
        let load = of.load(at) / of.weight(at);
        // The first wins a tie, and which one is first is chance by weight.
        if best.is_none_or(|(least, _)| load < least) {
            best = Some((load, at));
        }
    }
    best.map_or_else(|| any(of), |(_, at)| Some(at))
}
