//! gRPC: the layer for a tonic channel.

use seawall_core::{
    http::AtBodyEnd,
    tonic::{GrpcStatus, StatusService},
};
use tower_layer::Layer;

use super::{ConcurrencyLayer, ConcurrencyLimit, ConcurrencyService};

/// Limits how many calls of a tonic channel are in flight; all clients over it share the one limit.
///
/// A call counts until its response stream has ended or was dropped. One that is refused fails with
/// RESOURCE_EXHAUSTED before anything is sent, with the [`Rejection`](seawall_core::Rejection) as the
/// status's `source()`.
///
/// ```no_run
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// use seawall_rate_limit::concurrency::{ConcurrencyLimit, tonic::ChannelLayer};
/// use tonic::transport::Channel;
/// use tower::ServiceBuilder;
///
/// let limit = ConcurrencyLimit::new(100)?.named("orders");
/// let channel = Channel::from_static("http://[::1]:50051").connect_lazy();
/// let channel = ServiceBuilder::new().layer(ChannelLayer::new(limit)).service(channel);
/// // GreeterClient::new(channel)
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct ChannelLayer {
    layer: ConcurrencyLayer<AtBodyEnd<GrpcStatus>>,
}

impl ChannelLayer {
    /// Judges statuses as [`GrpcStatus::new`] does.
    pub fn new(limit: ConcurrencyLimit) -> Self {
        Self::with_status(limit, GrpcStatus::new())
    }

    /// Judges statuses as `status` does.
    pub fn with_status(limit: ConcurrencyLimit, status: GrpcStatus) -> Self {
        Self { layer: ConcurrencyLayer::new(limit).track(AtBodyEnd(status)) }
    }
}

impl<S> Layer<S> for ChannelLayer {
    type Service = StatusService<ConcurrencyService<S, AtBodyEnd<GrpcStatus>>>;

    fn layer(&self, inner: S) -> Self::Service {
        StatusService::new(self.layer.layer(inner))
    }
}
