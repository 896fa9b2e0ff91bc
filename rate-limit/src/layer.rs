//! The layer.

use std::time::Duration;

use tower_layer::Layer;

use crate::{One, Pacer, RateLimitService, RateLimiter};

/// Limits the calls of a service; all services that it makes share the one limiter.
///
/// A call above the limit is refused at once, with an error that says when to come back, unless the
/// layer [waits](Self::wait_up_to).
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use seawall_rate_limit::{Quota, RateLimitLayer, RateLimiter};
/// use tower::{ServiceBuilder, ServiceExt};
///
/// let limiter = RateLimiter::new(Quota::per_minute(1))?.named("orders");
/// let service = ServiceBuilder::new()
///     .layer(RateLimitLayer::new(limiter))
///     .service_fn(async |order: u32| Ok::<_, std::io::Error>(order));
///
/// assert_eq!(service.clone().oneshot(7).await?, 7);
/// let error = service.oneshot(8).await.unwrap_err();
/// assert!(error.rejection().and_then(|rejection| rejection.retry_after()).is_some());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct RateLimitLayer<L = RateLimiter, C = One> {
    limiter: L,
    patience: Duration,
    cost: C,
}

impl<L> RateLimitLayer<L> {
    /// Refuses calls above the limit at once. `limiter` is a [`RateLimiter`], or a
    /// [`KeyedLimiter`](crate::KeyedLimiter) [by](crate::KeyedLimiter::by) a key of the request.
    pub fn new(limiter: L) -> Self {
        Self { limiter, patience: Duration::ZERO, cost: One }
    }
}

impl<L, C> RateLimitLayer<L, C> {
    /// Lets a call wait for its turn, at most so long; one whose turn would come later is refused at
    /// once, and told when it would not be: as soon as its turn is no further away than that. Zero
    /// unless set.
    ///
    /// A call that waits keeps nobody from the service inside, and gives its turn back when it is
    /// dropped.
    #[must_use]
    pub fn wait_up_to(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// How many cells a request takes: a function of it, or [`One`], unless set.
    #[must_use]
    pub fn cost<D>(self, cost: D) -> RateLimitLayer<L, D> {
        RateLimitLayer { limiter: self.limiter, patience: self.patience, cost }
    }

    /// The limiter that its services share.
    pub fn limiter(&self) -> &L {
        &self.limiter
    }
}

impl RateLimitLayer {
    /// Lets calls out evenly spaced, as `pacer` does; those for which its queue has no room are
    /// refused at once.
    pub fn paced(pacer: &Pacer) -> Self {
        Self::new(pacer.limiter().clone()).wait_up_to(pacer.patience())
    }
}

impl<S, L: Clone, C: Clone> Layer<S> for RateLimitLayer<L, C> {
    type Service = RateLimitService<S, L, C>;

    fn layer(&self, inner: S) -> Self::Service {
        let (limiter, cost) = (self.limiter.clone(), self.cost.clone());
        RateLimitService::new(inner, limiter, self.patience, cost)
    }
}
