//! What a gRPC status says about the server.

use std::{error::Error as StdError, time::Duration};

use ::http::{HeaderMap, StatusCode, response::Parts};
use ::tonic::{Code, Status, metadata::MetadataMap};

use crate::{
    Classify, Fault, Outcome, Rejection,
    classify::error_outcome,
    http::{BodyEnd, ClassifyBody, ClassifyEnd, Verdict, retry_after},
};

use super::pushback::{status_pushback, wait, wait_after_failure};

/// What tonic's own time-out layer says, on either side of the wire.
const TIMEOUT_MESSAGE: &[u8] = b"Timeout expired";

/// Judges a gRPC call by its status code, wherever that stands: in the headers of a trailers-only
/// response, in the trailers, or in the error that the channel gave.
///
/// | code | outcome |
/// |---|---|
/// | UNAVAILABLE, DEADLINE_EXCEEDED, INTERNAL, UNKNOWN, DATA_LOSS | failure |
/// | RESOURCE_EXHAUSTED | success, unless changed with [`code`](Self::code) |
/// | CANCELLED | failure when a time-out or a broken connection made it, else ignored |
/// | all others, such as NOT_FOUND | success: the server did its work |
///
/// A response that ends without a status is UNKNOWN; one that is not even HTTP 200 is mapped as
/// [gRPC says](https://github.com/grpc/grpc/blob/master/doc/http-grpc-status-mapping.md). A body that
/// is dropped before its trailers is an abandoned call, and a body that fails is a failure.
///
/// A server that asks to be left alone does so by `grpc-retry-pushback-ms` or by
/// `google.rpc.RetryInfo`; what is no gRPC response, by `Retry-After`.
///
/// Codes are read from the raw bytes: no header, however hostile, makes it panic. Details that are
/// not base64 are taken out of the response, because tonic's generated clients panic on them.
///
/// # Cost
///
/// Allocates nothing, but for a response with status details, which are decoded once to check them.
#[derive(Clone, Copy, Debug)]
pub struct GrpcStatus {
    /// One bit per code.
    failures: u32,
    ignored: u32,
}

impl GrpcStatus {
    /// The rules above.
    pub const fn new() -> Self {
        let failures = bit(Code::Unavailable)
            | bit(Code::DeadlineExceeded)
            | bit(Code::Internal)
            | bit(Code::Unknown)
            | bit(Code::DataLoss);
        Self { failures, ignored: bit(Code::Cancelled) }
    }

    /// What `code` counts as.
    ///
    /// ```
    /// use seawall_core::{Outcome, tonic::GrpcStatus};
    /// use tonic::Code;
    ///
    /// let status = GrpcStatus::new().code(Code::ResourceExhausted, Outcome::Failure);
    /// assert_eq!(status.outcome(Code::ResourceExhausted), Outcome::Failure);
    /// ```
    #[must_use]
    pub const fn code(mut self, code: Code, outcome: Outcome) -> Self {
        self.failures &= !bit(code);
        self.ignored &= !bit(code);
        match outcome {
            Outcome::Success => {}
            Outcome::Failure => self.failures |= bit(code),
            Outcome::Ignored => self.ignored |= bit(code),
        }
        self
    }

    /// The outcome of a call that ended with `code`.
    pub const fn outcome(self, code: Code) -> Outcome {
        if self.failures & bit(code) != 0 {
            Outcome::Failure
        } else if self.ignored & bit(code) != 0 {
            Outcome::Ignored
        } else {
            Outcome::Success
        }
    }

    fn headers(self, headers: &HeaderMap) -> Option<Outcome> {
        let code = Code::from_bytes(headers.get(Status::GRPC_STATUS)?.as_bytes());
        let message = headers.get(Status::GRPC_MESSAGE);
        let timed_out = message.is_some_and(|message| {
            // The space travels percent-encoded.
            message.as_bytes() == b"Timeout%20expired" || message.as_bytes() == TIMEOUT_MESSAGE
        });
        Some(match code {
            Code::Cancelled if timed_out => Outcome::Failure,
            code => self.outcome(code),
        })
    }

    /// The outcome of a call that gave an error in place of a response.
    fn error_outcome(self, error: &(dyn StdError + 'static)) -> Outcome {
        if Rejection::find(error).is_some() {
            return Outcome::Ignored;
        }
        match find::<Status>(error) {
            Some(status) if status.code() != Code::Cancelled => self.outcome(status.code()),
            Some(status) if is_transport_failure(status) => Outcome::Failure,
            Some(_) => self.outcome(Code::Cancelled),
            None => error_outcome(error),
        }
    }
}

impl Default for GrpcStatus {
    fn default() -> Self {
        Self::new()
    }
}

const fn bit(code: Code) -> u32 {
    1 << code as u32
}

fn find<'a, T: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a T> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = error.source();
    }
    None
}

/// Whether a status of CANCELLED was made on this side, because a time-out passed or the connection
/// broke, and not by the server or by the caller.
fn is_transport_failure(status: &Status) -> bool {
    // tonic writes CANCELLED over a request that it took and could not send, with the reason as
    // the source. A status that came over the wire has none, and one that the caller's own
    // cancellation made has another status in it.
    let broke = status.source().is_some_and(|source| find::<Status>(source).is_none());
    broke || status.message().as_bytes() == TIMEOUT_MESSAGE
}

/// Where the failure comes from that headers or trailers tell of.
fn fault(headers: &HeaderMap) -> Option<Fault> {
    let code = Code::from_bytes(headers.get(Status::GRPC_STATUS)?.as_bytes());
    (code == Code::Unavailable).then_some(Fault::Gateway)
}

/// The code that stands for an HTTP status other than 200, where no gRPC status does.
fn code_for_http(status: StatusCode) -> Code {
    match status.as_u16() {
        400 => Code::Internal,
        401 => Code::Unauthenticated,
        403 => Code::PermissionDenied,
        404 => Code::Unimplemented,
        429 | 502 | 503 | 504 => Code::Unavailable,
        _ => Code::Unknown,
    }
}

impl<E: StdError + 'static> ClassifyBody<E> for GrpcStatus {
    type End = GrpcEnd;

    fn head(&self, head: &Parts) -> Verdict<GrpcEnd> {
        match self.headers(&head.headers) {
            Some(outcome) => Verdict::Now(outcome),
            None if head.status != StatusCode::OK => {
                Verdict::Now(self.outcome(code_for_http(head.status)))
            }
            None => Verdict::AtEnd(GrpcEnd(*self)),
        }
    }

    fn fault(&self, head: &Parts) -> Option<Fault> {
        match head.headers.get(Status::GRPC_STATUS) {
            Some(_) => fault(&head.headers),
            None => matches!(head.status.as_u16(), 502..=504).then_some(Fault::Gateway),
        }
    }

    fn error(&self, error: &E) -> Outcome {
        self.error_outcome(error)
    }

    fn retry_after(&self, head: &Parts) -> Option<Duration> {
        if head.status == StatusCode::OK {
            wait_after_failure(&head.headers)
        } else {
            retry_after(&head.headers)
        }
    }
}

/// Judges a result of a generated client's method, for [`AtResult`](crate::AtResult).
impl<R> Classify<R, Status> for GrpcStatus {
    fn classify(&self, result: Result<&R, &Status>) -> Outcome {
        match result {
            Ok(_) => Outcome::Success,
            Err(status) => self.error_outcome(status),
        }
    }

    fn retry_after(&self, result: Result<&R, &Status>) -> Option<Duration> {
        result.err().and_then(|status| {
            // A refusal of ours is no word of the server's.
            if Rejection::find(status).is_some() { None } else { wait(status_pushback(status)) }
        })
    }
}

/// Judges the trailers of a gRPC response.
#[derive(Clone, Copy, Debug)]
pub struct GrpcEnd(GrpcStatus);

impl ClassifyEnd for GrpcEnd {
    const ANSWERED_BY_HEAD: bool = false;

    fn fault(&self, end: &BodyEnd<'_>) -> Option<Fault> {
        match end {
            BodyEnd::Trailers(trailers) => fault(trailers),
            _ => None,
        }
    }

    fn end(self, end: BodyEnd<'_>) -> Option<Outcome> {
        let unknown = self.0.outcome(Code::Unknown);
        match end {
            BodyEnd::Trailers(trailers) => Some(self.0.headers(trailers).unwrap_or(unknown)),
            BodyEnd::Complete => Some(unknown),
            BodyEnd::Error => Some(Outcome::Failure),
            BodyEnd::Dropped => None,
        }
    }

    fn retry_after(trailers: &HeaderMap) -> Option<Duration> {
        wait_after_failure(trailers)
    }

    fn sanitize(headers: &mut HeaderMap) {
        if headers.contains_key(Status::GRPC_STATUS_DETAILS) {
            remove_undecodable_details(headers);
        }
    }
}

fn remove_undecodable_details(headers: &mut HeaderMap) {
    // tonic's own decoder is asked, so that the two cannot disagree on alphabet or padding.
    let metadata = MetadataMap::from_headers(std::mem::take(headers));
    let decodable = metadata
        .get_bin(Status::GRPC_STATUS_DETAILS.as_str())
        .is_none_or(|details| details.to_bytes().is_ok());
    *headers = metadata.into_headers();
    if !decodable {
        headers.remove(Status::GRPC_STATUS_DETAILS);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn judge(status: &Status) -> Outcome {
        Classify::<(), _>::classify(&GrpcStatus::new(), Err(status))
    }

    #[test]
    fn a_cancellation_is_a_failure_when_a_broken_connection_made_it() {
        assert_eq!(judge(&Status::cancelled("by the server")), Outcome::Ignored);
        let mut broken = Status::cancelled("operation was canceled");
        broken.set_source(Arc::new(std::io::Error::from(std::io::ErrorKind::ConnectionReset)));
        assert_eq!(judge(&broken), Outcome::Failure);
        let mut by_caller = Status::cancelled("operation was canceled");
        by_caller.set_source(Arc::new(Status::cancelled("client cancelled")));
        assert_eq!(judge(&by_caller), Outcome::Ignored);
        assert_eq!(judge(&Status::cancelled("Timeout expired")), Outcome::Failure);
    }

    #[test]
    fn each_code_is_judged_as_the_table_says_unless_it_is_changed() {
        for code in (0..=16).map(Code::from_i32) {
            let expected = match code {
                Code::Unavailable
                | Code::DeadlineExceeded
                | Code::Internal
                | Code::Unknown
                | Code::DataLoss => Outcome::Failure,
                Code::Cancelled => Outcome::Ignored,
                _ => Outcome::Success,
            };
            assert_eq!(GrpcStatus::new().outcome(code), expected, "{code:?}");
            for changed in [Outcome::Success, Outcome::Failure, Outcome::Ignored] {
                let status = GrpcStatus::new().code(code, changed);
                assert_eq!(status.outcome(code), changed, "{code:?}");
            }
        }
    }
}
