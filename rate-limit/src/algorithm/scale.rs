//! Time in units of which every cell costs a whole number.

use std::num::NonZeroU64;

/// Later than this, 73 years after the clock's origin at the least, no time is told: the rest of the
/// word is room for bursts, waits and a mark.
const TIME_MAX: u64 = (1 << 62) - 1;

/// Turns nanoseconds into units.
///
/// A rate that does not divide its period, such as 3 a second, has no whole number of nanoseconds
/// for each cell, and rounding it adds up. So the unit of time is stretched instead: `per_cell` is
/// the time for each cell in nanoseconds, rounded up, and the unit is that much shorter than a
/// nanosecond that the product is exact. What is rounded is the time of each call, down, by less
/// than a unit: that is a difference between two calls, however far apart, and never adds up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Scale {
    /// Units for each cell.
    pub(crate) per_cell: NonZeroU64,
    stretch: Option<Stretch>,
}

/// Units for each nanosecond, between 1 and 2, as a fraction of 2^63.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stretch {
    rate: NonZeroU64,
    /// The reciprocal, as a fraction of 2^63, rounded down.
    nanos: u64,
}

impl Scale {
    /// The scale for `limit` cells in `period_nanos`, neither of which is zero; at most one cell
    /// for each nanosecond.
    pub(crate) fn new(limit: u32, period_nanos: u64) -> Self {
        let limit = u64::from(limit);
        let per_cell = NonZeroU64::new(period_nanos.div_ceil(limit)).unwrap_or(NonZeroU64::MIN);
        let units = u128::from(per_cell.get()) * u128::from(limit);
        // Rounded down, so that no more passes than the rate says.
        let stretched = (units << 63) / u128::from(period_nanos);
        let stretch = NonZeroU64::new(u64::try_from(stretched).unwrap_or(u64::MAX))
            .filter(|_| !period_nanos.is_multiple_of(limit))
            .map(|rate| Stretch { rate, nanos: ((1_u128 << 126) / u128::from(rate.get())) as u64 });
        Self { per_cell, stretch }
    }

    /// The same where a unit is a nanosecond, known to the compiler as such.
    #[inline]
    pub(crate) fn whole(&self) -> Option<Self> {
        self.stretch.is_none().then_some(Self { stretch: None, ..*self })
    }

    /// How many units have passed after `nanos`.
    #[inline]
    pub(crate) fn units(&self, nanos: u64) -> u64 {
        match self.stretch {
            None => nanos.min(TIME_MAX),
            Some(stretch) => stretch.units(nanos).min(TIME_MAX),
        }
    }

    /// The first nanosecond at which `units` have passed.
    #[inline]
    pub(crate) fn nanos(&self, units: u64) -> u64 {
        match self.stretch {
            None => units,
            Some(stretch) => stretch.first(units),
        }
    }
}

impl Stretch {
    fn units(self, nanos: u64) -> u64 {
        let product = u128::from(nanos) * u128::from(self.rate.get());
        u64::try_from(product >> 63).unwrap_or(u64::MAX)
    }

    // Out of line, because rates that divide their period, which are most, have no use for it.
    #[inline(never)]
    fn first(self, units: u64) -> u64 {
        // Low by two at most: the reciprocal is rounded down, and so is the product.
        let mut nanos = ((u128::from(units) * u128::from(self.nanos)) >> 63) as u64;
        for _ in 0..2 {
            nanos += u64::from(self.units(nanos) < units);
        }
        nanos
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_rate_that_divides_its_period_counts_nanoseconds() {
        for (limit, per_cell) in [(1, 1_000_000_000), (100, 10_000_000), (1_000_000_000, 1)] {
            let scale = Scale::new(limit, 1_000_000_000);
            assert_eq!(scale.per_cell.get(), per_cell, "{limit}");
            assert_eq!(scale.units(u64::MAX), TIME_MAX, "{limit}");
            assert_eq!(scale.units(12_345), 12_345, "{limit}");
        }
    }

    proptest! {
        #[test]
        fn the_first_nanosecond_is_the_first(
            limit in 1..=u32::MAX,
            period in 1..1_u64 << 61,
            units in 0..1_u64 << 63,
        ) {
            prop_assume!(u64::from(limit) <= period);
            let scale = Scale::new(limit, period);
            let first = scale.nanos(units);
            prop_assert!(scale.units(first) >= units.min(TIME_MAX));
            if first > 0 {
                prop_assert!(scale.units(first - 1) < units);
            }
        }

        #[test]
        fn the_scale_never_runs_fast_and_never_falls_behind_by_a_unit(
            limit in 1..=u32::MAX,
            period in 1..1_u64 << 61,
            nanos in 0..1_u64 << 61,
        ) {
            prop_assume!(u64::from(limit) <= period);
            let scale = Scale::new(limit, period);
            // The exact number of units is this over `period`.
            let exact = u128::from(nanos) * u128::from(scale.per_cell.get());
            let (whole, part) = (exact / u128::from(period), exact % u128::from(period));
            let (limit, period) = (u128::from(limit), u128::from(period));
            let exact = whole * limit + part * limit / period;
            let down = u128::from(scale.units(nanos));
            prop_assert!(down <= exact, "{down} > {exact}");
            prop_assert!(exact - down <= 1, "{down} < {exact}");
        }
    }
}
