//! Shared limits in the layers of local ones.
//!
//! A decision waits for Redis, and so does the layer: it takes a clone of its service and makes that
//! ready once the call may pass.

use std::{fmt, future::Future, pin::Pin, sync::Arc, time::Duration};

use seawall_core::Rejection;

use super::{RedisKey, RedisKeyedLimiter, RedisLimiter, ask::Ask, limiter::Shared};
use crate::{
    Admission, Admitted, Allowed, Limit, Quota, Rejected,
    key::{FindKey, WithoutKey},
};

/// An answer that is on its way.
pub type Asking<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A call that asks, and asks again while what it has to wait is within its patience.
///
/// Dropped, it takes nothing, unless Redis has decided meanwhile.
pub struct Turn {
    shared: Arc<Shared>,
    key: Arc<[u8]>,
    cost: u32,
    patience: Duration,
}

impl Turn {
    async fn wait(self) -> Result<(), Rejection> {
        let Self { shared, key, cost, patience } = self;
        let deadline = tokio::time::Instant::now().checked_add(patience);
        let mut answer = shared.answer(&key, Ask::take(cost)).await.result;
        while let Err(rejected) = answer {
            let left = deadline.map_or(Duration::MAX, |deadline| {
                deadline.saturating_duration_since(tokio::time::Instant::now())
            });
            let wait = rejected.retry_after().filter(|wait| *wait <= left && !left.is_zero());
            let Some(wait) = wait else { break };
            tokio::time::sleep(wait).await;
            answer = shared.answer(&key, Ask::take(cost)).await.result;
        }
        let answer = shared.watch.tell(cost, answer);
        answer.map(drop).map_err(|rejected| shared.watch.rejection(rejected.sooner_by(patience)))
    }
}

impl fmt::Debug for Turn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Turn")
            .field("cost", &self.cost)
            .field("patience", &self.patience)
            .finish_non_exhaustive()
    }
}

impl RedisLimiter {
    fn turn(&self, key: Arc<[u8]>, cost: u32, patience: Duration) -> Turn {
        Turn { shared: self.shared.clone(), key, cost, patience }
    }

    fn asking(&self, key: Arc<[u8]>, cost: u32) -> Asking<Admission> {
        let shared = self.shared.clone();
        Box::pin(async move {
            let answer = shared.check(&key, Ask::take(cost)).await;
            let quotas = shared.exact.plan().quotas();
            let index = answer.as_ref().map_or_else(Rejected::index, Allowed::index);
            let quota = quotas.get(index).or(quotas.first()).copied();
            Admission::Limited(quota.unwrap_or(Quota::per_second(1)), answer)
        })
    }
}

impl<Req> Limit<Req> for RedisLimiter {
    type Turn = Turn;
    type Wait = Asking<Result<(), Rejection>>;
    type Asking = Asking<Admission>;

    fn acquire(&self, _: &Req, cost: u32, patience: Duration) -> Result<Option<Turn>, Rejected> {
        Ok(Some(self.turn(self.key.clone(), cost, patience)))
    }

    fn wait(&self, turn: Turn) -> Self::Wait {
        Box::pin(turn.wait())
    }

    fn passed(waited: Result<(), Rejection>) -> Result<(), Rejection> {
        waited
    }

    fn admit(&self, _: &Req, cost: u32) -> Admitted<Self::Asking> {
        Admitted::Later(self.asking(self.key.clone(), cost))
    }

    fn rejection(&self, rejected: Rejected) -> Rejection {
        Self::rejection(self, rejected)
    }

    fn quota(&self) -> Quota {
        Self::quota(self)
    }

    fn quotas(&self) -> Vec<Quota> {
        self.shared.exact.plan().quotas()
    }

    fn name(&self) -> Option<&str> {
        Self::name(self)
    }
}

impl<K: RedisKey + ?Sized> RedisKeyedLimiter<K> {
    /// Limits requests by the key that `find` finds in them, as
    /// [`KeyedLimiter::by`](crate::KeyedLimiter::by) does.
    ///
    /// Requests without a key share one limit, unless [set](ByRedisKey::without_key) otherwise.
    pub fn by<X>(self, find: X) -> ByRedisKey<K, X> {
        ByRedisKey { limiter: self, find, without_key: WithoutKey::default() }
    }
}

/// Limits requests by a key that is found in them. Made by [`RedisKeyedLimiter::by`].
pub struct ByRedisKey<K: ?Sized, X> {
    limiter: RedisKeyedLimiter<K>,
    find: X,
    without_key: WithoutKey,
}

impl<K: ?Sized, X> ByRedisKey<K, X> {
    /// What becomes of a request that has no key; [`WithoutKey::Share`] unless set.
    #[must_use]
    pub fn without_key(mut self, without_key: WithoutKey) -> Self {
        self.without_key = without_key;
        self
    }

    /// The limiter.
    pub fn limiter(&self) -> &RedisKeyedLimiter<K> {
        &self.limiter
    }
}

impl<K, X, Req> Limit<Req> for ByRedisKey<K, X>
where
    K: RedisKey + std::hash::Hash + ?Sized,
    X: FindKey<Req, Key = K> + Clone,
{
    type Turn = Turn;
    type Wait = Asking<Result<(), Rejection>>;
    type Asking = Asking<Admission>;

    fn acquire(
        &self,
        request: &Req,
        cost: u32,
        patience: Duration,
    ) -> Result<Option<Turn>, Rejected> {
        let limiter = &self.limiter;
        self.find.with_key(request, |key| match (key, self.without_key) {
            (None, WithoutKey::Pass) => Ok(None),
            (None, WithoutKey::Refuse) => Err(limiter.limiter.never()),
            (key, _) => Ok(Some(limiter.limiter.turn(limiter.name_of(key), cost, patience))),
        })
    }

    fn wait(&self, turn: Turn) -> Self::Wait {
        Box::pin(turn.wait())
    }

    fn passed(waited: Result<(), Rejection>) -> Result<(), Rejection> {
        waited
    }

    fn admit(&self, request: &Req, cost: u32) -> Admitted<Self::Asking> {
        let limiter = &self.limiter;
        self.find.with_key(request, |key| match (key, self.without_key) {
            (None, WithoutKey::Pass) => Admitted::Now(Admission::Unlimited),
            (None, WithoutKey::Refuse) => {
                let refused = Err(limiter.limiter.never());
                Admitted::Now(Admission::Limited(limiter.quota(), refused))
            }
            (key, _) => Admitted::Later(limiter.limiter.asking(limiter.name_of(key), cost)),
        })
    }

    fn rejection(&self, rejected: Rejected) -> Rejection {
        self.limiter.limiter.rejection(rejected)
    }

    fn quota(&self) -> Quota {
        self.limiter.quota()
    }

    fn quotas(&self) -> Vec<Quota> {
        self.limiter.limiter.shared.exact.plan().quotas()
    }

    fn name(&self) -> Option<&str> {
        self.limiter.name()
    }
}

impl<K: ?Sized, X: Clone> Clone for ByRedisKey<K, X> {
    fn clone(&self) -> Self {
        let find = self.find.clone();
        Self { limiter: self.limiter.clone(), find, without_key: self.without_key }
    }
}

impl<K: ?Sized, X> fmt::Debug for ByRedisKey<K, X> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ByRedisKey")
            .field("limiter", &self.limiter)
            .field("without_key", &self.without_key)
            .finish_non_exhaustive()
    }
}
