//! One limiter for each key, in a fixed amount of memory.

mod table;

use std::{
    fmt,
    hash::{BuildHasher, Hash},
    marker::PhantomData,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use seawall_core::{Clock, ConfigError, Rejection};

use crate::{
    Allowed, Quota, Rejected, TokenBucket,
    algorithm::Algorithm,
    sync::{AtomicU64, Seed},
};
use table::Table;

/// The most keys that a limiter has room for: 48 GiB of them.
const KEYS_MAX: usize = 1 << 31;

/// Limits each key by itself. Clones share everything.
///
/// `K` is what a key looks like to whoever asks, as in `KeyedLimiter<str>` or
/// `KeyedLimiter<(u32, IpAddr)>`: keys are hashed, not kept, so that there is nothing to own or to
/// allocate.
///
/// ```
/// use seawall_rate_limit::{KeyedLimiter, Quota};
///
/// let limiter = KeyedLimiter::<str>::new(Quota::per_minute(1), 10_000)?;
/// assert!(limiter.check("alice").is_ok());
/// assert!(limiter.check("alice").is_err());
/// assert!(limiter.check(&String::from("bob")).is_ok());
/// # Ok::<(), seawall_rate_limit::ConfigError>(())
/// ```
///
/// # Memory
///
/// 24 bytes for each key that there is room for, allocated when the limiter is built; there is no
/// task that cleans up, and none is needed. A new key takes an unused place or that of a key whose
/// bucket is full again, which says no more than that it was never seen: no key that is being limited
/// is ever forgotten. It looks at 64 places at most. When all of those are taken by keys that are
/// being limited, [`Full`] decides; about ten in a million keys meet that before there are as many as
/// there is room for.
///
/// So a flood of made-up keys, however large, takes no more memory and frees nobody; it can only use
/// up the places for new keys, each of which comes back as soon as its bucket is full again.
///
/// # Which keys share a bucket
///
/// A key is known by 63 bits of its SipHash-1-3 (Aumasson and Bernstein, 2012) with a random seed,
/// which nobody outside can aim at. Among n keys two share a bucket with a probability of about
/// n² / 2⁶⁴: 1 in 18 million for a million keys.
///
/// # Cost
///
/// The hash, one compare-exchange and one store for a known key; no allocation. Calls of one key wait
/// for each other for a few instructions, calls of different keys do not. A new key takes a lock that
/// it shares with a 256th of the other new keys.
pub struct KeyedLimiter<K: ?Sized> {
    shared: Arc<Shared>,
    key: PhantomData<fn(&K)>,
}

struct Shared {
    table: Table,
    overflow: AtomicU64,
    /// How often there was no place for a key.
    full: AtomicU64,
    bucket: TokenBucket,
    seed: Seed,
    clock: Clock,
    when_full: Full,
    keys: usize,
    name: Option<Arc<str>>,
}

/// What becomes of a new key when there is no place for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Full {
    /// It is refused until there is one: nobody gets more than their quota.
    #[default]
    Refuse,
    /// All keys without a place share one bucket: some of them get on, none for certain.
    Share,
}

impl<K: Hash + ?Sized> KeyedLimiter<K> {
    /// Limits each key to `quota`, with room for `keys` of them, 1 to 2³¹, that are being limited at
    /// the same time.
    ///
    /// # Errors
    ///
    /// When `quota` cannot be kept, as for [`TokenBucket::new`], or when `keys` is out of range.
    pub fn new(quota: Quota, keys: usize) -> Result<Self, ConfigError> {
        if keys == 0 || keys > KEYS_MAX {
            return Err(ConfigError::new("keys", keys, format!("1 to {KEYS_MAX}")));
        }
        let bucket = TokenBucket::new(quota)?;
        Ok(Self::from_shared(Shared {
            table: Table::new(keys),
            overflow: AtomicU64::new(bucket.rest()),
            full: AtomicU64::new(0),
            bucket,
            seed: Seed::default(),
            clock: Clock::fast(),
            when_full: Full::default(),
            keys,
            name: None,
        }))
    }

    fn from_shared(shared: Shared) -> Self {
        Self { shared: Arc::new(shared), key: PhantomData }
    }

    fn rebuilt(self, change: impl FnOnce(&mut Shared)) -> Self {
        let old = &*self.shared;
        let mut shared = Shared {
            table: Table::new(old.keys),
            overflow: AtomicU64::new(old.bucket.rest()),
            full: AtomicU64::new(0),
            seed: old.seed.clone(),
            clock: old.clock.clone(),
            name: old.name.clone(),
            ..*old
        };
        change(&mut shared);
        Self::from_shared(shared)
    }
}

impl<K: Hash + ?Sized> KeyedLimiter<K> {
    /// Tells the time by `clock`.
    ///
    /// Part of building a limiter: what comes back is at rest and shares nothing with clones that
    /// were made before.
    #[must_use]
    pub fn with_clock(self, clock: Clock) -> Self {
        self.rebuilt(|shared| shared.clock = clock)
    }

    /// Names the limiter in its refusals and headers.
    ///
    /// Part of building a limiter: what comes back is at rest and shares nothing with clones that
    /// were made before.
    #[must_use]
    pub fn named(self, name: impl Into<Arc<str>>) -> Self {
        self.rebuilt(|shared| shared.name = Some(name.into()))
    }

    /// What becomes of a new key when there is no place for it; [`Full::Refuse`] unless set.
    ///
    /// Part of building a limiter: what comes back is at rest and shares nothing with clones that
    /// were made before.
    #[must_use]
    pub fn when_full(self, full: Full) -> Self {
        self.rebuilt(|shared| shared.when_full = full)
    }

    /// Takes one cell of `key`, or says when there is one.
    ///
    /// # Errors
    ///
    /// When there is none; nothing has changed then.
    #[inline]
    pub fn check(&self, key: &K) -> Result<Allowed, Rejected> {
        self.check_n(key, 1)
    }

    /// Takes `cost` cells of `key`, all or none. A cost of 0 takes nothing and always passes.
    ///
    /// # Errors
    ///
    /// When there are too few; nothing has changed then. A cost above the burst
    /// [never](Rejected::is_never) passes.
    #[inline]
    pub fn check_n(&self, key: &K, cost: u32) -> Result<Allowed, Rejected> {
        self.shared.check(self.shared.seed.hash_one(key), cost)
    }

    /// What [`check`](Self::check) would answer; takes nothing, not even a place.
    ///
    /// # Errors
    ///
    /// As there, but for a place that is missing.
    pub fn peek(&self, key: &K) -> Result<Allowed, Rejected> {
        let Shared { table, bucket, seed, clock, .. } = &*self.shared;
        let state = table.find(seed.hash_one(key)).map_or(bucket.rest(), |held| held.state());
        bucket.look(&state, clock.now(), 1)
    }
}

impl<K: ?Sized> KeyedLimiter<K> {
    /// What each key is limited to.
    pub fn quota(&self) -> Quota {
        self.shared.bucket.quota()
    }

    /// Its name, if it has one.
    pub fn name(&self) -> Option<&str> {
        self.shared.name.as_deref()
    }

    /// How many keys it has room for.
    pub fn capacity(&self) -> usize {
        self.shared.keys
    }

    /// How often there was no place for a new key: the limiter is too small, or somebody makes keys
    /// up.
    pub fn times_full(&self) -> u64 {
        self.shared.full.load(Relaxed)
    }

    /// `rejected` in the words that all crates share, in the name of this limiter.
    pub fn rejection(&self, rejected: Rejected) -> Rejection {
        let rejection = Rejection::from(rejected);
        match &self.shared.name {
            Some(name) => rejection.by(name.clone()),
            None => rejection,
        }
    }
}

#[cfg(feature = "http")]
impl<K: ?Sized> KeyedLimiter<K> {
    /// Takes one cell of what callers without a key share.
    pub(crate) fn check_unkeyed(&self) -> Result<Allowed, Rejected> {
        use std::hash::Hasher;

        self.shared.check(self.shared.seed.build_hasher().finish(), 1)
    }

    /// A refusal for good.
    pub(crate) fn never(&self) -> Rejected {
        self.shared.bucket.refuse_for_good(self.shared.clock.now())
    }
}

impl Shared {
    #[inline]
    fn check(&self, hash: u64, cost: u32) -> Result<Allowed, Rejected> {
        let now = self.clock.now();
        if let Some(mut held) = self.table.find(hash) {
            let mut state = held.state();
            let answer = self.bucket.take(&mut state, now, cost);
            held.set(state);
            return answer;
        }
        self.enter(hash, cost)
    }

    #[cold]
    fn enter(&self, hash: u64, cost: u32) -> Result<Allowed, Rejected> {
        // Read here, not before the lock: a key that was entered meanwhile may be ahead.
        let now = self.clock.now();
        let is_at_rest = |state| self.bucket.is_at_rest(state, now);
        match self.table.enter(hash, self.bucket.rest(), is_at_rest) {
            Ok(mut held) => {
                let mut state = held.state();
                let answer = self.bucket.take(&mut state, now, cost);
                held.set(state);
                answer
            }
            Err(taken) => {
                // Relaxed: a count; nothing is read on the strength of it.
                self.full.fetch_add(1, Relaxed);
                match self.when_full {
                    Full::Share => self.bucket.take_shared(&self.overflow, now, cost),
                    Full::Refuse => Err(self.bucket.refuse_until_rest(taken, now)),
                }
            }
        }
    }
}

impl<K: ?Sized> Clone for KeyedLimiter<K> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone(), key: PhantomData }
    }
}

impl<K: ?Sized> fmt::Debug for KeyedLimiter<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyedLimiter")
            .field("name", &self.name())
            .field("quota", &self.quota())
            .field("capacity", &self.capacity())
            .field("times_full", &self.times_full())
            .finish_non_exhaustive()
    }
}
