//! Which endpoint gets the next call.

mod alias;
mod power_of_two;

use fastrand::Rng;

use self::alias::Alias;
pub(crate) use self::power_of_two::power_of_two;

/// What a pick knows of a snapshot.
pub(crate) trait Candidates {
    /// How many endpoints there are.
    fn len(&self) -> usize;

    /// Draws one of them by weight.
    fn draw(&mut self) -> usize;

    fn rng(&mut self) -> &mut Rng;

    /// The share of its weight with which an endpoint takes part; `None` when it does not.
    fn share(&mut self, at: usize) -> Option<f64>;

    /// How loaded an endpoint is, that takes part with this share of its weight.
    fn load(&self, at: usize, share: f64) -> f64;
}

/// Draws endpoints by weight.
pub(crate) enum Table {
    /// All weights are equal.
    Uniform,
    Alias(Alias),
}

impl Table {
    pub(crate) fn new<'a>(weights: impl ExactSizeIterator<Item = &'a u16> + Clone) -> Self {
        let first = weights.clone().next();
        if weights.clone().all(|weight| Some(weight) == first) {
            Self::Uniform
        } else {
            Self::Alias(Alias::new(weights.copied()))
        }
    }

    /// One of `len` endpoints, of which there must be one.
    #[inline]
    pub(crate) fn draw(&self, len: usize, rng: &mut Rng) -> usize {
        match self {
            Self::Uniform => below(len, rng),
            Self::Alias(alias) => alias.draw(rng),
        }
    }
}

/// A number below `bound`, which is not 0.
#[inline]
pub(crate) fn below(bound: usize, rng: &mut Rng) -> usize {
    // No division, unlike a range; what is left of a bias is below one part in 2^32.
    ((u128::from(rng.u64(..)) * bound as u128) >> 64) as usize
}
