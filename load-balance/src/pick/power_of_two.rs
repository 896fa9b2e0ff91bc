//! The less loaded of two.

use super::{Candidates, below};

/// How often a candidate that may not be picked is drawn anew. With half of the set out, one pick
/// in 65,536 gets past them.
const DRAWS: usize = 16;

/// How many endpoints a pick looks at when draws find none: in a large set that refuses so often,
/// hardly any other is left.
pub(super) const WALK: usize = 1024;

/// Draws two distinct endpoints and picks the one with less load; `None` when none may be picked.
///
/// # Algorithm
///
/// Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing" (2001). Draws follow the
/// weights and loads are divided by them, so that an idle set shares by weight too. Endpoints that
/// may not be picked are drawn anew, a bounded number of times; then a bounded walk in a random
/// order looks for what is left.
#[inline]
pub(crate) fn power_of_two(of: &mut impl Candidates) -> Option<usize> {
    let len = of.len();
    if len < 2 {
        return (len == 1 && of.share(0).is_some()).then_some(0);
    }
    let first = of.draw();
    let second = other_than(first, of);
    match (of.share(first), of.share(second)) {
        (Some(_), Some(_)) => Some(lighter(of, first, second)),
        (one, two) => draw_again(of, one.map(|_| first).or(two.map(|_| second))),
    }
}

#[inline]
fn lighter(of: &impl Candidates, one: usize, two: usize) -> usize {
    let (first, second) = (of.load(one), of.load(two));
    // By whole weights: who is in slow start takes part in few draws, and to count that again would
    // let it wait for ever in a set that is idle.
    let (own, others) = (of.weight(one), of.weight(two));
    // The first wins a tie, and which one is first is chance. Divisions would cost more.
    if second * own < first * others { two } else { one }
}

/// A second endpoint, drawn like the first.
#[inline]
fn other_than(first: usize, of: &mut impl Candidates) -> usize {
    for _ in 0..DRAWS {
        let second = of.draw();
        if second != first {
            return second;
        }
    }
    // One that is much heavier than all others hides them.
    let len = of.len();
    (first + 1 + below(len - 1, of.rng())) % len
}

/// Any endpoint that may be picked, by weight as long as draws find one.
#[cold]
pub(super) fn any(of: &mut impl Candidates) -> Option<usize> {
    for _ in 0..DRAWS {
        let at = of.draw();
        if of.share(at).is_some() {
            return Some(at);
        }
    }
    if of.len() == 1 {
        return None;
    }
    walk(of, None)
}

#[cold]
fn draw_again(of: &mut impl Candidates, mut found: Option<usize>) -> Option<usize> {
    for _ in 0..DRAWS {
        let at = of.draw();
        if found != Some(at) && of.share(at).is_some() {
            match found {
                Some(found) => return Some(lighter(of, found, at)),
                None => found = Some(at),
            }
        }
    }
    walk(of, found)
}

/// Looks at endpoints in a random order: from a random one in steps of a random length, which share
/// no divisor with the size of the set and so meet each endpoint once.
fn walk(of: &mut impl Candidates, mut found: Option<usize>) -> Option<usize> {
    let len = of.len();
    let start = below(len, of.rng());
    let step = loop {
        let step = 1 + below(len - 1, of.rng());
        if divisor(step, len) == 1 {
            break step;
        }
    };
    let mut at = start;
    for _ in 0..len.min(WALK) {
        if found != Some(at) && of.share(at).is_some() {
            match found {
                Some(found) => return Some(lighter(of, found, at)),
                None => found = Some(at),
            }
        }
        at = (at + step) % len;
    }
    found
}

/// The greatest common one.
fn divisor(mut a: usize, mut b: usize) -> usize {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
mod tests {
    use fastrand::Rng;

    use super::*;

    struct Loads {
        loads: Vec<Option<f64>>,
        rng: Rng,
        asked: Vec<usize>,
    }

    impl Loads {
        fn new(loads: Vec<Option<f64>>) -> Self {
            Self { loads, rng: Rng::with_seed(7), asked: Vec::new() }
        }
    }

    impl Candidates for Loads {
        fn len(&self) -> usize {
            self.loads.len()
        }
        fn draw(&mut self) -> usize {
            below(self.loads.len(), &mut self.rng)
        }
        fn turn(&mut self) -> usize {
            self.draw()
        }
        fn rng(&mut self) -> &mut Rng {
            &mut self.rng
        }
        fn share(&mut self, at: usize) -> Option<f64> {
            self.asked.push(at);
            self.loads[at].map(|_| 1.0)
        }
        fn load(&self, at: usize) -> f64 {
            self.loads[at].unwrap()
        }
        fn weight(&self, _: usize) -> f64 {
            1.0
        }
        fn in_flight(&self, at: usize) -> f64 {
            self.load(at)
        }
        fn take(&mut self, _: usize, _: u32) -> bool {
            true
        }
        fn node(&self, _: usize) -> &crate::node::Node {
            unreachable!("no policy here looks at it")
        }
        fn key(&self) -> Option<crate::HashKey> {
            None
        }
    }

    #[test]
    fn two_distinct_endpoints_are_compared() {
        for len in [2, 3, 10] {
            let mut loads = Loads::new(vec![Some(0.0); len]);
            for _ in 0..1000 {
                loads.asked.clear();
                power_of_two(&mut loads).unwrap();
                assert_eq!(loads.asked.len(), 2);
                assert_ne!(loads.asked[0], loads.asked[1], "of {len}");
            }
        }
    }

    #[test]
    fn of_two_the_less_loaded_is_always_picked() {
        let mut loads = Loads::new(vec![Some(2.0), Some(1.0)]);
        assert!((0..100).all(|_| power_of_two(&mut loads) == Some(1)));
    }

    #[test]
    fn the_most_loaded_of_many_is_never_picked() {
        let mut loads = Loads::new((0..10).map(|at| Some(f64::from(at))).collect());
        assert!((0..10_000).all(|_| power_of_two(&mut loads) != Some(9)));
    }

    #[test]
    fn the_only_one_that_may_be_picked_is_found_in_any_set_up_to_the_walk() {
        for len in [1, 2, 3, 10, 97, 1000] {
            let mut loads = Loads::new(vec![None; len]);
            loads.loads[len / 2] = Some(1.0);
            assert_eq!(power_of_two(&mut loads), Some(len / 2), "of {len}");
        }
    }

    #[test]
    fn nothing_is_picked_from_nothing() {
        for len in [0, 1, 2, 3, 5000] {
            let mut loads = Loads::new(vec![None; len]);
            assert_eq!(power_of_two(&mut loads), None, "of {len}");
            assert!(loads.asked.len() <= WALK + DRAWS + 2, "asked {}", loads.asked.len());
        }
    }

    #[test]
    fn the_shares_of_equals_are_equal_though_half_may_not_be_picked() {
        let len = 64;
        let mut loads = Loads::new((0..len).map(|at| (at < len / 2).then_some(0.0)).collect());
        let mut counts = vec![0_u32; len];
        let picks = 64_000;
        for _ in 0..picks {
            counts[power_of_two(&mut loads).unwrap()] += 1;
        }
        // 2,000 each; six standard deviations are 264.
        assert!(counts[..32].iter().all(|count| count.abs_diff(2000) < 264), "{counts:?}");
    }
}
