//! What a callee accepted, as far as the wire tells.

use std::error::Error as StdError;

use ::http::StatusCode;
use seawall_core::{AnyError, Classify, Outcome};

/// Judges whether an HTTP callee accepted a call, by the head of the response.
///
/// Statuses 429, 502, 503 and 504 are refusals, of the callee or of the gateway before it, and so is
/// every error but a [`Rejection`](seawall_core::Rejection) of ours. All others were accepted: a 500
/// is work that the callee took on.
#[derive(Clone, Copy, Debug, Default)]
pub struct Accepted;

impl Accepted {
    /// The outcome of a response with this status.
    pub fn outcome(self, status: StatusCode) -> Outcome {
        match status.as_u16() {
            429 | 502 | 503 | 504 => Outcome::Failure,
            _ => Outcome::Success,
        }
    }
}

impl<B, E: StdError + 'static> Classify<::http::Response<B>, E> for Accepted {
    fn classify(&self, result: Result<&::http::Response<B>, &E>) -> Outcome {
        match result {
            Ok(response) => self.outcome(response.status()),
            error => AnyError.classify(error),
        }
    }
}

#[cfg(feature = "reqwest")]
impl<E: StdError + 'static> Classify<::reqwest::Response, E> for Accepted {
    fn classify(&self, result: Result<&::reqwest::Response, &E>) -> Outcome {
        match result {
            Ok(response) => self.outcome(response.status()),
            error => AnyError.classify(error),
        }
    }
}

/// Judges whether a gRPC callee accepted a call, by its status.
///
/// UNAVAILABLE, RESOURCE_EXHAUSTED and DEADLINE_EXCEEDED are refusals, and so is a connection that
/// fails. All others were accepted: INTERNAL is work that the callee took on.
#[cfg(feature = "tonic")]
#[cfg_attr(docsrs, doc(cfg(feature = "tonic")))]
pub const fn grpc() -> seawall_core::tonic::GrpcStatus {
    use ::tonic::Code;
    seawall_core::tonic::GrpcStatus::new()
        .code(Code::ResourceExhausted, Outcome::Failure)
        .code(Code::Internal, Outcome::Success)
        .code(Code::Unknown, Outcome::Success)
        .code(Code::DataLoss, Outcome::Success)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_says_that_the_callee_is_too_busy_is_a_refusal() {
        for (code, outcome) in [
            (200, Outcome::Success),
            (404, Outcome::Success),
            (429, Outcome::Failure),
            (500, Outcome::Success),
            (501, Outcome::Success),
            (502, Outcome::Failure),
            (503, Outcome::Failure),
            (504, Outcome::Failure),
        ] {
            assert_eq!(Accepted.outcome(StatusCode::from_u16(code).unwrap()), outcome, "{code}");
        }
    }
}
