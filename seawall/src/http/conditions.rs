//! What an HTTP call that failed counts as, for the conditions of a retry.

use http::StatusCode;

use crate::{
    policy::RetryOn,
    verdict::{RESET, TIMED_OUT, UNSENT},
};

pub(super) fn status(status: StatusCode) -> &'static [RetryOn] {
    match status.as_u16() {
        503 => &[RetryOn::ServerError, RetryOn::GatewayError, RetryOn::Unavailable],
        502 | 504 => &[RetryOn::ServerError, RetryOn::GatewayError],
        500..=599 => &[RetryOn::ServerError],
        _ => &[],
    }
}

pub(super) fn transport(error: &reqwest::Error) -> &'static [RetryOn] {
    if error.is_connect() {
        UNSENT
    } else if error.is_timeout() {
        TIMED_OUT
    } else if error.is_builder() {
        // The same request fails the same way anywhere.
        &[]
    } else {
        RESET
    }
}
