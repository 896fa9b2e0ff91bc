//! The layer for servers.

use std::{
    sync::{Arc, OnceLock},
    task::{Context, Poll},
};

use http::{Request, Response, header::CONTENT_TYPE};
use tower_layer::Layer;
use tower_service::Service;

use super::{
    Headers, ServerFuture,
    headers::{Told, Writer},
};
use crate::{Admission, Allowed, Cost, Limit, One, RateLimiter, Rejected};

/// Answers requests above the limit in place of the service; all services that it makes share the
/// one limiter: a [`RateLimiter`], or a [`KeyedLimiter`](crate::KeyedLimiter) by a [key](crate::key)
/// of the request.
///
/// # Cost
///
/// One allocation for the headers of each response with [`Headers::RateLimit`], three with the older
/// ones, none with [`Headers::Nothing`], besides what the map of headers needs to grow. Two more with
/// [`Headers::RateLimit`] for a key of another plan than the first, and after a change of quota.
#[derive(Clone, Debug)]
pub struct ServerLayer<L = RateLimiter, C = One> {
    limiter: L,
    cost: C,
    headers: Headers,
    /// Made with the first service, when the type of the requests is known.
    writer: Arc<OnceLock<Writer>>,
}

impl<L> ServerLayer<L> {
    /// Answers as `limiter` says, with the headers of the current draft.
    pub fn new(limiter: L) -> Self {
        Self { limiter, cost: One, headers: Headers::default(), writer: Arc::default() }
    }
}

impl<L, C> ServerLayer<L, C> {
    /// Chooses the headers that tell callers about the limit; [`Headers::RateLimit`] unless set.
    #[must_use]
    pub fn headers(mut self, headers: Headers) -> Self {
        self.headers = headers;
        self.writer = Arc::default();
        self
    }

    /// How many cells a request takes: a function of it, or [`One`], unless set.
    ///
    /// ```
    /// use http::{Method, Request};
    /// use seawall_rate_limit::{Quota, RateLimiter, server::ServerLayer};
    ///
    /// let limiter = RateLimiter::new(Quota::per_minute(100))?;
    /// let cost = |request: &Request<axum::body::Body>| if request.method() == Method::GET { 1 } else { 5 };
    /// let app: axum::Router = axum::Router::new().layer(ServerLayer::new(limiter).cost(cost));
    /// # Ok::<(), seawall_rate_limit::ConfigError>(())
    /// ```
    #[must_use]
    pub fn cost<D>(self, cost: D) -> ServerLayer<L, D> {
        ServerLayer { limiter: self.limiter, cost, headers: self.headers, writer: self.writer }
    }
}

impl<S, L: Clone, C: Clone> Layer<S> for ServerLayer<L, C> {
    type Service = ServerService<S, L, C>;

    fn layer(&self, inner: S) -> Self::Service {
        ServerService { inner, layer: self.clone() }
    }
}

/// Answers requests above the limit in place of the service inside. Made by a [`ServerLayer`].
///
/// Its error is that of the service inside. The body of a refusal is the default of its type, which
/// is an empty one.
#[derive(Clone, Debug)]
pub struct ServerService<S, L = RateLimiter, C = One> {
    inner: S,
    layer: ServerLayer<L, C>,
}

impl<S, L, C, Req, Res> Service<Request<Req>> for ServerService<S, L, C>
where
    S: Service<Request<Req>, Response = Response<Res>> + Clone,
    L: Limit<Request<Req>>,
    C: Cost<Request<Req>>,
    Res: Default,
{
    type Response = Response<Res>;
    type Error = S::Error;
    type Future = ServerFuture<S::Future, Res>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Req>) -> Self::Future {
        let ServerLayer { limiter, cost, headers, writer } = &self.layer;
        let (quota, answer) = match limiter.admit(&request, cost.cost(&request)) {
            Admission::Unlimited => return ServerFuture::calling(self.inner.call(request), None),
            Admission::Limited(quota, answer) => (quota, answer),
        };
        let made = writer.get_or_init(|| Writer::new(*headers, limiter.quotas(), limiter.name()));
        let index = answer.as_ref().map_or_else(Rejected::index, Allowed::index);
        let quotas = made.is_old(index, quota).then(|| match limiter.quotas() {
            // Of one quota, a key may have another.
            one if one.len() == 1 => vec![quota],
            several => several,
        });
        match answer {
            Ok(allowed) => {
                let told = Told { writer: writer.clone(), standing: allowed.standing(), quotas };
                ServerFuture::calling(self.inner.call(request), Some(told))
            }
            Err(rejected) => {
                let told = Told { writer: writer.clone(), standing: rejected.standing(), quotas };
                let rejection = limiter.rejection(rejected);
                // The ready instance goes, and with it what it holds for a call that never comes.
                self.inner = self.inner.clone();
                let content_type = request.headers().get(CONTENT_TYPE);
                ServerFuture::refused(&rejection, content_type, &told)
            }
        }
    }
}
