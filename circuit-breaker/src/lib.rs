//! Stops calling what is failing.
//!
//! A circuit breaker watches the calls to one callee. While they succeed it is *closed* and lets them
//! pass; when they fail it *opens* and refuses further calls at once, which spares the callee and the
//! caller's threads; after a wait it is *half-open* and lets a few probes find out whether the callee
//! is back. [`State`] has the picture.
//!
//! What is counted is how a call really ended: at the last byte or the trailers of a streamed
//! response, not at its head, and also when its caller dropped it. Refusals by other layers of this
//! family are not the callee's failures.
//!
//! - [`CircuitBreaker`], [`Permit`]: the breaker without a framework, sync or async.
//! - [`CircuitBreakerLayer`]: a tower layer; `tonic::ChannelLayer` and
//!   `reqwest::CircuitBreakerMiddleware` behind the features.
//! - [`registry`]: one breaker for each server, method or tenant.
//! - [`throttle`]: sends an overloaded callee less, as far as it refuses.
//! - [`Config`]: the settings, checked when built; the table of defaults is in [`config`].
//! - [`Observer`], [`Snapshot`]: what goes on inside.
//! - [`guide`]: which policy when, and how this differs from other breakers.
//!
//! # Examples
//!
//! ```
//! use seawall_circuit_breaker::{CircuitBreaker, Config};
//!
//! let config = Config::builder().consecutive_failures(3).build()?;
//! let breaker = CircuitBreaker::builder(config).named("orders").build();
//! for _ in 0..3 {
//!     let failed = breaker.call(|| Err::<(), _>(std::io::Error::other("down")));
//!     assert_eq!(failed.unwrap_err().to_string(), "down");
//! }
//! let refused = breaker.call(|| Ok::<_, std::io::Error>("never called")).unwrap_err();
//! assert!(refused.to_string().starts_with("circuit breaker is open (orders), retry after"));
//! # Ok::<(), seawall_circuit_breaker::ConfigError>(())
//! ```
//!
//! # Features
//!
//! | feature | adds |
//! |---|---|
//! | `http` | layers that follow an HTTP response to the end of its body |
//! | `tonic` | the layer for a tonic channel |
//! | `reqwest` | the middleware for reqwest |
//! | `serde` | `Deserialize` for configurations, `Serialize` for snapshots |
//! | `metrics` | `MetricsObserver`, for breakers and throttles |
//! | `tracing` | `TracingObserver`, for breakers and throttles |
//! | `full` | all of these |
//!
//! # When not to use this
//!
//! - To bound how long a call takes: that is a time-out. A breaker without one inside it, or with
//!   [`OnDrop::Ignore`] and one outside, never learns of calls that hang.
//! - To bound how much is called: that is a rate limit or a concurrency limit.
//! - Around many servers behind one name: a breaker refuses them all when some fail. Use one breaker
//!   for each, behind a balancer.

#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

mod admit;
mod breaker;
pub mod config;
mod error;
mod events;
mod future;
#[doc = include_str!("guide.md")]
pub mod guide {}
mod in_flight;
mod layer;
mod machine;
#[cfg(feature = "metrics")]
mod metrics;
mod permit;
mod probes;
mod ramp;
mod ratio;
pub mod registry;
#[cfg(feature = "reqwest")]
#[cfg_attr(docsrs, doc(cfg(feature = "reqwest")))]
pub mod reqwest;
mod service;
mod snapshot;
mod state;
mod sync;
pub mod throttle;
#[cfg(feature = "tonic")]
#[cfg_attr(docsrs, doc(cfg(feature = "tonic")))]
pub mod tonic;
mod totals;
#[cfg(feature = "tracing")]
mod tracing;
mod trip;
mod window;

pub use admit::Admit;
pub use breaker::{CircuitBreaker, CircuitBreakerBuilder};
pub use config::{Config, HalfOpen, OnDrop, OpenWait, Ramp, TripPolicy, Window};
pub use error::Rejected;
pub use events::{Cause, Observer, Transition};
pub use future::ResponseFuture;
pub use layer::{AdmitLayer, CircuitBreakerLayer};
#[cfg(feature = "metrics")]
#[cfg_attr(docsrs, doc(cfg(feature = "metrics")))]
pub use metrics::MetricsObserver;
pub use permit::{OwnedPermit, Permit};
pub use ratio::Ratio;
pub use seawall_core::{Clock, ConfigError, Error, Instant, Outcome, Rejection};
pub use service::{AdmitService, CircuitBreakerService};
pub use snapshot::Snapshot;
pub use state::{Mode, State};
pub use totals::Totals;
#[cfg(feature = "tracing")]
#[cfg_attr(docsrs, doc(cfg(feature = "tracing")))]
pub use tracing::TracingObserver;
pub use window::Counts;

#[doc = include_str!("../README.md")]
#[cfg(doctest)]
struct ReadmeDoctests;
