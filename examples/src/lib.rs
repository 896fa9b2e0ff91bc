//! What the example programs share: the service that they call, and a server of it.

pub mod server;

/// Client and server of `proto/orders.proto`.
#[allow(missing_docs, reason = "generated code")]
pub mod orders {
    tonic::include_proto!("orders.v1");
}

/// The snippets of the front page.
#[doc = include_str!("../../README.md")]
#[cfg(doctest)]
struct ReadmeDoctests;
