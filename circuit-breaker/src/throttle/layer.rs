//! The tower layer.

use seawall_core::{AnyError, AtResult, Rejection};

use super::{Prioritize, Priority, Rejected, Throttle, ThrottlePermit};
use crate::{Admit, AdmitLayer, AdmitService};

/// Puts every service that it wraps behind one [`Throttle`], whose state they share.
///
/// `P` says how critical a request is: all are [critical](Priority::Critical) unless
/// [`prioritize`](AdmitLayer::prioritize) says otherwise. `T` says when a call ends, and whether it was
/// accepted.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use seawall_circuit_breaker::throttle::{Config, Priority, Throttle, ThrottleLayer};
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
///
/// let throttle = Throttle::new(Config::default());
/// let by_path = |path: &&str| match *path {
///     "/pay" => Priority::CriticalPlus,
///     _ => Priority::Critical,
/// };
/// let service = ServiceBuilder::new()
///     .layer(ThrottleLayer::new(throttle.clone()).prioritize(by_path))
///     .service(service_fn(|_: &str| async { Ok::<_, std::io::Error>("done") }));
///
/// assert_eq!(service.oneshot("/pay").await?, "done");
/// assert_eq!(throttle.snapshot().class(Priority::CriticalPlus).accepts, 1);
/// # Ok(())
/// # }
/// ```
pub type ThrottleLayer<P = Priority, T = AtResult<AnyError>> = AdmitLayer<ByPriority<P>, T>;

/// A service behind a [`Throttle`]. Clones share it.
///
/// The service inside is made ready before the request, and so its priority, is known.
pub type ThrottleService<S, P, T> = AdmitService<ByPriority<P>, S, T>;

/// Asks a [`Throttle`] with the priority of each request.
#[derive(Clone, Debug)]
pub struct ByPriority<P> {
    throttle: Throttle,
    priority: P,
}

impl<P> ByPriority<P> {
    /// Asks `throttle` with the priority that `priority` finds in a request.
    pub fn new(throttle: Throttle, priority: P) -> Self {
        Self { throttle, priority }
    }

    /// The throttle.
    pub fn throttle(&self) -> &Throttle {
        &self.throttle
    }
}

impl<P: Prioritize<Req>, Req> Admit<Req> for ByPriority<P> {
    type Permit = ThrottlePermit;
    type Rejected = Rejected;

    #[inline]
    fn admit(&self, request: &Req) -> Result<ThrottlePermit, Rejected> {
        self.throttle.admit(self.priority.priority(request))
    }

    fn rejection(&self, rejected: Rejected) -> Rejection {
        self.throttle.rejection(rejected)
    }
}

impl AdmitLayer<ByPriority<Priority>> {
    /// All calls are critical; one that gives a response was accepted, and every error is none that
    /// was, except a refusal by a layer of ours, which does not count.
    pub fn new(throttle: Throttle) -> Self {
        Self::with(ByPriority::new(throttle, Priority::Critical))
    }
}

impl<P, T> AdmitLayer<ByPriority<P>, T> {
    /// The throttle.
    pub fn throttle(&self) -> &Throttle {
        self.admit().throttle()
    }

    /// Has `priority` say how critical a request is.
    pub fn prioritize<Q>(self, priority: Q) -> ThrottleLayer<Q, T> {
        self.replace(|by| ByPriority::new(by.throttle, priority))
    }

    /// Whether a call was accepted is seen at the head of its HTTP response: [`Accepted`].
    ///
    /// [`Accepted`]: super::Accepted
    #[cfg(feature = "http")]
    #[cfg_attr(docsrs, doc(cfg(feature = "http")))]
    pub fn http(self) -> ThrottleLayer<P, AtResult<super::Accepted>> {
        self.track(AtResult(super::Accepted))
    }

    /// Whether a call was accepted is seen in its gRPC status: [`grpc`](super::grpc).
    ///
    /// For a generated client use
    /// [`tonic::ChannelLayer::throttle`](crate::tonic::ChannelLayer::throttle), which also turns
    /// refusals into a `Status`.
    #[cfg(feature = "tonic")]
    #[cfg_attr(docsrs, doc(cfg(feature = "tonic")))]
    pub fn grpc(
        self,
    ) -> ThrottleLayer<P, seawall_core::http::AtBodyEnd<seawall_core::tonic::GrpcStatus>> {
        self.track(seawall_core::http::AtBodyEnd(super::grpc()))
    }
}
