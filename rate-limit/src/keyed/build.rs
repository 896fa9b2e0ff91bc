//! How a keyed limiter is built.

use std::{hash::Hash, sync::Arc};

use seawall_core::{Clock, ConfigError};

use super::{Full, KEYS_MAX, KeyedLimiter, hash::Seed, plans::Plans, shared::Shared, table::Table};
use crate::{
    Config, Observer, Quota,
    algorithm::{Share, SharedBucket, single},
    sync::{AtomicU64, Mutex, Swap},
    watch::Watch,
};

impl<K: Hash + ?Sized> KeyedLimiter<K> {
    /// Limits each key to `quota`, with room for `keys` of them, 1 to 2³¹, that are being limited at
    /// the same time.
    ///
    /// # Errors
    ///
    /// When `quota` cannot be kept, as for [`TokenBucket::new`](crate::TokenBucket::new), or when
    /// `keys` is out of range.
    pub fn new(quota: Quota, keys: usize) -> Result<Self, ConfigError> {
        Self::with_plans(&[quota], keys)
    }

    /// The same with the settings of `config`, which has one quota.
    ///
    /// # Errors
    ///
    /// As there, or when there are more quotas.
    pub fn from_config(config: &Config, keys: usize) -> Result<Self, ConfigError> {
        let limiter = Self::new(single(config.quotas())?, keys)?;
        limiter.shared.watch.adopt(config);
        Ok(limiter)
    }

    /// Takes over `config` while calls are running, as [`set_quota`](Self::set_quota) does.
    ///
    /// # Errors
    ///
    /// As for [`from_config`](Self::from_config); nothing has changed then.
    pub fn apply(&self, config: &Config) -> Result<(), ConfigError> {
        self.set_quota(single(config.quotas())?)?;
        self.shared.watch.adopt(config);
        Ok(())
    }

    /// Limits each key to the quota of its plan, 1 to 127 of them; of the first, unless a function
    /// [tells](Self::plan_by) the plan of a key.
    ///
    /// ```
    /// use seawall_rate_limit::{KeyedLimiter, Quota};
    ///
    /// let plans = [Quota::per_minute(1), Quota::per_minute(100)];
    /// let limiter = KeyedLimiter::<str>::with_plans(&plans, 10_000)?
    ///     .plan_by(|key| usize::from(key.starts_with("paid-")));
    /// assert_eq!(limiter.check("alice").map(|allowed| allowed.remaining()).ok(), Some(0));
    /// assert_eq!(limiter.check("paid-bob").map(|allowed| allowed.remaining()).ok(), Some(99));
    /// # Ok::<(), seawall_rate_limit::ConfigError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// When a quota cannot be kept, or when there are too many or no plans, or when `keys` is out of
    /// range.
    pub fn with_plans(quotas: &[Quota], keys: usize) -> Result<Self, ConfigError> {
        if keys == 0 || keys > KEYS_MAX {
            return Err(ConfigError::new("keys", keys, format!("1 to {KEYS_MAX}")));
        }
        let settings = Settings {
            plans: Plans::new(quotas)?,
            seed: seed(),
            clock: Clock::fast(),
            watch: Watch::default(),
            when_full: Full::default(),
            keys,
        };
        Ok(Self { shared: Arc::new(settings.build()), plan: None })
    }

    /// Which plan a key has, counted from 0; a number without a plan is the last plan.
    ///
    /// It is asked at each call. A key that changes its plan keeps what is left of its bucket, as far
    /// as the burst of the new plan has room for that.
    #[must_use]
    pub fn plan_by(self, plan: impl Fn(&K) -> usize + Send + Sync + 'static) -> Self {
        Self { plan: Some(Arc::new(plan)), ..self }
    }

    fn rebuilt(self, change: impl FnOnce(Settings) -> Settings) -> Self {
        let old = &*self.shared;
        let settings = Settings {
            plans: old.built.clone(),
            seed: old.seed,
            clock: old.clock.clone(),
            watch: old.watch.renewed(),
            when_full: old.when_full,
            keys: old.keys,
        };
        Self { shared: Arc::new(change(settings).build()), plan: self.plan }
    }

    /// Tells the time by `clock`.
    ///
    /// Part of building a limiter, as are those below: what comes back is at rest, as it was first
    /// built, and shares nothing with clones that were made before.
    #[must_use]
    pub fn with_clock(self, clock: Clock) -> Self {
        self.rebuilt(|settings| Settings { clock, ..settings })
    }

    /// Names the limiter in its refusals, headers and events.
    #[must_use]
    pub fn named(self, name: impl Into<Arc<str>>) -> Self {
        self.rebuilt(|old| Settings { watch: old.watch.named(name.into()), ..old })
    }

    /// What becomes of a new key when there is no place for it; [`Full::Refuse`] unless set.
    #[must_use]
    pub fn when_full(self, when_full: Full) -> Self {
        self.rebuilt(|settings| Settings { when_full, ..settings })
    }

    /// Tells `observer` of every decision, though not of the keys.
    #[must_use]
    pub fn observed_by(self, observer: Arc<dyn Observer>) -> Self {
        self.rebuilt(|old| Settings { watch: old.watch.observed_by(observer), ..old })
    }

    /// Counts every decision, for [`totals`](Self::totals).
    ///
    /// # Cost
    ///
    /// One shared write for each call.
    #[must_use]
    pub fn count_decisions(self) -> Self {
        self.rebuilt(|old| Settings { watch: old.watch.counting(), ..old })
    }
}

struct Settings {
    plans: Plans,
    seed: Seed,
    clock: Clock,
    watch: Watch,
    when_full: Full,
    keys: usize,
}

impl Settings {
    fn build(self) -> Shared {
        let Self { plans, seed, clock, watch, when_full, keys } = self;
        let overflow = (0..plans.count()).map(|plan| SharedBucket::new(*plans.bucket(plan)));
        Shared {
            table: Table::new(keys),
            seed,
            clock,
            watch,
            bucket: *plans.bucket(0),
            generation: AtomicU64::new(0),
            overflow: overflow.collect(),
            built: plans,
            latest: Swap::default(),
            changing: Mutex::new(()),
            full: AtomicU64::new(0),
            when_full,
            keys,
        }
    }
}

#[cfg(not(seawall_loom))]
fn seed() -> Seed {
    Seed::random()
}

/// A model is the same each time.
#[cfg(seawall_loom)]
fn seed() -> Seed {
    Seed::zero()
}
