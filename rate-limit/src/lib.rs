//! Rate limiters that are exact, shared without a lock, and say when to come back.
//!
//! A [`RateLimiter`] answers one question, may this call go on now, and knows three ways to take the
//! answer: [`check`](RateLimiter::check) refuses, [`until_ready`](RateLimiter::until_ready) waits in
//! turn, [`reserve`](RateLimiter::reserve) leaves the waiting to the caller. A [`RateLimitLayer`]
//! does the first or the second around any tower service; the modules `tonic` and `reqwest` adapt it
//! to a channel and to `reqwest-middleware`.
//!
//! A [`KeyedLimiter`] does the same for each user, address or tenant. With the feature `http`,
//! `server::ServerLayer` answers in place of an axum or tonic server. The limiter is a token bucket
//! unless it is made [of](RateLimiter::of) another [`algorithm`].
//!
//! Which algorithm suits, and what differs from governor and x/time/rate, says the [`guide`].
//!
//! What is measured is calls, or cells where a call costs more than one, counted when they start. How
//! long they take does not matter; that is what a limit on [`concurrency`] is for. A [`Pacer`] lets calls
//! out at an even distance.
//!
//! # Examples
//!
//! ```
//! use seawall_rate_limit::{Quota, RateLimiter};
//!
//! // 100 a second on average, at most 20 at once.
//! let limiter = RateLimiter::new(Quota::per_second(100).burst(20))?;
//! for _ in 0..20 {
//!     assert!(limiter.check().is_ok());
//! }
//! let rejected = limiter.check().unwrap_err();
//! println!("come back in {:?}", rejected.retry_after());
//! # Ok::<(), seawall_rate_limit::ConfigError>(())
//! ```
//!
//! # Features
//!
//! | feature | adds |
//! |---|---|
//! | `http` | [`server::ServerLayer`](https://docs.rs/seawall-rate-limit/latest/seawall_rate_limit/server/): axum, tonic and other servers answer 429 or RESOURCE_EXHAUSTED; [`learn`](https://docs.rs/seawall-rate-limit/latest/seawall_rate_limit/learn/): clients learn the limit of their peer; [keys](key) of requests |
//! | `axum` | the peer's address as a [`key`] in an axum server |
//! | `tonic` | [`tonic::ChannelLayer`](https://docs.rs/seawall-rate-limit/latest/seawall_rate_limit/tonic/) for a tonic channel |
//! | `reqwest` | [`reqwest::RateLimitMiddleware`](https://docs.rs/seawall-rate-limit/latest/seawall_rate_limit/reqwest/) for `reqwest-middleware` |
//! | `redis` | [`redis`](https://docs.rs/seawall-rate-limit/latest/seawall_rate_limit/redis/): limits that many processes share through Redis |
//! | `serde` | [`Config`] and [`Quota`] from files, as in `100/s burst 200` |
//! | `metrics` | [`MetricsObserver`](https://docs.rs/seawall-rate-limit/latest/seawall_rate_limit/struct.MetricsObserver.html) |
//! | `tracing` | [`TracingObserver`](https://docs.rs/seawall-rate-limit/latest/seawall_rate_limit/struct.TracingObserver.html) |
//! | `full` | all of these |
//!
//! # When not to use this
//!
//! - To share one limit among several processes without Redis: each limiter here counts for itself.
//! - To bill by the call: limits forget, books must not.

#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

pub mod algorithm;
pub mod concurrency;
mod config;
mod decision;
mod events;
mod future;
#[doc = include_str!("guide/which.md")]
#[doc = include_str!("guide/window_edge.svg")]
#[doc = include_str!("guide/moving.md")]
pub mod guide {}
pub mod key;
mod keyed;
mod layer;
mod limit;
mod limiter;
#[cfg(feature = "metrics")]
mod metrics;
mod pacer;
mod quota;
mod reservation;
mod service;
mod sync;
mod totals;
#[cfg(feature = "tracing")]
mod tracing;
mod wait;
mod watch;

#[cfg(feature = "http")]
#[cfg_attr(docsrs, doc(cfg(feature = "http")))]
pub mod learn;
#[cfg(feature = "http")]
#[cfg_attr(docsrs, doc(cfg(feature = "http")))]
pub mod server;

#[cfg(feature = "redis")]
#[cfg_attr(docsrs, doc(cfg(feature = "redis")))]
pub mod redis;
#[cfg(feature = "reqwest")]
#[cfg_attr(docsrs, doc(cfg(feature = "reqwest")))]
pub mod reqwest;
#[cfg(feature = "tonic")]
#[cfg_attr(docsrs, doc(cfg(feature = "tonic")))]
pub mod tonic;

pub use algorithm::TokenBucket;
pub use config::Config;
pub use decision::{Allowed, Rejected};
pub use events::Observer;
pub use future::ResponseFuture;
pub use key::ByKey;
pub use keyed::{Full, KeyedLimiter, KeyedTurn, KeyedWait};
pub use layer::RateLimitLayer;
pub use limit::{Admission, Admitted, Cost, Limit, One};
pub use limiter::{RateLimiter, Snapshot};
#[cfg(feature = "metrics")]
#[cfg_attr(docsrs, doc(cfg(feature = "metrics")))]
pub use metrics::MetricsObserver;
pub use pacer::{Paced, Pacer};
pub use quota::Quota;
pub use reservation::Reservation;
pub use seawall_core::{Clock, ConfigError, Error, Rejection};
pub use service::RateLimitService;
pub use totals::Totals;
#[cfg(feature = "tracing")]
#[cfg_attr(docsrs, doc(cfg(feature = "tracing")))]
pub use tracing::TracingObserver;
pub use wait::{UntilReady, Wait};

#[doc = include_str!("../README.md")]
#[cfg(doctest)]
struct ReadmeDoctests;
