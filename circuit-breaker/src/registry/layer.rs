//! A layer that finds the breaker of each request.

use std::{fmt, hash::Hash, sync::Arc};

use seawall_core::{AnyError, AtResult, Rejection};

use super::Registry;
use crate::{Admit, AdmitLayer, AdmitService, OwnedPermit};

/// Puts every service that it wraps behind the breakers of one [`Registry`], the one of each
/// request's key. Clones and services share them.
///
/// # Examples
///
/// ```
/// use seawall_circuit_breaker::{Config, registry::{Registry, RegistryLayer}};
///
/// let breakers: Registry<String> = Registry::builder(Config::default()).build()?;
/// let by_tenant = RegistryLayer::new(breakers, |request: &(String, u32)| request.0.clone());
/// # let _ = by_tenant;
/// # Ok::<(), seawall_circuit_breaker::ConfigError>(())
/// ```
pub type RegistryLayer<K, F, T = AtResult<AnyError>> = AdmitLayer<ByKey<K, F>, T>;

/// A service behind one breaker for each key of its requests. Clones share the breakers.
///
/// The service inside is made ready before the request, and so its breaker, is known.
pub type RegistryService<S, K, F, T> = AdmitService<ByKey<K, F>, S, T>;

/// Asks the breaker of each request's key.
pub struct ByKey<K, F> {
    registry: Registry<K>,
    key: Arc<F>,
}

impl<K, F> ByKey<K, F> {
    /// Finds the breaker of a request by `key`.
    pub fn new(registry: Registry<K>, key: F) -> Self {
        Self { registry, key: Arc::new(key) }
    }

    /// The breakers.
    pub fn registry(&self) -> &Registry<K> {
        &self.registry
    }
}

impl<K, F, Req> Admit<Req> for ByKey<K, F>
where
    K: Hash + Eq + Clone,
    F: Fn(&Req) -> K,
{
    type Permit = OwnedPermit;
    type Rejected = Rejection;

    fn admit(&self, request: &Req) -> Result<OwnedPermit, Rejection> {
        let breaker = self.registry.get(&(self.key)(request));
        breaker.admit_owned().map_err(|rejected| breaker.rejection(rejected))
    }

    fn rejection(&self, rejection: Rejection) -> Rejection {
        rejection
    }
}

impl<K, F> Clone for ByKey<K, F> {
    fn clone(&self) -> Self {
        Self { registry: self.registry.clone(), key: self.key.clone() }
    }
}

impl<K, F> fmt::Debug for ByKey<K, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ByKey").field("registry", &self.registry).finish_non_exhaustive()
    }
}

impl<K, F> AdmitLayer<ByKey<K, F>> {
    /// Finds the breaker by `key`; every error is a failure, except a refusal by a layer of ours.
    pub fn new(registry: Registry<K>, key: F) -> Self {
        Self::with(ByKey::new(registry, key))
    }
}

impl<K, F, T> AdmitLayer<ByKey<K, F>, T> {
    /// The breakers.
    pub fn registry(&self) -> &Registry<K> {
        self.admit().registry()
    }

    /// A call ends with the body of its HTTP response; server errors and broken bodies are failures.
    #[cfg(feature = "http")]
    #[cfg_attr(docsrs, doc(cfg(feature = "http")))]
    pub fn http(
        self,
    ) -> RegistryLayer<K, F, seawall_core::http::AtBodyEnd<seawall_core::http::HttpStatus>> {
        self.track(seawall_core::http::AtBodyEnd(seawall_core::http::HttpStatus::new()))
    }

    /// A call ends with the trailers of its gRPC response, whose status counts.
    #[cfg(feature = "tonic")]
    #[cfg_attr(docsrs, doc(cfg(feature = "tonic")))]
    pub fn grpc(
        self,
    ) -> RegistryLayer<K, F, seawall_core::http::AtBodyEnd<seawall_core::tonic::GrpcStatus>> {
        self.track(seawall_core::http::AtBodyEnd(seawall_core::tonic::GrpcStatus::new()))
    }
}
