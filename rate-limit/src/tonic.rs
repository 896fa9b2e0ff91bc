//! gRPC: the layer for a tonic channel.

use std::time::Duration;

use seawall_core::tonic::StatusService;
use tower_layer::Layer;

use crate::{RateLimitLayer, RateLimitService, RateLimiter, TokenBucket, algorithm::Algorithm};

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
pub struct ChannelLayer<A: Algorithm = TokenBucket> {
    layer: RateLimitLayer<A>,
}

impl<A: Algorithm> ChannelLayer<A> {
    /// Refuses calls above the limit at once.
    pub fn new(limiter: RateLimiter<A>) -> Self {
        Self { layer: RateLimitLayer::new(limiter) }
    }

    /// Lets a call wait for its turn, at most so long: see [`RateLimitLayer::wait_up_to`].
    #[must_use]
    pub fn wait_up_to(self, patience: Duration) -> Self {
        Self { layer: self.layer.wait_up_to(patience) }
    }
}

impl<S, A: Algorithm> Layer<S> for ChannelLayer<A> {
    type Service = StatusService<RateLimitService<S, A>>;

    fn layer(&self, inner: S) -> Self::Service {
        StatusService::new(self.layer.layer(inner))
    }
}
