//! gRPC: a breaker or a throttle around a tonic channel.
//!
//! Outcomes are judged by the status, wherever it stands ([`GrpcStatus`]), and a stream is part of
//! the call to its end. A refusal reaches the caller of a generated client as UNAVAILABLE (that of a
//! throttle as RESOURCE_EXHAUSTED), with the wait in `grpc-retry-pushback-ms` and in `google.rpc.RetryInfo`, and with the
//! [`Rejection`](seawall_core::Rejection) as its `source()`.

use seawall_core::http::AtBodyEnd;
use tower_layer::Layer;

use crate::{
    AdmitLayer, AdmitService, CircuitBreaker,
    throttle::{self, ByPriority, InExtensions, Throttle},
};

pub use seawall_core::tonic::{GrpcStatus, StatusService};

/// Puts tonic channels behind one [`CircuitBreaker`], whose state they share.
///
/// # Examples
///
/// ```
/// use seawall_circuit_breaker::{CircuitBreaker, Config, tonic::ChannelLayer};
/// use tonic::transport::Channel;
/// use tower::Layer;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let breaker = CircuitBreaker::new(Config::default());
/// let channel = Channel::from_static("http://127.0.0.1:50051").connect_lazy();
/// let channel = ChannelLayer::new(breaker).layer(channel);
/// // let client = OrdersClient::new(channel);
/// # let _ = channel;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct ChannelLayer<A = CircuitBreaker> {
    layer: AdmitLayer<A, AtBodyEnd<GrpcStatus>>,
}

impl ChannelLayer {
    /// Judges statuses as [`GrpcStatus::new`] does.
    pub fn new(breaker: CircuitBreaker) -> Self {
        Self::with_status(breaker, GrpcStatus::new())
    }

    /// The breaker.
    pub fn breaker(&self) -> &CircuitBreaker {
        self.layer.breaker()
    }
}

impl ChannelLayer<ByPriority<InExtensions>> {
    /// Puts channels behind a throttle instead: a refusal is RESOURCE_EXHAUSTED.
    ///
    /// A call has the priority that stands [among the extensions](InExtensions) of its request, and
    /// was accepted as [`throttle::grpc`] sees it.
    pub fn throttle(throttle: Throttle) -> Self {
        Self::with_status(ByPriority::new(throttle, InExtensions), throttle::grpc())
    }
}

impl<A> ChannelLayer<A> {
    /// Asks `admit`, and judges statuses as `status` does: for a breaker or a throttle with another
    /// view of them, or for one breaker per method or tenant
    /// ([`registry::ByKey`](crate::registry::ByKey)).
    pub fn with_status(admit: A, status: GrpcStatus) -> Self {
        Self { layer: AdmitLayer::with(admit).track(AtBodyEnd(status)) }
    }
}

impl<S: Clone, A: Clone> Layer<S> for ChannelLayer<A> {
    type Service = StatusService<AdmitService<A, S, AtBodyEnd<GrpcStatus>>>;

    fn layer(&self, channel: S) -> Self::Service {
        StatusService::new(self.layer.layer(channel))
    }
}
