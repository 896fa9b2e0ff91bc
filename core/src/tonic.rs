//! gRPC: what a status says about the server, and refusals as a [`Status`](::tonic::Status).

mod outcome;
mod refusal;
mod service;

pub use outcome::{GrpcEnd, GrpcStatus};
pub use refusal::{error_status, rejection_status};
pub use service::{StatusFuture, StatusService};
