//! A layer that finds the breaker of each request.

use std::{
    fmt,
    future::Future,
    hash::Hash,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use pin_project_lite::pin_project;
use seawall_core::{AnyError, AtResult, Error, Track};
use tower_layer::Layer;
use tower_service::Service;

use super::Registry;
use crate::{OwnedPermit, ResponseFuture};

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
pub struct RegistryLayer<K, F, T = AtResult<AnyError>> {
    registry: Registry<K>,
    key: Arc<F>,
    track: T,
}

impl<K, F> RegistryLayer<K, F> {
    /// Finds the breaker by `key`; every error is a failure, except a refusal by a layer of ours.
    pub fn new(registry: Registry<K>, key: F) -> Self {
        Self { registry, key: Arc::new(key), track: AtResult(AnyError) }
    }
}

impl<K, F, T> RegistryLayer<K, F, T> {
    /// Has `track` say when a call ends and how.
    pub fn track<U>(self, track: U) -> RegistryLayer<K, F, U> {
        RegistryLayer { registry: self.registry, key: self.key, track }
    }

    /// The breakers.
    pub fn registry(&self) -> &Registry<K> {
        &self.registry
    }
}

impl<K, F, T: Clone> Clone for RegistryLayer<K, F, T> {
    fn clone(&self) -> Self {
        Self { registry: self.registry.clone(), key: self.key.clone(), track: self.track.clone() }
    }
}

impl<K, F, T: fmt::Debug> fmt::Debug for RegistryLayer<K, F, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegistryLayer").field("registry", &self.registry).finish_non_exhaustive()
    }
}

impl<S, K, F, T: Clone> Layer<S> for RegistryLayer<K, F, T> {
    type Service = RegistryService<S, K, F, T>;

    fn layer(&self, inner: S) -> Self::Service {
        RegistryService {
            inner,
            registry: self.registry.clone(),
            key: self.key.clone(),
            track: self.track.clone(),
        }
    }
}

/// A service behind one breaker for each key of its requests. Clones share the breakers.
///
/// The service inside is made ready before the request, and so its breaker, is known; a refused call
/// leaves it ready for the next one.
pub struct RegistryService<S, K, F, T> {
    inner: S,
    registry: Registry<K>,
    key: Arc<F>,
    track: T,
}

impl<S: Clone, K, F, T: Clone> Clone for RegistryService<S, K, F, T> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            registry: self.registry.clone(),
            key: self.key.clone(),
            track: self.track.clone(),
        }
    }
}

impl<S: fmt::Debug, K, F, T> fmt::Debug for RegistryService<S, K, F, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegistryService")
            .field("inner", &self.inner)
            .field("registry", &self.registry)
            .finish_non_exhaustive()
    }
}

impl<S, K, F, T, Req> Service<Req> for RegistryService<S, K, F, T>
where
    S: Service<Req>,
    K: Hash + Eq + Clone,
    F: Fn(&Req) -> K,
    T: Track<S::Response, S::Error, OwnedPermit> + Clone,
{
    type Response = T::Response;
    type Error = Error<S::Error>;
    type Future = RegistryFuture<S::Future, T>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx).map_err(Error::Inner)
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let breaker = self.registry.get(&(self.key)(&request));
        let call = match breaker.admit_owned() {
            Ok(permit) => {
                ResponseFuture::admitted(self.inner.call(request), permit, self.track.clone())
            }
            Err(rejected) => ResponseFuture::rejected(breaker.rejection(rejected)),
        };
        RegistryFuture { call }
    }
}

pin_project! {
    /// The future of a [`RegistryService`]; dropping it drops its permit.
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct RegistryFuture<F, T> {
        #[pin]
        call: ResponseFuture<F, T>,
    }
}

impl<F, T, R, E> Future for RegistryFuture<F, T>
where
    F: Future<Output = Result<R, E>>,
    T: Track<R, E, OwnedPermit>,
{
    type Output = Result<T::Response, Error<E>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.project().call.poll(cx)
    }
}
