//! The layer for clients.

use seawall_core::{AnyError, AtResult};
use tower_layer::Layer;

use super::{ConcurrencyLimit, ConcurrencyService};

/// Limits how many calls of a service are in flight; all services that it makes share the one limit.
///
/// A call above the limit waits in turn where the limit has a queue, and is refused where it has none
/// or where that is full.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use seawall_rate_limit::concurrency::{ConcurrencyLayer, ConcurrencyLimit};
/// use tower::{ServiceBuilder, ServiceExt};
///
/// let limit = ConcurrencyLimit::new(1)?.named("orders");
/// let service = ServiceBuilder::new()
///     .layer(ConcurrencyLayer::new(limit.clone()))
///     .service_fn(async |order: u32| Ok::<_, std::io::Error>(order));
///
/// assert_eq!(service.clone().oneshot(7).await?, 7);
/// let _busy = limit.try_acquire()?;
/// assert!(service.oneshot(8).await.unwrap_err().rejection().is_some());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct ConcurrencyLayer<T = AtResult<AnyError>> {
    limit: ConcurrencyLimit,
    track: T,
}

impl ConcurrencyLayer {
    /// A call ends when the future of the service does; every error is a failure.
    pub fn new(limit: ConcurrencyLimit) -> Self {
        Self { limit, track: AtResult(AnyError) }
    }
}

impl<T> ConcurrencyLayer<T> {
    /// Has `track` say when a call ends and how.
    pub fn track<U>(self, track: U) -> ConcurrencyLayer<U> {
        ConcurrencyLayer { limit: self.limit, track }
    }

    /// A call ends with the body of its HTTP response; server errors and broken bodies are failures.
    #[cfg(feature = "http")]
    #[cfg_attr(docsrs, doc(cfg(feature = "http")))]
    pub fn http(
        self,
    ) -> ConcurrencyLayer<seawall_core::http::AtBodyEnd<seawall_core::http::HttpStatus>> {
        self.track(seawall_core::http::AtBodyEnd(seawall_core::http::HttpStatus::new()))
    }

    /// A call ends with the trailers of its gRPC response, whose status counts.
    ///
    /// For a generated client use [`tonic::ChannelLayer`](super::tonic::ChannelLayer), which also
    /// turns refusals into a `Status`.
    #[cfg(feature = "tonic")]
    #[cfg_attr(docsrs, doc(cfg(feature = "tonic")))]
    pub fn grpc(
        self,
    ) -> ConcurrencyLayer<seawall_core::http::AtBodyEnd<seawall_core::tonic::GrpcStatus>> {
        self.track(seawall_core::http::AtBodyEnd(seawall_core::tonic::GrpcStatus::new()))
    }

    /// The limit that its services share.
    pub fn limit(&self) -> &ConcurrencyLimit {
        &self.limit
    }
}

impl<S, T: Clone> Layer<S> for ConcurrencyLayer<T> {
    type Service = ConcurrencyService<S, T>;

    fn layer(&self, inner: S) -> Self::Service {
        ConcurrencyService::new(inner, self.limit.clone(), self.track.clone())
    }
}
