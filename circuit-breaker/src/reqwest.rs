//! reqwest: a breaker around a client, as a tower layer or as a middleware.
//!
//! A `reqwest::Client` is a tower service, so [`CircuitBreakerLayer`](crate::CircuitBreakerLayer)`::http`
//! wraps it. For a client of `reqwest-middleware` there is [`CircuitBreakerMiddleware`]. Both follow
//! the response to the end of its body.

use ::http::Extensions;
use ::reqwest::{Request, Response};
use async_trait::async_trait;
use reqwest_middleware::{Middleware, Next};
use seawall_core::{
    Error, Track,
    http::{AtBodyEnd, HttpStatus},
    reqwest::{ErrorInChain, middleware_error},
};

use crate::CircuitBreaker;

pub use seawall_core::reqwest::rejection;

/// Puts a `ClientWithMiddleware` behind a [`CircuitBreaker`]. Clones share its state.
///
/// [`rejection`] finds a refusal in the client's errors, also through `reqwest-retry`.
///
/// # Cost
///
/// Allocates a box for the future of each request, as the trait `Middleware` asks for, and one for
/// the body of the response.
///
/// # Examples
///
/// ```
/// use reqwest_middleware::ClientBuilder;
/// use seawall_circuit_breaker::{CircuitBreaker, Config, reqwest::CircuitBreakerMiddleware};
///
/// let breaker = CircuitBreaker::new(Config::default());
/// let client = ClientBuilder::new(reqwest::Client::new())
///     .with(CircuitBreakerMiddleware::new(breaker))
///     .build();
/// # let _ = client;
/// ```
#[derive(Clone, Debug)]
pub struct CircuitBreakerMiddleware {
    breaker: CircuitBreaker,
    track: AtBodyEnd<HttpStatus>,
}

impl CircuitBreakerMiddleware {
    /// Judges responses as [`HttpStatus::new`] does.
    pub fn new(breaker: CircuitBreaker) -> Self {
        Self::with_status(breaker, HttpStatus::new())
    }

    /// Judges responses as `status` does.
    pub fn with_status(breaker: CircuitBreaker, status: HttpStatus) -> Self {
        Self { breaker, track: AtBodyEnd(status) }
    }

    /// The breaker.
    pub fn breaker(&self) -> &CircuitBreaker {
        &self.breaker
    }
}

#[async_trait]
impl Middleware for CircuitBreakerMiddleware {
    async fn handle(
        &self,
        request: Request,
        extensions: &mut Extensions,
        next: Next<'_>,
    ) -> reqwest_middleware::Result<Response> {
        let permit = match self.breaker.admit_owned() {
            Ok(permit) => permit,
            Err(rejected) => {
                return Err(middleware_error(Error::Rejected(self.breaker.rejection(rejected))));
            }
        };
        // Its own error type hides what a middleware further in refused.
        let result = next.run(request, extensions).await.map_err(ErrorInChain::from);
        self.track.track(result, permit).map_err(ErrorInChain::into_inner)
    }
}
