//! By which key a request is limited.
//!
//! | key of the request | finds it | limiter |
//! |---|---|---|
//! | anything | `Fn(&Req) -> Option<K>` | `KeyedLimiter<K>` |
//! | the peer's address | [`Peer`](https://docs.rs/seawall-rate-limit/latest/seawall_rate_limit/key/struct.Peer.html) | `KeyedLimiter<IpAddr>` |
//! | the address that proxies tell | `ForwardedFor`, `Forwarded` | `KeyedLimiter<IpAddr>` |
//! | a header | `Header` | `KeyedLimiter<[u8]>` |
//! | the path, the gRPC method | `Path`, `GrpcMethod` | `KeyedLimiter<str>` |
//! | an extension | `Extension<T>` | `KeyedLimiter<T>` |
//!
//! All but the first need the feature `http`. None of them allocates.
//!
//! IPv6 addresses are limited by their first 64 bits, because whoever has one of those addresses has
//! them all.

#[cfg(feature = "http")]
mod address;
#[cfg(feature = "http")]
mod part;

use std::{fmt, future::Ready, hash::Hash, time::Duration};

use seawall_core::Rejection;

use crate::{
    KeyedLimiter, Quota, Rejected,
    keyed::{KeyedTurn, KeyedWait},
    limit::{Admission, Admitted, Limit},
};

#[cfg(feature = "http")]
#[cfg_attr(docsrs, doc(cfg(feature = "http")))]
pub use self::{
    address::{Forwarded, ForwardedFor, Peer, network},
    part::{Extension, GrpcMethod, Header, Path},
};

/// Finds the key of a request.
///
/// Implemented for functions that return an owned key; an implementation of your own can lend one.
#[diagnostic::on_unimplemented(
    message = "`{Self}` finds no key in a `{Req}`",
    note = "a function must take `&{Req}`, with the type written out, and return `Option<K>`"
)]
pub trait FindKey<Req> {
    /// What it finds.
    type Key: Hash + ?Sized;

    /// Hands the key of `request`, if it has one, to `then`.
    fn with_key<R>(&self, request: &Req, then: impl FnOnce(Option<&Self::Key>) -> R) -> R;
}

impl<Req, K, F> FindKey<Req> for F
where
    K: Hash,
    F: Fn(&Req) -> Option<K>,
{
    type Key = K;

    #[inline]
    fn with_key<R>(&self, request: &Req, then: impl FnOnce(Option<&K>) -> R) -> R {
        then(self(request).as_ref())
    }
}

/// What becomes of a request that has no key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WithoutKey {
    /// It shares one limit, that of a key of the first plan, with all others that have none.
    #[default]
    Share,
    /// It is refused, and told no time at which it would not be.
    Refuse,
    /// It passes, and is limited by nothing.
    Pass,
}

impl<K: Hash + ?Sized> KeyedLimiter<K> {
    /// Limits requests by the key that `find` finds in them: for a
    /// [`RateLimitLayer`](crate::RateLimitLayer), or for a server.
    ///
    /// Requests without a key share one limit, unless [set](ByKey::without_key) otherwise.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use seawall_rate_limit::{KeyedLimiter, Quota, RateLimitLayer};
    /// use tower::{ServiceBuilder, ServiceExt};
    ///
    /// struct Order { customer: u32 }
    ///
    /// let limiter = KeyedLimiter::<u32>::new(Quota::per_minute(1), 10_000)?;
    /// let service = ServiceBuilder::new()
    ///     .layer(RateLimitLayer::new(limiter.by(|order: &Order| Some(order.customer))))
    ///     .service_fn(async |_: Order| Ok::<_, std::io::Error>("taken"));
    /// assert!(service.clone().oneshot(Order { customer: 1 }).await.is_ok());
    /// assert!(service.clone().oneshot(Order { customer: 1 }).await.is_err());
    /// assert!(service.oneshot(Order { customer: 2 }).await.is_ok());
    /// # Ok(())
    /// # }
    /// ```
    pub fn by<X>(self, find: X) -> ByKey<K, X> {
        ByKey { limiter: self, find, without_key: WithoutKey::default() }
    }
}

/// Limits requests by a key that is found in them. Made by [`KeyedLimiter::by`].
pub struct ByKey<K: ?Sized, X> {
    limiter: KeyedLimiter<K>,
    find: X,
    without_key: WithoutKey,
}

impl<K: ?Sized, X> ByKey<K, X> {
    /// What becomes of a request that has no key; [`WithoutKey::Share`] unless set.
    #[must_use]
    pub fn without_key(mut self, without_key: WithoutKey) -> Self {
        self.without_key = without_key;
        self
    }

    /// The limiter.
    pub fn limiter(&self) -> &KeyedLimiter<K> {
        &self.limiter
    }
}

impl<K, X, Req> Limit<Req> for ByKey<K, X>
where
    K: Hash + ?Sized,
    X: FindKey<Req, Key = K> + Clone,
{
    type Turn = KeyedTurn;
    type Wait = KeyedWait;
    type Asking = Ready<Admission>;

    #[inline]
    fn acquire(
        &self,
        request: &Req,
        cost: u32,
        patience: Duration,
    ) -> Result<Option<KeyedTurn>, Rejected> {
        self.find.with_key(request, |key| match (key, self.without_key) {
            (None, WithoutKey::Pass) => Ok(None),
            (None, WithoutKey::Refuse) => Err(self.limiter.never()),
            (key, _) => self.limiter.acquire(key, cost, patience),
        })
    }

    fn wait(&self, turn: KeyedTurn) -> KeyedWait {
        KeyedWait::new(turn)
    }

    fn admit(&self, request: &Req, cost: u32) -> Admitted<Self::Asking> {
        Admitted::Now(self.find.with_key(request, |key| {
            let quota = self.limiter.quota_of(key);
            match (key, self.without_key) {
                (None, WithoutKey::Pass) => Admission::Unlimited,
                (None, WithoutKey::Refuse) => Admission::Limited(quota, Err(self.limiter.never())),
                (key, _) => Admission::Limited(quota, self.limiter.check_any(key, cost)),
            }
        }))
    }

    fn rejection(&self, rejected: Rejected) -> Rejection {
        self.limiter.rejection(rejected)
    }

    fn quota(&self) -> Quota {
        self.limiter.quota()
    }

    fn name(&self) -> Option<&str> {
        self.limiter.name()
    }
}

impl<K: ?Sized, X: Clone> Clone for ByKey<K, X> {
    fn clone(&self) -> Self {
        let find = self.find.clone();
        Self { limiter: self.limiter.clone(), find, without_key: self.without_key }
    }
}

impl<K: ?Sized, X> fmt::Debug for ByKey<K, X> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ByKey")
            .field("limiter", &self.limiter)
            .field("without_key", &self.without_key)
            .finish_non_exhaustive()
    }
}
