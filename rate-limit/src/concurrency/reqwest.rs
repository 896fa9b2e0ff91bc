//! reqwest: the middleware for a `ClientWithMiddleware`.
//!
//! A `reqwest::Client` is a tower service, so that [`ConcurrencyLayer::http`] goes around it as it
//! is; this is for those who use `reqwest-middleware`.
//!
//! [`ConcurrencyLayer::http`]: super::ConcurrencyLayer::http

use ::http::Extensions;
use ::reqwest::{Request, Response};
use async_trait::async_trait;
use reqwest_middleware::{Middleware, Next, Result};
use seawall_core::{
    Error, Track,
    http::{AtBodyEnd, HttpStatus},
    reqwest::{ErrorInChain, middleware_error},
};

use super::ConcurrencyLimit;

/// Limits how many requests of a `ClientWithMiddleware` are in flight.
///
/// A request counts until the body of its response has been read or dropped. The refusal is found by
/// [`seawall_core::reqwest::rejection`].
///
/// ```
/// use reqwest_middleware::ClientBuilder;
/// use seawall_rate_limit::concurrency::{ConcurrencyLimit, reqwest::ConcurrencyMiddleware};
///
/// let limit = ConcurrencyLimit::new(100)?.named("orders");
/// let client = ClientBuilder::new(reqwest::Client::new())
///     .with(ConcurrencyMiddleware::new(limit))
///     .build();
/// # let _ = client;
/// # Ok::<(), seawall_rate_limit::ConfigError>(())
/// ```
#[derive(Clone, Debug)]
pub struct ConcurrencyMiddleware {
    limit: ConcurrencyLimit,
    track: AtBodyEnd<HttpStatus>,
}

impl ConcurrencyMiddleware {
    /// Judges responses as [`HttpStatus::new`] does.
    pub fn new(limit: ConcurrencyLimit) -> Self {
        Self::with_status(limit, HttpStatus::new())
    }

    /// Judges responses as `status` does.
    pub fn with_status(limit: ConcurrencyLimit, status: HttpStatus) -> Self {
        Self { limit, track: AtBodyEnd(status) }
    }
}

#[async_trait]
impl Middleware for ConcurrencyMiddleware {
    async fn handle(
        &self,
        request: Request,
        extensions: &mut Extensions,
        next: Next<'_>,
    ) -> Result<Response> {
        let permit = match self.limit.acquire().await {
            Ok(permit) => permit,
            Err(rejection) => return Err(middleware_error(Error::Rejected(rejection))),
        };
        // Its own error type hides what a middleware further in refused.
        let result = next.run(request, extensions).await.map_err(ErrorInChain::from);
        self.track.track(result, permit).map_err(ErrorInChain::into_inner)
    }
}
