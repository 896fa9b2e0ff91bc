//! A share of calls.

use std::fmt;

use seawall_core::ConfigError;

/// A share of something, above 0 and at most 1, kept in millionths.
///
/// Rates are compared in integers, so that a threshold is met exactly where arithmetic on paper says.
///
/// ```
/// use seawall_circuit_breaker::Ratio;
///
/// let half = Ratio::new(0.5)?;
/// assert!(half.is_met_by(50, 100));
/// assert!(!half.is_met_by(49, 100));
/// assert!(Ratio::new(1.5).is_err());
/// # Ok::<(), seawall_circuit_breaker::ConfigError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ratio(u32);

/// Millionths in 1.
const WHOLE: u32 = 1_000_000;

impl Ratio {
    /// Everything.
    pub const ONE: Self = Self(WHOLE);

    /// `share`, rounded to millionths.
    ///
    /// # Errors
    ///
    /// Names the field `ratio` when `share` is not above 0 and at most 1.
    pub fn new(share: f64) -> Result<Self, ConfigError> {
        Self::named("ratio", share)
    }

    pub(crate) fn named(field: &'static str, share: f64) -> Result<Self, ConfigError> {
        let millionths = (share * f64::from(WHOLE)).round();
        // Not a number fails both comparisons.
        if millionths >= 1.0 && share <= 1.0 {
            Ok(Self(millionths as u32))
        } else {
            Err(ConfigError::new(field, share, "above 0 and at most 1"))
        }
    }

    pub(crate) const fn from_millionths(millionths: u32) -> Self {
        Self(millionths)
    }

    pub(crate) const fn millionths(self) -> u32 {
        self.0
    }

    /// Whether `part` of `whole` is at least this share; of nothing, it never is.
    pub const fn is_met_by(self, part: u64, whole: u64) -> bool {
        // 128 bits hold the product of any two counts.
        whole > 0 && part as u128 * WHOLE as u128 >= whole as u128 * self.0 as u128
    }

    /// The share as a number from 0 to 1, for display.
    pub fn as_f64(self) -> f64 {
        f64::from(self.0) / f64::from(WHOLE)
    }
}

impl fmt::Debug for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ratio({})", self.as_f64())
    }
}

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_f64().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_outside_its_range_is_refused_with_its_value() {
        for share in [0.0, -0.1, 1.000_001, 1e-7, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let error = Ratio::named("failure_rate", share).unwrap_err();
            assert_eq!(error.field(), "failure_rate");
            assert_eq!(error.value(), share.to_string());
        }
        assert_eq!(Ratio::new(1.0), Ok(Ratio::ONE));
        assert_eq!(Ratio::new(0.000_001).map(Ratio::millionths), Ok(1));
    }

    #[test]
    fn a_threshold_is_met_exactly_at_its_boundary() {
        let third = Ratio::from_millionths(333_333);
        assert!(third.is_met_by(333_333, 1_000_000));
        assert!(!third.is_met_by(333_332, 1_000_000));
        assert!(Ratio::ONE.is_met_by(u64::MAX, u64::MAX));
        assert!(!Ratio::ONE.is_met_by(0, 0));
    }
}
