//! Servers: a layer that answers in place of the service when the limit is reached.
//!
//! The error type of the service stays as it is, so that the layer goes where errors must be
//! [`Infallible`](std::convert::Infallible): around an axum router or in front of a tonic service.
//! A refused HTTP request is answered with 429 (Too Many Requests, RFC 6585), a refused gRPC call with
//! RESOURCE_EXHAUSTED; which of the two, its content type says. Both tell when to come back.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use axum::{Router, body::Body, http::Request, routing::get};
//! use seawall_rate_limit::{Quota, RateLimiter, server::ServerLayer};
//! use tower::ServiceExt;
//!
//! let limiter = RateLimiter::new(Quota::per_minute(1))?;
//! let app: Router = Router::new()
//!     .route("/", get(|| async { "hello" }))
//!     .layer(ServerLayer::new(limiter));
//!
//! let first = app.clone().oneshot(Request::new(Body::empty())).await?;
//! assert_eq!(first.status(), 200);
//! let second = app.oneshot(Request::new(Body::empty())).await?;
//! assert_eq!(second.status(), 429);
//! assert_eq!(second.headers()["retry-after"], "60");
//! assert_eq!(second.headers()["ratelimit-policy"], "\"default\";q=1;w=60");
//! # Ok(())
//! # }
//! ```

mod future;
mod headers;
mod key;
mod layer;
pub(crate) mod refusal;

use http::Request;

use crate::{Allowed, Quota, RateLimiter, Rejected, algorithm::Algorithm};

pub use future::ServerFuture;
pub use headers::Headers;
pub use key::{ByKey, WithoutKey, forwarded_for, network};
pub use layer::{ServerLayer, ServerService};

/// Decides whether a server answers a request.
pub trait Admit<B> {
    /// Takes what the request costs.
    ///
    /// # Errors
    ///
    /// When the request is to be refused.
    fn admit(&self, request: &Request<B>) -> Result<Allowed, Rejected>;
}

/// What a server tells its callers about the limit.
pub trait Policy {
    /// What is limited to.
    fn quota(&self) -> Quota;

    /// The name of the limit, for callers; `default` when there is none.
    fn name(&self) -> Option<&str>;
}

impl<A: Algorithm, B> Admit<B> for RateLimiter<A> {
    fn admit(&self, _: &Request<B>) -> Result<Allowed, Rejected> {
        self.check()
    }
}

impl<A: Algorithm> Policy for RateLimiter<A> {
    fn quota(&self) -> Quota {
        Self::quota(self)
    }

    fn name(&self) -> Option<&str> {
        Self::name(self)
    }
}
