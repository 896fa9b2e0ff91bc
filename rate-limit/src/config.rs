//! The settings of a limiter.

#[cfg(feature = "serde")]
mod spec;

use crate::Quota;

/// What a limiter is set to: one quota or several, and what is to become of calls above them.
///
/// A plain value, such as a file holds; it is checked by the limiter that is
/// [built from it](crate::RateLimiter::from_config), or [takes it over](crate::RateLimiter::apply)
/// while it runs. The algorithm is the limiter's type.
///
/// With the feature `serde` it is read from a quota alone, as in `"100/s burst 200"`, or from fields
/// of the same names as here:
///
/// ```
/// # #[cfg(feature = "serde")]
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use seawall_rate_limit::{Config, RateLimiter, TokenBucket, algorithm::Several};
///
/// let config: Config = serde_json::from_str(
///     r#"{"quota": ["100/s burst 200", "1000 per 1h"], "reserve": 20, "shadow": true}"#,
/// )?;
/// let limiter = RateLimiter::<Several<TokenBucket>>::from_config(&config)?;
/// assert!(limiter.is_shadow());
/// # Ok(())
/// # }
/// # #[cfg(not(feature = "serde"))]
/// # fn main() {}
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(try_from = "spec::Spec", into = "spec::Spec"))]
pub struct Config {
    quotas: Vec<Quota>,
    reserve: u32,
    shadow: bool,
}

impl Config {
    /// One quota.
    pub fn new(quota: Quota) -> Self {
        Self::all_of([quota])
    }

    /// Several quotas, all of which a call must meet: for
    /// [`Several`](crate::algorithm::Several).
    pub fn all_of(quotas: impl Into<Vec<Quota>>) -> Self {
        Self { quotas: quotas.into(), reserve: 0, shadow: false }
    }

    /// Keeps so many cells for calls that are not
    /// [sheddable](crate::RateLimiter::check_sheddable); 0 unless set.
    #[must_use]
    pub fn reserve(mut self, cells: u32) -> Self {
        self.reserve = cells;
        self
    }

    /// Decides, counts and tells, but refuses nothing; off unless set.
    #[must_use]
    pub fn shadow(mut self, shadow: bool) -> Self {
        self.shadow = shadow;
        self
    }

    /// The quotas.
    pub fn quotas(&self) -> &[Quota] {
        &self.quotas
    }

    /// The cells that are kept for calls that are not sheddable.
    pub fn reserve_cells(&self) -> u32 {
        self.reserve
    }

    /// Whether nothing is refused.
    pub fn is_shadow(&self) -> bool {
        self.shadow
    }
}

impl From<Quota> for Config {
    fn from(quota: Quota) -> Self {
        Self::new(quota)
    }
}
