//! Clients: learn the limit of the peer from what it tells, and slow down before it refuses.
//!
//! A server that limits says in its responses what is left, until when, and after a refusal when to
//! come back. A [`Learned`] reads that and keeps count: once nothing is left, the client waits, or
//! refuses calls itself, in place of sending what would be refused. Nothing is limited until the
//! first response has told something, so that a peer that tells nothing is not limited at all.
//!
//! What is read, of HTTP and of gRPC responses: `Retry-After` of refusals, `grpc-retry-pushback-ms`
//! and, with the feature `tonic`, `google.rpc.RetryInfo` of trailers-only refusals, `RateLimit` and
//! `RateLimit-Policy` (draft 10, and the form of drafts 7 to 9), and `RateLimit-Limit`,
//! `RateLimit-Remaining`, `RateLimit-Reset` (draft 6), each also with `X-` in front, where
//! `X-RateLimit-Reset` may be a Unix time. Nothing that a peer sends makes it panic, and no wait is
//! longer than [set](Learned::trust_up_to).
//!
//! One [`Learned`] is for one peer that counts this client as one: make one for each host and each
//! API key. It goes inside of a retry, where it sees every attempt.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use std::time::Duration;
//! use http::{Request, Response};
//! use seawall_rate_limit::{Clock, learn::{LearnLayer, Learned}};
//! use tower::{ServiceBuilder, ServiceExt};
//!
//! let learned = Learned::new().with_clock(Clock::tokio());
//! let service = ServiceBuilder::new()
//!     .layer(LearnLayer::new(learned).wait_up_to(Duration::from_secs(30)))
//!     .service_fn(async |_: Request<()>| {
//!         Response::builder().header("ratelimit", "\"default\";r=0;t=20").body(())
//!     });
//!
//! let start = tokio::time::Instant::now();
//! service.clone().oneshot(Request::new(())).await?;
//! service.oneshot(Request::new(())).await?;
//! assert_eq!(start.elapsed(), Duration::from_secs(20), "nothing was left until then");
//! # Ok(())
//! # }
//! ```

mod future;
mod handle;
mod layer;
mod peer;
mod told;

pub use self::{
    future::LearnFuture,
    handle::{Asked, Asking, Learned, Standing},
    layer::{LearnLayer, LearnService},
    told::{Head, Told},
};
