//! One limiter for each key, in a fixed amount of memory.

mod build;
mod hash;
mod plans;
mod shared;
mod table;
mod turn;

use std::{
    fmt,
    hash::{BuildHasher, Hash},
    sync::{Arc, atomic::Ordering::Relaxed},
};

use seawall_core::{ConfigError, Rejection};

use self::shared::Shared;
pub use self::turn::{KeyedTurn, KeyedWait};
use crate::{Allowed, Quota, Rejected, TokenBucket, Totals, algorithm::Algorithm};

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
/// task that cleans up, and none is needed. A new key takes an unused place or, when there is none
/// near, that of a key whose bucket has long been full again, which says no more than that it was
/// never seen: no key that is being limited is ever forgotten. It looks at 64 places at most. When all of those are taken by keys that are
/// being limited, [`Full`] decides; about ten in a million keys meet that before there are as many as
/// there is room for.
///
/// So a flood of made-up keys, however large, takes no more memory and frees nobody; it can only use
/// up the places for new keys, each of which comes back as soon as its bucket is full again.
///
/// # Which keys share a bucket
///
/// A key is known by its SipHash-1-3 (Aumasson and Bernstein, 2012) with a random seed, which nobody
/// outside can aim at. Among n keys two share a bucket with a probability of about n² / 2⁶⁵: 1 in 37
/// million for a million keys. In a limiter for fewer than 11,000 keys, where the place says less
/// about the key, it is at most n² / 2⁵⁷: 1 in 1.4 billion for 10,000.
///
/// # Plans
///
/// Keys may have quotas of their own: those of [plans](Self::with_plans), which a
/// [function](Self::plan_by) tells by the key. A quota may change while the limiter runs, and so may
/// the plan of a key; either way a key keeps what is left of its bucket, without a fresh burst. Only
/// a bucket that is full is as good as one that was never used, and full after the change too.
///
/// # Cost
///
/// The hash, one compare-exchange and one store for a known key; no allocation. Calls of one key wait
/// for each other for a few instructions, calls of different keys do not. A new key takes a lock that
/// it shares with a 256th of the other new keys.
pub struct KeyedLimiter<K: ?Sized> {
    shared: Arc<Shared>,
    plan: Option<Arc<PlanOf<K>>>,
}

type PlanOf<K> = dyn Fn(&K) -> usize + Send + Sync;

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
        let hash = self.shared.seed.hash_one(key);
        // Kept apart, so that an answer that nobody is told of is not copied.
        if self.shared.watch.is_watching() {
            self.shared.tell(hash, self.plan(key), cost)
        } else {
            self.shared.check(hash, self.plan(key), cost, 0)
        }
    }

    /// Takes `cost` cells of `key` for a call that is not important: only when as many as the
    /// [reserve](Self::set_reserve) would be left.
    ///
    /// # Errors
    ///
    /// When too few would be left; nothing has changed then.
    pub fn check_sheddable(&self, key: &K, cost: u32) -> Result<Allowed, Rejected> {
        let Shared { seed, watch, .. } = &*self.shared;
        let spare = watch.reserve();
        watch.tell(cost, self.shared.check(seed.hash_one(key), self.plan(key), cost, spare))
    }

    #[inline]
    fn plan(&self, key: &K) -> usize {
        match &self.plan {
            None => 0,
            Some(plan) => plan(key).min(self.shared.overflow.len() - 1),
        }
    }

    /// What [`check`](Self::check) would answer; takes nothing, not even a place.
    ///
    /// # Errors
    ///
    /// As there, but for a place that is missing.
    pub fn peek(&self, key: &K) -> Result<Allowed, Rejected> {
        self.shared.look(self.shared.seed.hash_one(key), self.plan(key))
    }
}

impl<K: ?Sized> KeyedLimiter<K> {
    /// What each key is limited to; with several plans, the first of them.
    pub fn quota(&self) -> Quota {
        self.shared.plans(|plans| plans.bucket(0).quota())
    }

    /// Keeps `quota` for each key from now on; with several plans, for the keys of the first.
    ///
    /// Keys keep what is left of their buckets, without a fresh burst.
    ///
    /// # Errors
    ///
    /// When it cannot be kept, as for [`TokenBucket::new`]; nothing has changed then.
    ///
    /// # Cost
    ///
    /// Looks at each place, and so takes milliseconds for each million keys. Calls go on meanwhile.
    pub fn set_quota(&self, quota: Quota) -> Result<(), ConfigError> {
        self.set_plan(0, quota)
    }

    /// The same for the keys of `plan`.
    ///
    /// # Errors
    ///
    /// As there, or when there is no such plan.
    pub fn set_plan(&self, plan: usize, quota: Quota) -> Result<(), ConfigError> {
        let bucket = TokenBucket::new(quota)?;
        let plans = self.shared.overflow.len();
        if plan >= plans {
            return Err(ConfigError::new("plan", plan, format!("0 to {}", plans - 1)));
        }
        self.shared.change(plan, bucket);
        self.shared.watch.reconfigured(quota);
        Ok(())
    }

    /// Keeps so many cells of each key for calls that are not
    /// [sheddable](Self::check_sheddable); 0 unless set. May change at any time.
    pub fn set_reserve(&self, cells: u32) {
        self.shared.watch.set_reserve(cells);
    }

    /// Decides, counts and tells, but refuses nothing, as
    /// [there](crate::RateLimiter::set_shadow). May change at any time.
    pub fn set_shadow(&self, shadow: bool) {
        self.shared.watch.set_shadow(shadow);
    }

    /// Whether it refuses nothing.
    pub fn is_shadow(&self) -> bool {
        self.shared.watch.is_shadow()
    }

    /// How many calls it decided on, where that is [counted](Self::count_decisions).
    pub fn totals(&self) -> Option<Totals> {
        self.shared.watch.totals()
    }

    /// Its name, if it has one.
    pub fn name(&self) -> Option<&str> {
        self.shared.watch.name()
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
        self.shared.watch.rejection(rejected)
    }
}

impl<K: ?Sized> Clone for KeyedLimiter<K> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone(), plan: self.plan.clone() }
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
