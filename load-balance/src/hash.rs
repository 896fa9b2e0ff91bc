//! How [`Policy::ConsistentHash`](crate::Policy::ConsistentHash) places keys on endpoints.

use seawall_core::ConfigError;

use crate::pick::is_prime;

/// Sends the calls of one key to one endpoint, whichever process asks.
///
/// | placement | a pick | a change moves | good for |
/// |---|---|---|---|
/// | [`ring`](Self::ring) | constant | the changed endpoint's keys alone | most, and memcached's ketama |
/// | [`maglev`](Self::maglev) | constant, fastest | few others too | even shares, large traffic |
/// | [`rendezvous`](Self::rendezvous) | linear | the changed endpoint's keys alone | up to a hundred endpoints |
///
/// Placement goes by the ids of the endpoints and their weights alone, so that processes with the
/// same set agree. Where a key's endpoint is ejected or was tried, the key goes on to the next that
/// fits, the same one for all calls of the key; when it comes back, so does the key. With a slow
/// start, keys return one after the other.
///
/// # Examples
///
/// ```
/// use seawall_load_balance::{AbsentKey, Config, ConsistentHash, Policy, Ring};
///
/// let policy = ConsistentHash::ring(Ring::new())
///     .with_bounded_load(125)
///     .with_absent_key(AbsentKey::RoundRobin);
/// let config = Config::builder().policy(Policy::ConsistentHash(policy)).build()?;
/// # let _ = config;
/// # Ok::<(), seawall_core::ConfigError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsistentHash {
    pub(crate) places: Places,
    pub(crate) absent: AbsentKey,
    pub(crate) bound: Option<u32>,
    pub(crate) seed: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Places {
    Ring(Ring),
    Maglev(Maglev),
    Rendezvous,
}

impl ConsistentHash {
    fn new(places: Places) -> Self {
        Self { places, absent: AbsentKey::Random, bound: None, seed: 0 }
    }

    /// Points on a ring: a key belongs to the endpoint of the next point.
    ///
    /// # Algorithm
    ///
    /// Karger et al., "Consistent Hashing and Random Trees" (1997). Points are hashed from the id
    /// and a number with XXH3, or as libketama does: see [`Ring::ketama`]. Where points coincide,
    /// the lower id has them.
    ///
    /// # Cost
    ///
    /// A pick looks at a few neighbouring points, however many there are. A point takes 8 bytes. A change copies the few parts of the ring that the changed endpoints' points
    /// are in, and shares the rest with the ring before.
    pub fn ring(ring: Ring) -> Self {
        Self::new(Places::Ring(ring))
    }

    /// A table that endpoints take turns to fill: the most even shares.
    ///
    /// # Algorithm
    ///
    /// Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load Balancer" (2016), section
    /// 3.4; offset and skip are XXH3 of the id. Weights are as in Envoy: an endpoint gets a turn in
    /// proportion to its weight relative to the heaviest.
    ///
    /// # Cost
    ///
    /// A pick reads one cell of 4 bytes. A change makes a new table: at once when it has up to
    /// 65,537 cells, else in a thread of its own. Until it is ready the old one serves: endpoints
    /// that left are passed over, new ones get no calls yet. When it names less than half of the
    /// endpoints, as when there is none, calls go by a plain division of the keys, which moves them.
    pub fn maglev(maglev: Maglev) -> Self {
        Self::new(Places::Maglev(maglev))
    }

    /// The endpoint with the highest score for the key.
    ///
    /// # Algorithm
    ///
    /// Thaler and Ravishankar, "A Name-Based Mapping Scheme for Rendezvous" (1996), by weight after
    /// Schindelhauer and Schomaker, "Weighted Distributed Hash Tables" (2005): the least of
    /// -ln(hash) / weight. The logarithm is computed with exactly rounded operations, so that
    /// platforms agree to the last bit.
    ///
    /// # Cost
    ///
    /// A pick hashes once for each endpoint.
    pub fn rendezvous() -> Self {
        Self::new(Places::Rendezvous)
    }

    /// Lets no endpoint have more than this many percent of its share of the calls in flight; its
    /// other calls go on to the next endpoint with room. 100 to 10,000 percent, no bound unless set.
    ///
    /// # Algorithm
    ///
    /// Mirrokni, Thorup and Zadimoghaddam, "Consistent Hashing with Bounded Loads" (2016): an
    /// endpoint has at most `ceil(percent / 100 * (in flight + 1) * weight / sum of weights)` calls.
    /// Where endpoints are ejected, the others' shares grow by theirs, taken to be of average weight.
    /// When every one that fits is at its bound, the least loaded relative to its weight is picked.
    ///
    /// # Cost
    ///
    /// A counter that all calls of the balancer write.
    #[must_use]
    pub fn with_bounded_load(mut self, percent: u32) -> Self {
        self.bound = Some(percent);
        self
    }

    /// Where calls without a key go; any endpoint unless set.
    #[must_use]
    pub fn with_absent_key(mut self, absent: AbsentKey) -> Self {
        self.absent = absent;
        self
    }

    /// Places everything anew: processes agree when their seeds do. 0 unless set; of no effect on
    /// [`Ring::ketama`], whose placement is given.
    #[must_use]
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    pub(crate) fn takes_turns(&self) -> bool {
        self.absent == AbsentKey::RoundRobin
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        match &self.places {
            Places::Ring(ring) => ring.check().map_err(|error| error.within("ring"))?,
            Places::Maglev(maglev) => maglev.check().map_err(|error| error.within("maglev"))?,
            Places::Rendezvous => {}
        }
        match self.bound {
            Some(percent) if !(100..=10_000).contains(&percent) => {
                Err(ConfigError::new("bounded_load", percent, "100 to 10,000 percent"))
            }
            _ => Ok(()),
        }
    }

    /// Refuses what cannot serve `endpoints`.
    pub(crate) fn check_size(&self, endpoints: usize) -> Result<(), ConfigError> {
        match &self.places {
            Places::Maglev(Maglev { cells: Some(cells) }) if (*cells as usize) < endpoints => {
                let allowed = format!("at least the {endpoints} endpoints of the set");
                Err(ConfigError::new("cells", *cells, allowed).within("maglev"))
            }
            _ => Ok(()),
        }
    }
}

/// Where calls without a key go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AbsentKey {
    /// To a random endpoint, by weight.
    #[default]
    Random,
    /// To each endpoint in turn.
    RoundRobin,
    /// To the first endpoint by id that fits: the same for all such calls of all processes.
    First,
}

/// A ring for [`ConsistentHash::ring`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ring {
    pub(crate) points: u32,
    pub(crate) max_points: u32,
    pub(crate) ketama: bool,
}

impl Ring {
    /// 160 points per unit of weight, at most 2^22 points in all.
    pub const fn new() -> Self {
        // 160 as in libketama and nginx. 2^22 points take 32 MiB.
        Self { points: 160, max_points: 1 << 22, ketama: false }
    }

    /// Points and order as libketama and its many relatives have them, so that programs with such a
    /// client agree with this one: name endpoints by what those hash, which is usually `host:port`,
    /// and hash keys with [`HashKey::ketama`](crate::HashKey::ketama).
    ///
    /// # Algorithm
    ///
    /// Jones, "libketama" (2007): MD5 of `id-k` gives four points, 40 such hashes per endpoint on
    /// average, `floor(40 * endpoints * weight / sum of weights)` for each. It differs in that the
    /// product is exact where libketama rounds to single precision on the way. A change of one
    /// weight changes the others' points, as there.
    pub const fn ketama() -> Self {
        Self { points: 160, max_points: 1 << 22, ketama: true }
    }

    /// How many points an endpoint has per unit of its weight, or, in a ketama ring, on average:
    /// more are fairer and take more memory. 1 to 65,536, 160 unless set; a multiple of 4 in a
    /// ketama ring.
    ///
    /// Shares differ by about one part in the square root of an endpoint's points.
    #[must_use]
    pub const fn with_points(mut self, points: u32) -> Self {
        self.points = points;
        self
    }

    /// How many points there may be in all; 1,024 to 2^26, 2^22 unless set.
    ///
    /// A set that would have more gets half of its points, or a quarter, and so on, but each endpoint
    /// at least one. Those that remain stay where they are, so that a set that grows past a halving
    /// moves few keys more than it must.
    #[must_use]
    pub const fn with_max_points(mut self, max: u32) -> Self {
        self.max_points = max;
        self
    }

    fn check(&self) -> Result<(), ConfigError> {
        if !(1..=1 << 16).contains(&self.points) {
            return Err(ConfigError::new("points", self.points, "1 to 65,536"));
        }
        if self.ketama && !self.points.is_multiple_of(4) {
            return Err(ConfigError::new("points", self.points, "a multiple of 4"));
        }
        if !(1 << 10..=1 << 26).contains(&self.max_points) {
            return Err(ConfigError::new("max_points", self.max_points, "1,024 to 67,108,864"));
        }
        Ok(())
    }
}

impl Default for Ring {
    fn default() -> Self {
        Self::new()
    }
}

/// A table for [`ConsistentHash::maglev`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Maglev {
    pub(crate) cells: Option<u32>,
}

impl Maglev {
    /// A table of 65,537 cells, or for more than 2,048 endpoints of the first of 655,373, 5,000,011
    /// and 50,000,017 that has 32 for each.
    pub const fn new() -> Self {
        Self { cells: None }
    }

    /// How many cells the table has: a prime from 3 to 2^27, and no fewer than there are endpoints,
    /// which [`build`](crate::BalancerBuilder::build) checks. A set that grows past it later gets
    /// the next larger size of [`new`](Self::new).
    ///
    /// Shares differ by about one part in the cells per endpoint.
    #[must_use]
    pub const fn with_cells(mut self, cells: u32) -> Self {
        self.cells = Some(cells);
        self
    }

    fn check(&self) -> Result<(), ConfigError> {
        match self.cells {
            Some(cells) if !(3..=1 << 27).contains(&cells) || !is_prime(cells) => {
                Err(ConfigError::new("cells", cells, "a prime from 3 to 134,217,728"))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nonsense_is_refused_by_name() {
        let field = |hash: ConsistentHash| hash.check().unwrap_err().field().to_owned();
        let ring = |ring: Ring| field(ConsistentHash::ring(ring));
        assert_eq!(ring(Ring::new().with_points(0)), "ring.points");
        assert_eq!(ring(Ring::ketama().with_points(42)), "ring.points");
        assert_eq!(ring(Ring::new().with_max_points(1 << 27)), "ring.max_points");
        for cells in [0, 1, 2, 4, 65_536, u32::MAX] {
            let maglev = Maglev::new().with_cells(cells);
            assert_eq!(field(ConsistentHash::maglev(maglev)), "maglev.cells", "{cells}");
        }
        assert_eq!(field(ConsistentHash::rendezvous().with_bounded_load(99)), "bounded_load");
        let small = ConsistentHash::maglev(Maglev::new().with_cells(7));
        assert!(small.check().is_ok() && small.check_size(7).is_ok());
        assert_eq!(small.check_size(8).unwrap_err().field(), "maglev.cells");
    }
}
