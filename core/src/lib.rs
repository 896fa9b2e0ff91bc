//! The words that the Seawall crates share.
//!
//! A circuit breaker, a rate limiter and a load balancer ask the same questions of a call: how did
//! it end, when did it end, was it refused before it left, and what time is it. This crate holds
//! the one answer to each, so that the crates compose: a limiter's refusal is no failure to the
//! breaker around it, and a permit lasts until the body of a response does.
//!
//! Most users need one of the crates built on it, not this one: reach for it to write a classifier,
//! a guard or a registry of your own.
//!
//! - [`Outcome`], [`Guard`]: how a call ended, and who is told.
//! - [`Classify`], [`Track`]: from a result to an outcome, at once or when the body ends.
//! - [`Rejection`], [`Error`]: a refusal of ours, recognisable at any depth.
//! - [`Endpoint`], [`Change`]: who can be called.
//! - [`Clock`], [`Instant`]: time that tests can drive.
//! - `http`, `tonic`, `reqwest`: the same for each transport, behind the feature.
//!
//! # Examples
//!
//! ```
//! use seawall_core::{AnyError, Classify, Error, Outcome, Reason, Rejection};
//!
//! // A refusal by a layer of ours says nothing about the server, however deep it is wrapped.
//! let refused: Error<std::io::Error> = Rejection::new(Reason::LimitReached).into();
//! let result: Result<(), _> = Err(refused);
//! assert_eq!(AnyError.classify(result.as_ref()), Outcome::Ignored);
//! ```
//!
//! # Features
//!
//! | feature | adds |
//! |---|---|
//! | `http` | HTTP classification, tracked and replayed bodies |
//! | `tonic` | gRPC classification, refusals as `tonic::Status` |
//! | `reqwest` | tracked `reqwest::Response`, refusals as `reqwest_middleware::Error` |
//! | `tower` | conversion from and to `tower::discover::Change` |
//! | `tokio` | the clock that obeys a paused tokio runtime |
//! | `serde` | `Serialize` and `Deserialize` for endpoints and changes, durations as text |
//! | `full` | all of these |
//!
//! # When not to use this
//!
//! To wrap a client: take `seawall`, or one of the primitives. They re-export what they need.

#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

mod address;
mod admission;
mod change;
mod classify;
mod clock;
#[cfg(feature = "serde")]
#[cfg_attr(docsrs, doc(cfg(feature = "serde")))]
pub mod duration;
mod endpoint;
mod error;
mod outcome;
mod rejection;

#[cfg(feature = "http")]
#[cfg_attr(docsrs, doc(cfg(feature = "http")))]
pub mod http;
#[cfg(feature = "reqwest")]
#[cfg_attr(docsrs, doc(cfg(feature = "reqwest")))]
pub mod reqwest;
#[cfg(feature = "tonic")]
#[cfg_attr(docsrs, doc(cfg(feature = "tonic")))]
pub mod tonic;

/// The README's examples, as tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeDoctests;

pub use address::{Address, AddressError};
pub use admission::{Admission, Foretell};
pub use change::{Change, diff};
pub use classify::{AnyError, AtResult, Classify, Track};
pub use clock::{Clock, Instant, ManualClock};
pub use endpoint::{Endpoint, EndpointId, Health};
pub use error::{BoxError, BoxedError, ConfigError, Error};
pub use outcome::{Fault, Guard, Outcome};
pub use rejection::{Reason, Rejection, Retry};
