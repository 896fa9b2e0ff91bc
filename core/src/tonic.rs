//! gRPC: what a status says about the server, and refusals as a [`Status`](::tonic::Status).
//!
//! A layer around a channel follows its calls with [`AtBodyEnd`](crate::http::AtBodyEnd) of a
//! [`GrpcStatus`]: the outcome stands in the trailers, at the very end of the body. Outside of all
//! layers goes a [`StatusService`], so that a generated client shows their refusals as what they
//! are; without it tonic calls each of them UNKNOWN.
//!
//! # Examples
//!
//! ```
//! use std::time::Duration;
//! use seawall_core::{Reason, Rejection, Retry, tonic::rejection_status};
//! use tonic::Code;
//!
//! let refused = Rejection::new(Reason::CircuitOpen).retry(Retry::After(Duration::from_secs(2)));
//! let status = rejection_status(&refused);
//! assert_eq!(status.code(), Code::Unavailable);
//! assert_eq!(status.metadata().get("grpc-retry-pushback-ms").unwrap(), "2000");
//! assert_eq!(Rejection::find(&status), Some(&refused));
//! ```

mod outcome;
mod pushback;
mod refusal;
mod service;

pub use outcome::{GrpcEnd, GrpcStatus};
pub use pushback::pushback;
pub use refusal::{error_status, rejection_status};
pub use service::{StatusFuture, StatusService};
