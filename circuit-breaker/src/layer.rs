//! The tower layer.

use seawall_core::{AnyError, AtResult};
use tower_layer::Layer;

use crate::{CircuitBreaker, CircuitBreakerService};

/// Puts every service that it wraps behind one [`CircuitBreaker`], whose state they share.
///
/// `T` decides when a call ends and how: [`new`](Self::new) looks at the service's result alone,
/// `http` and `grpc` follow the body of the response to its end.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use seawall_circuit_breaker::{CircuitBreaker, CircuitBreakerLayer, Config};
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
///
/// let breaker = CircuitBreaker::new(Config::builder().consecutive_failures(1).build()?);
/// let mut service = ServiceBuilder::new()
///     .layer(CircuitBreakerLayer::new(breaker))
///     .service(service_fn(|_: ()| async { Err::<(), _>(std::io::Error::other("down")) }));
///
/// let failed = service.ready().await?.oneshot(()).await.unwrap_err();
/// assert_eq!(failed.to_string(), "down");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct CircuitBreakerLayer<T = AtResult<AnyError>> {
    breaker: CircuitBreaker,
    track: T,
}

impl CircuitBreakerLayer {
    /// A call ends with the service's result, and every error is a failure, except a refusal by a
    /// layer of ours.
    pub fn new(breaker: CircuitBreaker) -> Self {
        Self { breaker, track: AtResult(AnyError) }
    }
}

impl<T> CircuitBreakerLayer<T> {
    /// Has `track` say when a call ends and how.
    pub fn track<U>(self, track: U) -> CircuitBreakerLayer<U> {
        CircuitBreakerLayer { breaker: self.breaker, track }
    }

    /// A call ends with the body of its HTTP response; server errors and broken bodies are failures.
    #[cfg(feature = "http")]
    #[cfg_attr(docsrs, doc(cfg(feature = "http")))]
    pub fn http(
        self,
    ) -> CircuitBreakerLayer<seawall_core::http::AtBodyEnd<seawall_core::http::HttpStatus>> {
        self.track(seawall_core::http::AtBodyEnd(seawall_core::http::HttpStatus::new()))
    }

    /// A call ends with the trailers of its gRPC response, whose status counts.
    ///
    /// For a generated client use [`tonic::ChannelLayer`](crate::tonic::ChannelLayer), which also
    /// turns refusals into a `Status`.
    #[cfg(feature = "tonic")]
    #[cfg_attr(docsrs, doc(cfg(feature = "tonic")))]
    pub fn grpc(
        self,
    ) -> CircuitBreakerLayer<seawall_core::http::AtBodyEnd<seawall_core::tonic::GrpcStatus>> {
        self.track(seawall_core::http::AtBodyEnd(seawall_core::tonic::GrpcStatus::new()))
    }

    /// The breaker.
    pub fn breaker(&self) -> &CircuitBreaker {
        &self.breaker
    }
}

impl<S, T: Clone> Layer<S> for CircuitBreakerLayer<T> {
    type Service = CircuitBreakerService<S, T>;

    fn layer(&self, inner: S) -> Self::Service {
        CircuitBreakerService::new(inner, self.breaker.clone(), self.track.clone())
    }
}
