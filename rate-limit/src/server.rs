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
mod layer;
pub(crate) mod refusal;

pub use future::ServerFuture;
pub use headers::Headers;
pub use layer::{ServerLayer, ServerService};
pub(crate) use refusal::is_grpc;
