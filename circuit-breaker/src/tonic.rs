//! gRPC: a breaker around a tonic channel.
//!
//! Outcomes are judged by the status, wherever it stands ([`GrpcStatus`]), and a stream is part of
//! the call to its end. A refusal reaches the caller of a generated client as UNAVAILABLE, with the
//! wait in `grpc-retry-pushback-ms` and in `google.rpc.RetryInfo`, and with the
//! [`Rejection`](seawall_core::Rejection) as its `source()`.

use seawall_core::http::AtBodyEnd;
use tower_layer::Layer;

use crate::{CircuitBreaker, CircuitBreakerLayer, CircuitBreakerService};

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
pub struct ChannelLayer {
    layer: CircuitBreakerLayer<AtBodyEnd<GrpcStatus>>,
}

impl ChannelLayer {
    /// Judges statuses as [`GrpcStatus::new`] does.
    pub fn new(breaker: CircuitBreaker) -> Self {
        Self::with_status(breaker, GrpcStatus::new())
    }

    /// Judges statuses as `status` does.
    pub fn with_status(breaker: CircuitBreaker, status: GrpcStatus) -> Self {
        Self { layer: CircuitBreakerLayer::new(breaker).track(AtBodyEnd(status)) }
    }

    /// The breaker.
    pub fn breaker(&self) -> &CircuitBreaker {
        self.layer.breaker()
    }
}

impl<S: Clone> Layer<S> for ChannelLayer {
    type Service = StatusService<CircuitBreakerService<S, AtBodyEnd<GrpcStatus>>>;

    fn layer(&self, channel: S) -> Self::Service {
        StatusService::new(self.layer.layer(channel))
    }
}
