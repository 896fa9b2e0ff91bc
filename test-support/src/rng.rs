//! Randomness that a failing test can be repeated with.

use std::env;
use std::ops::{Deref, DerefMut};
use std::sync::OnceLock;
use std::thread;

/// Overrides the seed of every [`Rng`] that does not name its own.
const VARIABLE: &str = "SEAWALL_SEED";

/// The seed of this test process: the variable `SEAWALL_SEED` if it is set, else a random one.
///
/// # Panics
///
/// When the variable holds anything but an unsigned number of 64 bits.
pub fn seed() -> u64 {
    static SEED: OnceLock<u64> = OnceLock::new();
    *SEED.get_or_init(|| match env::var(VARIABLE) {
        Ok(seed) => seed.parse().unwrap_or_else(|error| {
            panic!("{VARIABLE}={seed} is not a number of 64 bits: {error}")
        }),
        Err(_) => fastrand::u64(..),
    })
}

/// A seeded generator, which prints its seed when the test fails.
///
/// It has the methods of [`fastrand::Rng`].
///
/// # Examples
///
/// ```
/// use seawall_test_support::Rng;
///
/// let mut rng = Rng::new();
/// let mut again = Rng::with_seed(rng.seed());
/// assert_eq!(rng.u32(..), again.u32(..));
/// ```
#[derive(Debug)]
pub struct Rng {
    rng: fastrand::Rng,
    seed: u64,
}

impl Rng {
    /// A generator with the seed of this test process; see [`seed`].
    pub fn new() -> Self {
        Self::with_seed(seed())
    }

    /// A generator with a seed of the test's own.
    pub fn with_seed(seed: u64) -> Self {
        Self { rng: fastrand::Rng::with_seed(seed), seed }
    }

    /// The seed that it began with.
    pub fn seed(&self) -> u64 {
        self.seed
    }
}

impl Default for Rng {
    fn default() -> Self {
        Self::new()
    }
}

impl Deref for Rng {
    type Target = fastrand::Rng;

    fn deref(&self) -> &fastrand::Rng {
        &self.rng
    }
}

impl DerefMut for Rng {
    fn deref_mut(&mut self) -> &mut fastrand::Rng {
        &mut self.rng
    }
}

impl Drop for Rng {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("repeat this failure with {VARIABLE}={}", self.seed);
        }
    }
}
