//! gRPC: the layer for a tonic channel.

use std::time::Duration;

use seawall_core::tonic::StatusService;
use tower_layer::Layer;

use crate::{One, RateLimitLayer, RateLimitService, RateLimiter};

/// Limits the calls of a tonic channel; all clients over it share the one limiter.
///
/// A call above the limit fails with RESOURCE_EXHAUSTED before anything is sent. The status says
/// when to come back in `grpc-retry-pushback-ms` and in `google.rpc.RetryInfo`, and has the
/// [`Rejection`](seawall_core::Rejection) as its `source()`.
///
/// ```no_run
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// use seawall_rate_limit::{Quota, RateLimiter, tonic::ChannelLayer};
/// use tonic::transport::Channel;
/// use tower::ServiceBuilder;
///
/// let limiter = RateLimiter::new(Quota::per_second(100).burst(20))?;
/// let channel = Channel::from_static("http://[::1]:50051").connect_lazy();
/// let channel = ServiceBuilder::new().layer(ChannelLayer::new(limiter)).service(channel);
/// // GreeterClient::new(channel)
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct ChannelLayer<L = RateLimiter, C = One> {
    layer: RateLimitLayer<L, C>,
}

impl<L> ChannelLayer<L> {
    /// Refuses calls above the limit at once. `limiter` is a [`RateLimiter`], or a
    /// [`KeyedLimiter`](crate::KeyedLimiter) by a [key](crate::key) such as the
    /// [method](crate::key::GrpcMethod).
    pub fn new(limiter: L) -> Self {
        Self { layer: RateLimitLayer::new(limiter) }
    }
}

impl<L, C> ChannelLayer<L, C> {
    /// Lets a call wait for its turn, at most so long: see [`RateLimitLayer::wait_up_to`].
    #[must_use]
    pub fn wait_up_to(self, patience: Duration) -> Self {
        Self { layer: self.layer.wait_up_to(patience) }
    }

    /// How many cells a request takes: see [`RateLimitLayer::cost`].
    #[must_use]
    pub fn cost<D>(self, cost: D) -> ChannelLayer<L, D> {
        ChannelLayer { layer: self.layer.cost(cost) }
    }
}

impl<S, L: Clone, C: Clone> Layer<S> for ChannelLayer<L, C> {
    type Service = StatusService<RateLimitService<S, L, C>>;

    fn layer(&self, inner: S) -> Self::Service {
        StatusService::new(self.layer.layer(inner))
    }
}
