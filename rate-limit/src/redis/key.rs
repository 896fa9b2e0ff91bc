//! Keys of shared limits.

use std::{fmt, marker::PhantomData, net::IpAddr, sync::Arc};

use super::{RedisLimiter, ask::Ask};
use crate::{Allowed, Quota, Rejected};

/// What a key looks like in Redis. No two keys of a type may look the same.
pub trait RedisKey {
    /// Writes it down.
    fn write(&self, to: &mut Vec<u8>);
}

impl RedisKey for str {
    fn write(&self, to: &mut Vec<u8>) {
        to.extend_from_slice(self.as_bytes());
    }
}

impl RedisKey for [u8] {
    fn write(&self, to: &mut Vec<u8>) {
        to.extend_from_slice(self);
    }
}

impl RedisKey for String {
    fn write(&self, to: &mut Vec<u8>) {
        self.as_str().write(to);
    }
}

impl<K: RedisKey + ?Sized> RedisKey for &K {
    fn write(&self, to: &mut Vec<u8>) {
        (**self).write(to);
    }
}

macro_rules! as_text {
    ($($key:ty),*) => {$(
        impl RedisKey for $key {
            fn write(&self, to: &mut Vec<u8>) {
                to.extend_from_slice(self.to_string().as_bytes());
            }
        }
    )*};
}

as_text!(u8, u16, u32, u64, u128, usize, i8, i16, i32, i64, i128, isize, IpAddr);

/// The length of the first tells where the second begins.
impl<A: RedisKey, B: RedisKey> RedisKey for (A, B) {
    fn write(&self, to: &mut Vec<u8>) {
        let mut first = Vec::new();
        self.0.write(&mut first);
        to.extend_from_slice(first.len().to_string().as_bytes());
        to.push(b':');
        to.extend_from_slice(&first);
        self.1.write(to);
    }
}

/// Limits each key by itself, by limits that all processes share. Clones share everything.
///
/// Made by [`RedisLimiter::keyed`]. `K` is what a key looks like to whoever asks, as in
/// `RedisKeyedLimiter<str>`.
///
/// # Memory
///
/// Redis keeps a string of at most 40 bytes for each limit of a key, and an entry of 16 bytes for each
/// batch that passed in a sliding log; all of it expires by itself.
///
/// # Cost
///
/// An allocation for the key of each decision.
pub struct RedisKeyedLimiter<K: ?Sized> {
    pub(super) limiter: RedisLimiter,
    key: PhantomData<fn(&K)>,
}

impl RedisLimiter {
    /// The same limits for each key by itself.
    pub fn keyed<K: RedisKey + ?Sized>(&self) -> RedisKeyedLimiter<K> {
        RedisKeyedLimiter { limiter: self.clone(), key: PhantomData }
    }
}

/// Behind the name of a limiter, which has no control characters.
const OF_KEY: u8 = 0;
const WITHOUT_KEY: u8 = 1;

impl<K: RedisKey + ?Sized> RedisKeyedLimiter<K> {
    pub(super) fn name_of(&self, key: Option<&K>) -> Arc<[u8]> {
        let own = &self.limiter.key;
        let mut name = Vec::with_capacity(own.len() + 32);
        name.extend_from_slice(own);
        match key {
            Some(key) => {
                name.push(OF_KEY);
                key.write(&mut name);
            }
            None => name.push(WITHOUT_KEY),
        }
        name.into()
    }

    /// Takes one cell of `key`, or says when there is one.
    ///
    /// # Errors
    ///
    /// When there is none; nothing has changed then.
    ///
    /// # Cancel safety
    ///
    /// As for [`RedisLimiter::check`].
    pub async fn check(&self, key: &K) -> Result<Allowed, Rejected> {
        self.check_n(key, 1).await
    }

    /// Takes `cost` cells of `key`, all or none. A cost of 0 takes nothing and always passes.
    ///
    /// # Errors
    ///
    /// As for [`RedisLimiter::check_n`].
    ///
    /// # Cancel safety
    ///
    /// As there.
    pub async fn check_n(&self, key: &K, cost: u32) -> Result<Allowed, Rejected> {
        self.limiter.shared.check(&self.name_of(Some(key)), Ask::take(cost)).await
    }

    /// Takes as many cells of `key` as there are, at most `cost`, and says how many that were.
    pub async fn check_at_most(&self, key: &K, cost: u32) -> u32 {
        self.limiter.shared.answer(&self.name_of(Some(key)), Ask::at_most(cost)).await.cells
    }

    /// What [`check`](Self::check) would answer; takes nothing.
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn peek(&self, key: &K) -> Result<Allowed, Rejected> {
        self.limiter.shared.answer(&self.name_of(Some(key)), Ask::peek(1)).await.result
    }

    /// Gives back `cost` cells of `key`: see [`RedisLimiter::refund`].
    pub async fn refund(&self, key: &K, cost: u32) {
        let _ = self.limiter.shared.answer(&self.name_of(Some(key)), Ask::refund(cost, 0)).await;
    }
}

impl<K: ?Sized> RedisKeyedLimiter<K> {
    /// What each key is limited to; with several limits, the first of them.
    pub fn quota(&self) -> Quota {
        self.limiter.quota()
    }

    /// Its name.
    pub fn name(&self) -> Option<&str> {
        self.limiter.name()
    }
}

impl<K: ?Sized> Clone for RedisKeyedLimiter<K> {
    fn clone(&self) -> Self {
        Self { limiter: self.limiter.clone(), key: PhantomData }
    }
}

impl<K: ?Sized> fmt::Debug for RedisKeyedLimiter<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RedisKeyedLimiter").field(&self.limiter).finish()
    }
}
