//! reqwest: a breaker or a throttle around a client, as a tower layer or as a middleware.
//!
//! A `reqwest::Client` is a tower service, so [`CircuitBreakerLayer`](crate::CircuitBreakerLayer)`::http`
//! and [`ThrottleLayer`](crate::throttle::ThrottleLayer)`::http` wrap it. For a client of
//! `reqwest-middleware` there are [`CircuitBreakerMiddleware`] and [`ThrottleMiddleware`]. A breaker
//! follows the response to the end of its body.

use ::http::Extensions;
use ::reqwest::{Request, Response};
use async_trait::async_trait;
use reqwest_middleware::{Middleware, Next, Result};
use seawall_core::{
    AtResult, Error, Rejection, Track,
    http::{AtBodyEnd, HttpStatus},
    reqwest::{ErrorInChain, middleware_error},
};

use crate::{
    CircuitBreaker,
    throttle::{Accepted, Priority, Throttle},
};

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
    ) -> Result<Response> {
        let permit = self
            .breaker
            .admit_owned()
            .map_err(|rejected| refused(self.breaker.rejection(rejected)))?;
        run(&self.track, permit, request, extensions, next).await
    }
}

/// Puts a `ClientWithMiddleware` behind a [`Throttle`]. Clones share its state.
///
/// A request has the [`Priority`] that `RequestBuilder::with_extension` gave it, or is critical; it
/// was accepted as [`Accepted`] sees it. [`rejection`] finds a refusal in the client's errors.
///
/// # Cost
///
/// Allocates a box for the future of each request, as the trait `Middleware` asks for.
///
/// # Examples
///
/// ```
/// use reqwest_middleware::ClientBuilder;
/// use seawall_circuit_breaker::{reqwest::ThrottleMiddleware, throttle::{Config, Priority, Throttle}};
///
/// let throttle = Throttle::new(Config::default());
/// let client = ClientBuilder::new(reqwest::Client::new())
///     .with(ThrottleMiddleware::new(throttle))
///     .build();
/// let prefetch = client.get("http://stock.test/items").with_extension(Priority::Sheddable);
/// # let _ = prefetch;
/// ```
#[derive(Clone, Debug)]
pub struct ThrottleMiddleware {
    throttle: Throttle,
}

impl ThrottleMiddleware {
    /// Asks `throttle` before each request.
    pub fn new(throttle: Throttle) -> Self {
        Self { throttle }
    }

    /// The throttle.
    pub fn throttle(&self) -> &Throttle {
        &self.throttle
    }
}

#[async_trait]
impl Middleware for ThrottleMiddleware {
    async fn handle(
        &self,
        request: Request,
        extensions: &mut Extensions,
        next: Next<'_>,
    ) -> Result<Response> {
        let priority = extensions.get::<Priority>().copied().unwrap_or_default();
        let permit = self
            .throttle
            .admit(priority)
            .map_err(|rejected| refused(self.throttle.rejection(rejected)))?;
        run(&AtResult(Accepted), permit, request, extensions, next).await
    }
}

fn refused(rejection: Rejection) -> reqwest_middleware::Error {
    middleware_error(Error::Rejected(rejection))
}

async fn run<P, T>(
    track: &T,
    permit: P,
    request: Request,
    extensions: &mut Extensions,
    next: Next<'_>,
) -> Result<Response>
where
    T: Track<Response, ErrorInChain, P, Response = Response>,
{
    // The client's own error type hides what a middleware further in refused.
    let result = next.run(request, extensions).await.map_err(ErrorInChain::from);
    track.track(result, permit).map_err(ErrorInChain::into_inner)
}
