//! The tower layer.

use seawall_core::{AnyError, AtResult};
use tower_layer::Layer;

use crate::{AdmitService, CircuitBreaker};

/// Puts every service that it wraps behind one [`CircuitBreaker`], whose state they share.
///
/// `T` decides when a call ends and how: [`new`](AdmitLayer::new) looks at the service's result
/// alone, `http` and `grpc` follow the body of the response to its end.
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
pub type CircuitBreakerLayer<T = AtResult<AnyError>> = AdmitLayer<CircuitBreaker, T>;

/// Puts every service that it wraps behind one [`Admit`](crate::Admit), whose state they share: a
/// [`CircuitBreakerLayer`], a [`RegistryLayer`](crate::registry::RegistryLayer) or a
/// [`ThrottleLayer`](crate::throttle::ThrottleLayer).
#[derive(Clone, Debug)]
pub struct AdmitLayer<A, T = AtResult<AnyError>> {
    admit: A,
    track: T,
}

impl AdmitLayer<CircuitBreaker> {
    /// A call ends with the service's result, and every error is a failure, except a refusal by a
    /// layer of ours.
    pub fn new(breaker: CircuitBreaker) -> Self {
        Self::with(breaker)
    }
}

impl<T> AdmitLayer<CircuitBreaker, T> {
    /// The breaker.
    pub fn breaker(&self) -> &CircuitBreaker {
        self.admit()
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
}

impl<A> AdmitLayer<A> {
    /// Asks `admit` before each call.
    ///
    /// A call ends with the service's result, and every error is a failure, except a refusal by a
    /// layer of ours.
    pub fn with(admit: A) -> Self {
        Self { admit, track: AtResult(AnyError) }
    }
}

impl<A, T> AdmitLayer<A, T> {
    /// Has `track` say when a call ends and how.
    pub fn track<U>(self, track: U) -> AdmitLayer<A, U> {
        AdmitLayer { admit: self.admit, track }
    }

    pub(crate) fn replace<B>(self, admit: impl FnOnce(A) -> B) -> AdmitLayer<B, T> {
        AdmitLayer { admit: admit(self.admit), track: self.track }
    }

    /// Who is asked before each call.
    pub fn admit(&self) -> &A {
        &self.admit
    }
}

impl<A: Clone, T: Clone> AdmitLayer<A, T> {
    /// As [`layer`](Layer::layer), for a service that is not `Clone`: what it reserved for a call
    /// that is then refused, it keeps for the next one.
    ///
    /// ```
    /// use seawall_circuit_breaker::{CircuitBreaker, CircuitBreakerLayer, Config};
    /// use tower::{ServiceBuilder, layer::layer_fn, util::BoxService};
    ///
    /// let breaker = CircuitBreakerLayer::new(CircuitBreaker::new(Config::default()));
    /// let service = ServiceBuilder::new()
    ///     .layer(layer_fn(|service| breaker.wrap(service)))
    ///     .layer(BoxService::layer())
    ///     .service_fn(|n: u32| async move { Ok::<_, std::io::Error>(n) });
    /// # let _ = service;
    /// ```
    pub fn wrap<S>(&self, inner: S) -> AdmitService<A, S, T> {
        AdmitService::new(inner, self.admit.clone(), self.track.clone())
    }
}

/// What the service inside reserved for a call that is then refused goes back, with the clone that
/// reserved it; [`wrap`](AdmitLayer::wrap) is for a service that is not `Clone`.
impl<S: Clone, A: Clone, T: Clone> Layer<S> for AdmitLayer<A, T> {
    type Service = AdmitService<A, S, T>;

    fn layer(&self, inner: S) -> Self::Service {
        self.wrap(inner).give_back()
    }
}
