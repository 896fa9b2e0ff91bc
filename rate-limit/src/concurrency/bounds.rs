//! Where an adaptive limit begins, and between what it moves.

use seawall_core::ConfigError;

/// The largest limit, and the longest queue: the two and what is in flight share one word.
pub(crate) const MOST: u32 = 1_000_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bounds {
    pub(crate) initial: u32,
    pub(crate) min: u32,
    pub(crate) max: u32,
}

impl Bounds {
    /// Those of Netflix's library for `initial`; a floor of 1, for callees that can do no more.
    pub(crate) const fn new() -> Self {
        Self { initial: 20, min: 1, max: 1_000 }
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        at_most("max", self.max, MOST)?;
        at_most("min", self.min, self.max)?;
        let Self { initial, min, max } = *self;
        if initial < min || initial > max {
            return Err(ConfigError::new("initial", initial, format!("{min} to {max}")));
        }
        Ok(())
    }

    pub(crate) fn clamp(&self, limit: u32) -> u32 {
        limit.clamp(self.min, self.max)
    }
}

/// Checks that `field` is 1 to `most`.
pub(crate) fn at_most(field: &'static str, value: u32, most: u32) -> Result<(), ConfigError> {
    if value == 0 || value > most {
        return Err(ConfigError::new(field, value, format!("1 to {most}")));
    }
    Ok(())
}
