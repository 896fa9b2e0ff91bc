//! Refusals as a [`Status`].

use std::{sync::Arc, time::Duration};

use ::tonic::{Code, Status, metadata::MetadataMap};
use tonic_types::{ErrorDetails, StatusExt};

use super::pushback::PUSHBACK;
use crate::{BoxError, Reason, Rejection};

/// `rejection` as a status: UNAVAILABLE, RESOURCE_EXHAUSTED or DEADLINE_EXCEEDED.
///
/// The wait stands in `grpc-retry-pushback-ms` and in `google.rpc.RetryInfo`, where it is known; a
/// refusal for ever is a pushback of -1. The rejection is the status's `source()`.
pub fn rejection_status(rejection: &Rejection) -> Status {
    let code = match rejection.reason() {
        Reason::CircuitOpen | Reason::NoEndpoint | Reason::ShutDown => Code::Unavailable,
        Reason::LimitReached | Reason::Overloaded => Code::ResourceExhausted,
        Reason::DeadlineExceeded => Code::DeadlineExceeded,
    };
    let mut metadata = MetadataMap::new();
    let mut details = ErrorDetails::new();
    if rejection.is_never() {
        metadata.insert(PUSHBACK, (-1_i64).into());
    } else if let Some(wait) = rejection.retry_after() {
        metadata.insert(PUSHBACK, millis_rounded_up(wait).into());
        details.set_retry_info(Some(wait));
    }
    let message = rejection.to_string();
    let mut status = if rejection.retry_after().is_some() {
        Status::with_error_details_and_metadata(code, message, details, metadata)
    } else {
        Status::with_metadata(code, message, metadata)
    };
    status.set_source(Arc::new(rejection.clone()));
    status
}

/// Rounded up, so that whoever waits this long is not early. gRPC reads 32 bits.
fn millis_rounded_up(wait: Duration) -> i64 {
    let millis = wait.as_nanos().div_ceil(1_000_000);
    i64::try_from(millis).unwrap_or(i64::MAX).min(i32::MAX.into())
}

/// `error` as a status: that of the rejection in it, or the one that tonic finds.
pub fn error_status(error: BoxError) -> Status {
    // A status on the way out may carry metadata of its own.
    if error.is::<Status>() {
        return Status::from_error(error);
    }
    match Rejection::find(&*error) {
        Some(rejection) => {
            let mut status = rejection_status(rejection);
            status.set_source(Arc::from(error));
            status
        }
        None => Status::from_error(error),
    }
}
