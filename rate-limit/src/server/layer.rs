//! The layer for servers.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response, header::CONTENT_TYPE};
use tower_layer::Layer;
use tower_service::Service;

use super::{Admit, Headers, Policy, ServerFuture, headers::Writer};
use crate::RateLimiter;

/// Answers requests above the limit in place of the service; all services that it makes share the
/// one limiter.
///
/// # Cost
///
/// One allocation for the headers of each response with [`Headers::RateLimit`], three with the older
/// ones, none with [`Headers::Nothing`], besides what the map of headers needs to grow.
#[derive(Clone, Debug)]
pub struct ServerLayer<L = RateLimiter> {
    limiter: L,
    writer: Arc<Writer>,
}

impl<L: Policy> ServerLayer<L> {
    /// Answers as `limiter` says, with the headers of the current draft.
    pub fn new(limiter: L) -> Self {
        let writer = Arc::new(Writer::new(Headers::default(), &limiter));
        Self { limiter, writer }
    }

    /// Chooses the headers that tell callers about the limit; [`Headers::RateLimit`] unless set.
    #[must_use]
    pub fn headers(mut self, headers: Headers) -> Self {
        self.writer = Arc::new(Writer::new(headers, &self.limiter));
        self
    }
}

impl<S, L: Clone> Layer<S> for ServerLayer<L> {
    type Service = ServerService<S, L>;

    fn layer(&self, inner: S) -> Self::Service {
        ServerService { inner, limiter: self.limiter.clone(), writer: self.writer.clone() }
    }
}

/// Answers requests above the limit in place of the service inside. Made by a [`ServerLayer`].
///
/// Its error is that of the service inside. The body of a refusal is the default of its type, which
/// is an empty one.
#[derive(Clone, Debug)]
pub struct ServerService<S, L = RateLimiter> {
    inner: S,
    limiter: L,
    writer: Arc<Writer>,
}

impl<S, L, Req, Res> Service<Request<Req>> for ServerService<S, L>
where
    S: Service<Request<Req>, Response = Response<Res>> + Clone,
    L: Admit<Req>,
    Res: Default,
{
    type Response = Response<Res>;
    type Error = S::Error;
    type Future = ServerFuture<S::Future, Res>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Req>) -> Self::Future {
        match self.limiter.admit(&request) {
            Ok(allowed) => {
                let standing = allowed.standing();
                ServerFuture::calling(self.inner.call(request), self.writer.clone(), standing)
            }
            Err(rejected) => {
                // The ready instance goes, and with it what it holds for a call that never comes.
                self.inner = self.inner.clone();
                let content_type = request.headers().get(CONTENT_TYPE);
                ServerFuture::refused(rejected, content_type, &self.writer)
            }
        }
    }
}
