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

use crate::{
    Cost, Limit, One, RateLimiter,
    learn::{Learned, Told},
};

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
pub struct RateLimitMiddleware<L = RateLimiter, C = One> {
    limiter: L,
    patience: Duration,
    cost: C,
}

impl<L> RateLimitMiddleware<L> {
    /// Refuses requests above the limit at once. `limiter` is a [`RateLimiter`], or a
    /// [`KeyedLimiter`](crate::KeyedLimiter) [by](crate::KeyedLimiter::by) a key of the request.
    pub fn new(limiter: L) -> Self {
        Self { limiter, patience: Duration::ZERO, cost: One }
    }
}

impl<L, C> RateLimitMiddleware<L, C> {
    /// Lets a request wait for its turn, at most so long: see
    /// [`RateLimitLayer::wait_up_to`](crate::RateLimitLayer::wait_up_to).
    #[must_use]
    pub fn wait_up_to(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// How many cells a request takes: see [`RateLimitLayer::cost`](crate::RateLimitLayer::cost).
    #[must_use]
    pub fn cost<D>(self, cost: D) -> RateLimitMiddleware<L, D> {
        RateLimitMiddleware { limiter: self.limiter, patience: self.patience, cost }
    }
}

#[async_trait]
impl<L, C> Middleware for RateLimitMiddleware<L, C>
where
    L: Limit<Request, Turn: Send, Wait: Future<Output: Send> + Send> + Send + Sync + 'static,
    C: Cost<Request> + Send + Sync + 'static,
{
    async fn handle(
        &self,
        request: Request,
        extensions: &mut Extensions,
        next: Next<'_>,
    ) -> Result<Response> {
        let cost = self.cost.cost(&request);
        match self.limiter.acquire(&request, cost, self.patience) {
            Ok(None) => {}
            Ok(Some(turn)) => {
                let waited = self.limiter.wait(turn).await;
                L::passed(waited).map_err(|refused| middleware_error(Error::Rejected(refused)))?;
            }
            Err(rejected) => {
                return Err(middleware_error(Error::Rejected(self.limiter.rejection(rejected))));
            }
        }
        next.run(request, extensions).await
    }
}

/// Learns the limit of the server that a `ClientWithMiddleware` talks to, and keeps it: see
/// [`learn`](crate::learn). Inside of a retrying middleware it sees every attempt.
#[derive(Clone, Debug)]
pub struct LearnMiddleware {
    learned: Learned,
    patience: Duration,
}

impl LearnMiddleware {
    /// Refuses requests that the server would refuse.
    pub fn new(learned: Learned) -> Self {
        Self { learned, patience: Duration::ZERO }
    }

    /// Lets a request wait until the server would take it, at most so long.
    #[must_use]
    pub fn wait_up_to(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }
}

#[async_trait]
impl Middleware for LearnMiddleware {
    async fn handle(
        &self,
        request: Request,
        extensions: &mut Extensions,
        next: Next<'_>,
    ) -> Result<Response> {
        let asked = match self.learned.ask_within(self.patience).await {
            Ok(asked) => asked,
            Err(rejection) => return Err(middleware_error(Error::Rejected(rejection))),
        };
        let response = next.run(request, extensions).await?;
        asked.told(&Told::read(response.status(), response.headers()));
        Ok(response)
    }
}
