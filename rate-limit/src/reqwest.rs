//! reqwest: the middleware for a `ClientWithMiddleware`.
//!
//! A `reqwest::Client` is a tower service, so that [`RateLimitLayer`](crate::RateLimitLayer) goes
//! around it as it is; this is for those who use `reqwest-middleware`.

use std::time::Duration;

use ::reqwest::{Request, Response};
use async_trait::async_trait;
use http::Extensions;
use reqwest_middleware::{Middleware, Next, Result};
use seawall_core::{Error, reqwest::middleware_error};

use crate::RateLimiter;

/// Limits the requests of a `ClientWithMiddleware`.
///
/// Outside of a retrying middleware it counts calls, inside of one it counts attempts. The refusal
/// is found by [`seawall_core::reqwest::rejection`].
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
/// use reqwest_middleware::ClientBuilder;
/// use seawall_core::reqwest::rejection;
/// use seawall_rate_limit::{Quota, RateLimiter, reqwest::RateLimitMiddleware};
///
/// let limiter = RateLimiter::new(Quota::per_minute(1))?.named("orders");
/// let client = ClientBuilder::new(reqwest::Client::new())
///     .with(RateLimitMiddleware::new(limiter.clone()).wait_up_to(Duration::from_secs(1)))
///     .build();
///
/// # #[allow(unused_must_use)]
/// limiter.check();
/// let error = client.get("http://localhost:1/").send().await.unwrap_err();
/// assert_eq!(rejection(&error).and_then(|refused| refused.refused_by()), Some("orders"));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct RateLimitMiddleware {
    limiter: RateLimiter,
    patience: Duration,
}

impl RateLimitMiddleware {
    /// Refuses requests above the limit at once.
    pub fn new(limiter: RateLimiter) -> Self {
        Self { limiter, patience: Duration::ZERO }
    }

    /// Lets a request wait for its turn, at most so long: see
    /// [`RateLimitLayer::wait_up_to`](crate::RateLimitLayer::wait_up_to).
    #[must_use]
    pub fn wait_up_to(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }
}

#[async_trait]
impl Middleware for RateLimitMiddleware {
    async fn handle(
        &self,
        request: Request,
        extensions: &mut Extensions,
        next: Next<'_>,
    ) -> Result<Response> {
        if let Err(rejected) = self.limiter.until_ready(1).within(self.patience).await {
            return Err(middleware_error(Error::Rejected(self.limiter.rejection(rejected))));
        }
        next.run(request, extensions).await
    }
}
