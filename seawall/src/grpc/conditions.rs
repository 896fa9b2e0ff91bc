//! What a gRPC call that failed counts as, for the conditions of a retry.

use std::error::Error as StdError;

use http::{HeaderMap, StatusCode};
use tonic::{Code, Status, TimeoutExpired};

use crate::{
    policy::RetryOn,
    verdict::{RESET, TIMED_OUT, UNSENT},
};

pub(super) fn trailers(trailers: &HeaderMap) -> &'static [RetryOn] {
    match trailers.get(Status::GRPC_STATUS) {
        Some(status) => code(Code::from_bytes(status.as_bytes())),
        None => RESET,
    }
}

pub(super) fn code(code: Code) -> &'static [RetryOn] {
    match code {
        Code::Cancelled => &[RetryOn::Cancelled],
        Code::DeadlineExceeded => &[RetryOn::DeadlineExceeded],
        Code::Internal => &[RetryOn::Internal],
        Code::ResourceExhausted => &[RetryOn::ResourceExhausted],
        Code::Unavailable => &[RetryOn::Unavailable],
        _ => &[],
    }
}

/// What an answer counts as that is none of gRPC's, by
/// [its mapping](https://github.com/grpc/grpc/blob/master/doc/http-grpc-status-mapping.md).
pub(super) fn gateway(status: StatusCode) -> &'static [RetryOn] {
    match status.as_u16() {
        400 => &[RetryOn::Internal],
        502..=504 => &[RetryOn::Unavailable, RetryOn::GatewayError, RetryOn::ServerError],
        429 => &[RetryOn::Unavailable],
        _ => &[],
    }
}

/// Whether the channel gave a call up at the time that its request says.
pub(super) fn is_expired(error: &(dyn StdError + 'static)) -> bool {
    transport(error) == TIMED_OUT
}

/// What became of a call that the channel gave up.
pub(super) fn transport(error: &(dyn StdError + 'static)) -> &'static [RetryOn] {
    let mut next = Some(error);
    while let Some(error) = next {
        if error.is::<tonic::ConnectError>() {
            return UNSENT;
        }
        if error.is::<TimeoutExpired>() {
            return TIMED_OUT;
        }
        let reason = error.downcast_ref::<h2::Error>().and_then(h2::Error::reason);
        if reason == Some(h2::Reason::REFUSED_STREAM) {
            return &[RetryOn::RefusedStream];
        }
        next = error.source();
    }
    RESET
}
