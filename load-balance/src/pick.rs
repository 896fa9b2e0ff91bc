//! Which endpoint gets the next call.

mod alias;
mod cycle;
mod hashed;
mod least;
mod maglev;
pub(crate) mod place;
mod power_of_two;
mod rendezvous;
mod ring;
mod round_robin;

use fastrand::Rng;

use self::{alias::Alias, cycle::Cycle};
pub(crate) use self::{
    hashed::hashed,
    least::least_in_flight,
    maglev::is_prime,
    power_of_two::power_of_two,
    round_robin::{random, round_robin},
};
use crate::{HashKey, Policy, Roster, node::Node, rule::PickBy};

/// What a pick knows of a snapshot.
pub(crate) trait Candidates {
    /// How many endpoints there are.
    fn len(&self) -> usize;

    /// Draws one of them by weight.
    fn draw(&mut self) -> usize;

    /// Whose turn it is.
    fn turn(&mut self) -> usize;

    fn rng(&mut self) -> &mut Rng;

    /// The share of its weight with which an endpoint takes part; `None` when it does not.
    fn share(&mut self, at: usize) -> Option<f64>;

    /// The share of its weight that an endpoint has, for a policy that goes by shares itself: without
    /// leaving it to chance whether one in slow start takes part. `None` when it does not.
    fn part(&mut self, at: usize) -> Option<f64> {
        self.share(at)
    }

    /// How loaded an endpoint is.
    fn load(&self, at: usize) -> f64;

    /// The weight by which its load is divided.
    fn weight(&self, at: usize) -> f64;

    /// How many calls it has in flight.
    fn in_flight(&self, at: usize) -> f64;

    /// Begins the call at an endpoint that has not yet this percentage of its share of the calls in
    /// flight; `false` when it has.
    fn take(&mut self, at: usize, percent: u32) -> bool;

    /// What is known of an endpoint.
    fn node(&self, at: usize) -> &Node;

    /// What the call belongs to.
    fn key(&self) -> Option<HashKey>;
}

/// What a policy prepares for one snapshot.
pub(crate) struct Table {
    draws: Draws,
    /// Where the policy takes turns.
    cycle: Option<Cycle>,
    /// Where the policy is the user's.
    pub(crate) custom: Option<Box<dyn PickBy>>,
}

/// Draws endpoints by weight.
enum Draws {
    /// All weights are equal.
    Uniform,
    Alias(Alias),
}

impl Table {
    pub(crate) fn new(policy: &Policy, roster: &Roster<'_>) -> Self {
        let weights = roster.weights();
        let first = weights.clone().next();
        let draws = if weights.clone().all(|weight| Some(weight) == first) {
            Draws::Uniform
        } else {
            Draws::Alias(Alias::new(weights.clone()))
        };
        let cycle = policy.takes_turns().then(|| Cycle::new(weights));
        let custom = match policy {
            Policy::Custom(rule) => Some(rule.prepare(roster)),
            _ => None,
        };
        Self { draws, cycle, custom }
    }

    /// One of `len` endpoints, of which there must be one.
    #[inline]
    pub(crate) fn draw(&self, len: usize, rng: &mut Rng) -> usize {
        match &self.draws {
            Draws::Uniform => below(len, rng),
            Draws::Alias(alias) => alias.draw(rng),
        }
    }

    /// The endpoint at this place of the cycle.
    #[inline]
    pub(crate) fn at(&self, place: u64) -> usize {
        self.cycle.as_ref().map_or(0, |cycle| cycle.at(place))
    }
}

/// A number below `bound`, which is not 0.
#[inline]
pub(crate) fn below(bound: usize, rng: &mut Rng) -> usize {
    // No division, unlike a range; what is left of a bias is below one part in 2^32.
    ((u128::from(rng.u64(..)) * bound as u128) >> 64) as usize
}
