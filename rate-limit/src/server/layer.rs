//! The layer for servers.

use std::{
    mem,
    sync::{Arc, OnceLock},
    task::{Context, Poll},
};

use http::{Request, Response, header::CONTENT_TYPE};
use seawall_core::Rejection;
use tower_layer::Layer;
use tower_service::Service;

use super::{
    Headers, ServerFuture,
    headers::{Told, Writer},
};
use crate::{Admission, Admitted, Allowed, Cost, Limit, One, RateLimiter, Rejected};

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
    desk: Desk<L>,
    cost: C,
}

impl<L> ServerLayer<L> {
    /// Answers as `limiter` says, with the headers of the current draft.
    pub fn new(limiter: L) -> Self {
        let desk = Desk { limiter, headers: Headers::default(), writer: Arc::default() };
        Self { desk, cost: One }
    }
}

impl<L, C> ServerLayer<L, C> {
    /// Chooses the headers that tell callers about the limit; [`Headers::RateLimit`] unless set.
    #[must_use]
    pub fn headers(mut self, headers: Headers) -> Self {
        self.desk.headers = headers;
        self.desk.writer = Arc::default();
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
        ServerLayer { desk: self.desk, cost }
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
    type Future = ServerFuture<S, Req, L, Res>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Req>) -> Self::Future {
        let Desk { limiter, headers, writer } = &self.layer.desk;
        let desk = || Desk { limiter: limiter.clone(), headers: *headers, writer: writer.clone() };
        let admission = match limiter.admit(&request, self.layer.cost.cost(&request)) {
            Admitted::Now(admission) => admission,
            Admitted::Later(asking) => {
                let inner = self.inner.clone();
                drop(mem::replace(&mut self.inner, inner.clone()));
                return ServerFuture::asking(asking, desk(), inner, request);
            }
        };
        match self.layer.desk.decide(admission) {
            Ok(told) => ServerFuture::calling(self.inner.call(request), told),
            Err((told, rejection)) => {
                // The ready instance goes, and with it what it holds for a call that never comes.
                self.inner = self.inner.clone();
                ServerFuture::refused(&rejection, request.headers().get(CONTENT_TYPE), &told)
            }
        }
    }
}

/// Where it is decided what a caller is told.
#[derive(Clone, Debug)]
pub(super) struct Desk<L> {
    limiter: L,
    headers: Headers,
    /// Made with the first answer, when the type of the requests is known.
    writer: Arc<OnceLock<Writer>>,
}

impl<L> Desk<L> {
    /// What the caller is told when the call passes, if anything, or why it does not.
    pub(super) fn decide<Req>(
        &self,
        admission: Admission,
    ) -> Result<Option<Told>, (Told, Rejection)>
    where
        L: Limit<Req>,
    {
        let Self { limiter, headers, writer } = self;
        let (quota, answer) = match admission {
            Admission::Unlimited => return Ok(None),
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
                Ok(Some(Told { writer: writer.clone(), standing: allowed.standing(), quotas }))
            }
            Err(rejected) => {
                let told = Told { writer: writer.clone(), standing: rejected.standing(), quotas };
                Err((told, limiter.rejection(rejected)))
            }
        }
    }
}
