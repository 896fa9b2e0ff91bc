//! One breaker for each key.
//!
//! A client that calls many servers, or many methods, needs as many breakers: one for all of them
//! would refuse calls to the healthy because of the sick. What the key is, a function of the request
//! says: one of yours, or `authority` and `grpc_method` (feature `http`).
//!
//! Bounded: at its capacity, a new key takes the place of one whose breaker is closed and was not
//! used lately (second chance: F. J. Corbató, *A Paging Experiment with the Multics System*, 1968).
//! Breakers that are open or half-open, or forced, are never evicted, so nobody can wash an open
//! breaker away by asking for other keys. When there is nobody to evict, [`WhenFull`] decides.

#[cfg(feature = "http")]
mod key;
mod layer;
mod map;

use std::{
    borrow::Borrow,
    fmt,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use seawall_core::{Clock, ConfigError};

use self::map::Map;
use crate::{CircuitBreaker, Config, Mode, Observer, Snapshot};

#[cfg(feature = "http")]
#[cfg_attr(docsrs, doc(cfg(feature = "http")))]
pub use key::{authority, grpc_method};
pub use layer::{ByKey, RegistryLayer, RegistryService};

/// What a new key gets while the registry is full of breakers that must stay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum WhenFull {
    /// A breaker that admits everything and counts nothing: availability before protection.
    #[default]
    Admit,
    /// A breaker that refuses everything: protection before availability.
    Reject,
}

type Configure<K> = dyn Fn(&K) -> Config + Send + Sync;

/// One [`CircuitBreaker`] for each key. Clones share the breakers.
///
/// # Cost
///
/// A look-up hashes the key twice with SipHash, which withstands chosen keys, and holds a lock of one
/// of 16 parts of the map for some dozens of instructions. A key that is new allocates its breaker,
/// and looks for a place among those of its part.
///
/// # Examples
///
/// ```
/// use seawall_circuit_breaker::{Config, registry::Registry};
///
/// let config = Config::builder().consecutive_failures(1).build()?;
/// let breakers: Registry<String> = Registry::builder(config).capacity(1_000).build()?;
/// breakers.get("orders").admit().unwrap().failure();
/// assert!(breakers.get("orders").admit().is_err());
/// assert!(breakers.get("stock").admit().is_ok());
/// # Ok::<(), seawall_circuit_breaker::ConfigError>(())
/// ```
pub struct Registry<K> {
    inner: Arc<Inner<K>>,
}

struct Inner<K> {
    parts: Box<[Mutex<Map<K>>]>,
    hasher: std::hash::RandomState,
    configure: Box<Configure<K>>,
    clock: Clock,
    observer: Option<Arc<dyn Observer>>,
    name: Option<Box<NameOf<K>>>,
    overflow: CircuitBreaker,
}

type NameOf<K> = dyn Fn(&K) -> Arc<str> + Send + Sync;

/// Enough that a few processors seldom meet.
const PARTS: usize = 16;

impl<K: Hash + Eq + Clone> Registry<K> {
    /// Breakers that all have `config`.
    pub fn builder(config: Config) -> RegistryBuilder<K> {
        Self::builder_with(move |_| config.clone())
    }

    /// Breakers whose configuration depends on the key.
    pub fn builder_with(
        configure: impl Fn(&K) -> Config + Send + Sync + 'static,
    ) -> RegistryBuilder<K> {
        RegistryBuilder {
            configure: Box::new(configure),
            capacity: DEFAULT_CAPACITY,
            when_full: WhenFull::Admit,
            clock: None,
            observer: None,
            name: None,
        }
    }

    /// The breaker of `key`, which is made if there is none.
    pub fn get<Q>(&self, key: &Q) -> CircuitBreaker
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    {
        if let Some(breaker) = self.find(key) {
            return breaker;
        }
        // Made outside the lock: the configuration is the user's code.
        let key = key.to_owned();
        let inner = &*self.inner;
        let mut builder =
            CircuitBreaker::builder((inner.configure)(&key)).clock(inner.clock.clone());
        if let Some(name) = &inner.name {
            builder = builder.named(name(&key));
        }
        if let Some(observer) = &inner.observer {
            builder = builder.observer(observer.clone());
        }
        let made = builder.build();
        let inserted = self.part(&key).insert(key, made);
        inserted.unwrap_or_else(|| inner.overflow.clone())
    }

    /// The breaker of `key`, if there is one.
    pub fn find<Q>(&self, key: &Q) -> Option<CircuitBreaker>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.part(key).find(key)
    }

    /// Forgets the breaker of `key`, whatever its state; calls that have it go on with it.
    pub fn remove<Q>(&self, key: &Q) -> Option<CircuitBreaker>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.part(key).remove(key)
    }

    fn part<Q: Hash + ?Sized>(&self, key: &Q) -> MutexGuard<'_, Map<K>> {
        use std::hash::BuildHasher;
        let hash = self.inner.hasher.hash_one(key);
        let part = &self.inner.parts[(hash >> 32) as usize % self.inner.parts.len()];
        part.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K> Registry<K> {
    /// How many breakers there are.
    pub fn len(&self) -> usize {
        self.parts().map(|part| part.len()).sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn parts(&self) -> impl Iterator<Item = MutexGuard<'_, Map<K>>> {
        self.inner.parts.iter().map(|part| part.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<K: Clone> Registry<K> {
    /// All breakers with their keys, in no order.
    pub fn list(&self) -> Vec<(K, CircuitBreaker)> {
        self.parts().flat_map(|part| part.list()).collect()
    }

    /// What all breakers look like, in no order.
    pub fn snapshot(&self) -> Vec<(K, Snapshot)> {
        self.list().into_iter().map(|(key, breaker)| (key, breaker.snapshot())).collect()
    }
}

impl<K> Clone for Registry<K> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone() }
    }
}

impl<K> fmt::Debug for Registry<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry").field("len", &self.len()).finish_non_exhaustive()
    }
}

/// Sets up a [`Registry`].
#[must_use = "call `build`"]
pub struct RegistryBuilder<K> {
    configure: Box<Configure<K>>,
    capacity: usize,
    when_full: WhenFull,
    clock: Option<Clock>,
    observer: Option<Arc<dyn Observer>>,
    name: Option<Box<NameOf<K>>>,
}

/// More servers or methods than most clients call; some megabytes at most.
const DEFAULT_CAPACITY: usize = 1_024;

impl<K> RegistryBuilder<K> {
    /// The most breakers to keep, at least 1; default 1,024.
    ///
    /// Keys are spread over parts by chance, so that a part may be full a little before the whole is.
    pub fn capacity(mut self, breakers: usize) -> Self {
        self.capacity = breakers;
        self
    }

    /// What a new key gets while there is nobody to evict; default [`WhenFull::Admit`].
    pub fn when_full(mut self, policy: WhenFull) -> Self {
        self.when_full = policy;
        self
    }

    /// Who tells the time; the fast clock unless set.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = Some(clock);
        self
    }

    /// Who hears of the changes and refusals of all breakers.
    pub fn observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observer = Some(observer);
        self
    }

    /// Names each breaker after its key.
    pub fn named(mut self, name: impl Fn(&K) -> Arc<str> + Send + Sync + 'static) -> Self {
        self.name = Some(Box::new(name));
        self
    }

    /// The registry.
    ///
    /// # Errors
    ///
    /// The capacity is 0.
    pub fn build(self) -> Result<Registry<K>, ConfigError> {
        if self.capacity == 0 {
            return Err(ConfigError::new("capacity", 0, "at least 1"));
        }
        // A small registry is one part, so that its bound is exact.
        let parts = if self.capacity < 64 * PARTS { 1 } else { PARTS };
        let mode = match self.when_full {
            WhenFull::Admit => Mode::Disabled,
            WhenFull::Reject => Mode::ForcedOpen,
        };
        let clock = self.clock.unwrap_or_default();
        let overflow = CircuitBreaker::builder(Config::builder().mode(mode).build()?)
            .clock(clock.clone())
            .named("overflow")
            .build();
        Ok(Registry {
            inner: Arc::new(Inner {
                parts: (0..parts).map(|_| Mutex::new(Map::new(self.capacity / parts))).collect(),
                hasher: std::hash::RandomState::new(),
                configure: self.configure,
                clock,
                observer: self.observer,
                name: self.name,
                overflow,
            }),
        })
    }
}

impl<K> fmt::Debug for RegistryBuilder<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegistryBuilder")
            .field("capacity", &self.capacity)
            .field("when_full", &self.when_full)
            .finish_non_exhaustive()
    }
}
