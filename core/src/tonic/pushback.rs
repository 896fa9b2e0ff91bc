//! When a gRPC server wants to be asked again.

use std::time::Duration;

use ::http::HeaderMap;
use ::tonic::{Code, Status, metadata::MetadataMap};
use bytes::Bytes;
use tonic_types::StatusExt;

use crate::Retry;

/// The metadata with which a server says when to try again, in milliseconds; negative means never
/// ([gRFC A6](https://github.com/grpc/proposal/blob/master/A6-client-retries.md)).
pub(super) const PUSHBACK: &str = "grpc-retry-pushback-ms";

/// What the trailers of a call that failed, or the headers of a trailers-only response, say of
/// another try: `grpc-retry-pushback-ms`, else the `google.rpc.RetryInfo` in the status details.
///
/// A pushback that is no number is [`Retry::Never`], as gRFC A6 has it. No header makes it panic.
/// The wait is the server's word, up to millennia: whoever obeys it sets a bound.
///
/// # Cost
///
/// Allocates only for a response with status details.
pub fn pushback(headers: &HeaderMap) -> Retry {
    let asked = headers.get(PUSHBACK).map(|value| value.as_bytes());
    read(asked, || details(headers).as_deref().and_then(retry_info))
}

/// The same for the error of a generated client.
pub(super) fn status_pushback(status: &Status) -> Retry {
    let asked = status.metadata().get(PUSHBACK).map(|value| value.as_encoded_bytes());
    read(asked, || retry_info(status.details()))
}

/// The wait that a response asks for. One that is a success asks for none.
pub(super) fn wait_after_failure(headers: &HeaderMap) -> Option<Duration> {
    if headers.get(Status::GRPC_STATUS)?.as_bytes() == b"0" {
        return None;
    }
    wait(pushback(headers))
}

pub(super) fn wait(retry: Retry) -> Option<Duration> {
    match retry {
        Retry::After(wait) => Some(wait),
        Retry::Unknown | Retry::Never => None,
    }
}

fn read(pushback: Option<&[u8]>, retry_info: impl FnOnce() -> Option<Duration>) -> Retry {
    let Some(pushback) = pushback else {
        return retry_info().map_or(Retry::Unknown, Retry::After);
    };
    let millis = str::from_utf8(pushback).ok().and_then(|text| text.parse::<i64>().ok());
    match millis.map(u64::try_from) {
        Some(Ok(millis)) => Retry::After(Duration::from_millis(millis)),
        Some(Err(_)) | None => Retry::Never,
    }
}

/// The status details in `headers`, decoded as tonic does it, but without its panic.
fn details(headers: &HeaderMap) -> Option<Bytes> {
    let encoded = headers.get(Status::GRPC_STATUS_DETAILS)?;
    let alone = HeaderMap::from_iter([(Status::GRPC_STATUS_DETAILS, encoded.clone())]);
    let alone = MetadataMap::from_headers(alone);
    alone.get_bin(Status::GRPC_STATUS_DETAILS.as_str())?.to_bytes().ok()
}

fn retry_info(details: &[u8]) -> Option<Duration> {
    if details.is_empty() {
        return None;
    }
    let status = Status::with_details(Code::Unknown, "", Bytes::copy_from_slice(details));
    status.get_details_retry_info()?.retry_delay
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ::http::HeaderValue;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn pushed_back(value: &'static str) -> Retry {
        pushback(&HeaderMap::from_iter([(
            PUSHBACK.parse().unwrap(),
            HeaderValue::from_static(value),
        )]))
    }

    #[test]
    fn a_pushback_is_milliseconds_and_anything_else_is_never() {
        assert_eq!(pushed_back("1500"), Retry::After(1500 * Duration::from_millis(1)));
        assert_eq!(pushed_back("0"), Retry::After(Duration::ZERO));
        for never in ["-1", "", "soon", "99999999999999999999"] {
            assert_eq!(pushed_back(never), Retry::Never, "{never:?}");
        }
        assert_eq!(pushback(&HeaderMap::new()), Retry::Unknown);
    }

    #[test]
    fn what_our_own_refusal_says_is_understood() {
        let rejection = crate::Rejection::new(crate::Reason::CircuitOpen);
        let status = crate::tonic::rejection_status(&rejection.retry(Retry::After(3 * SECOND)));
        assert_eq!(status_pushback(&status), Retry::After(3 * SECOND));
        let mut headers = HeaderMap::new();
        status.add_header(&mut headers).unwrap();
        assert_eq!(pushback(&headers), Retry::After(3 * SECOND));
        headers.remove(PUSHBACK);
        assert_eq!(pushback(&headers), Retry::After(3 * SECOND), "from RetryInfo");
        assert_eq!(wait_after_failure(&headers), Some(3 * SECOND));
        headers.insert(Status::GRPC_STATUS, HeaderValue::from_static("0"));
        assert_eq!(wait_after_failure(&headers), None, "a success asks for nothing");
    }

    #[test]
    fn details_that_are_no_details_are_none() {
        for hostile in ["!!!", "AAAA", "/////w==", "CAESBA"] {
            let value = HeaderValue::from_static(hostile);
            let headers = HeaderMap::from_iter([(Status::GRPC_STATUS_DETAILS, value)]);
            assert_eq!(pushback(&headers), Retry::Unknown, "{hostile}");
        }
    }
}
