//! gRPC: what a status says about the server, and refusals as a [`Status`].

use std::{
    error::Error as StdError,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use ::http::{HeaderMap, StatusCode, response::Parts};
use ::tonic::{Code, Status, TimeoutExpired, metadata::MetadataMap};
use pin_project_lite::pin_project;
use tonic_types::{ErrorDetails, StatusExt};
use tower_service::Service;

use crate::{
    BoxError, Classify, Outcome, Reason, Rejection,
    classify::error_outcome,
    http::{BodyEnd, ClassifyBody, ClassifyEnd, Verdict},
};

/// The metadata with which a server says when to try again, in milliseconds; negative means never
/// ([gRFC A6](https://github.com/grpc/proposal/blob/master/A6-client-retries.md)).
const PUSHBACK: &str = "grpc-retry-pushback-ms";

/// What tonic's own time-out layer says, on either side of the wire.
const TIMEOUT_MESSAGE: &[u8] = b"Timeout expired";

/// Judges a gRPC call by its status code, wherever that stands: in the headers of a trailers-only
/// response, in the trailers, or in the error that the channel gave.
///
/// | code | outcome |
/// |---|---|
/// | UNAVAILABLE, DEADLINE_EXCEEDED, INTERNAL, UNKNOWN, DATA_LOSS | failure |
/// | RESOURCE_EXHAUSTED | success, unless changed with [`code`](Self::code) |
/// | CANCELLED | failure when tonic's own time-out made it, else ignored |
/// | all others, such as NOT_FOUND | success: the server did its work |
///
/// A response that ends without a status is UNKNOWN; one that is not even HTTP 200 is mapped as
/// [gRPC says](https://github.com/grpc/grpc/blob/master/doc/http-grpc-status-mapping.md). A body that
/// is dropped before its trailers is an abandoned call, and a body that fails is a failure.
///
/// Codes are read from the raw bytes: no header, however hostile, makes it panic.
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
            Some(status) => {
                let timed_out = find::<TimeoutExpired>(error).is_some()
                    || status.message().as_bytes() == TIMEOUT_MESSAGE;
                if timed_out { Outcome::Failure } else { self.outcome(Code::Cancelled) }
            }
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

    fn error(&self, error: &E) -> Outcome {
        self.error_outcome(error)
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
}

/// Judges the trailers of a gRPC response.
#[derive(Clone, Copy, Debug)]
pub struct GrpcEnd(GrpcStatus);

impl ClassifyEnd for GrpcEnd {
    const ANSWERED_BY_HEAD: bool = false;

    fn end(self, end: BodyEnd<'_>) -> Option<Outcome> {
        let unknown = self.0.outcome(Code::Unknown);
        match end {
            BodyEnd::Trailers(trailers) => Some(self.0.headers(trailers).unwrap_or(unknown)),
            BodyEnd::Complete => Some(unknown),
            BodyEnd::Error => Some(Outcome::Failure),
            BodyEnd::Dropped => None,
        }
    }
}

/// `rejection` as a status: UNAVAILABLE, RESOURCE_EXHAUSTED or DEADLINE_EXCEEDED.
///
/// The wait stands in `grpc-retry-pushback-ms` and in `google.rpc.RetryInfo`, where it is known; a
/// refusal for ever is a pushback of -1. The rejection is the status's `source()`.
pub fn rejection_status(rejection: &Rejection) -> Status {
    let code = match rejection.reason() {
        Reason::CircuitOpen | Reason::NoEndpoint => Code::Unavailable,
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

/// Turns the errors of a channel into a [`Status`], so that a generated client shows a refusal of
/// ours with the right code; the error is its `source()`.
///
/// The tonic adapters of the Seawall crates end in one of these.
#[derive(Clone, Copy, Debug)]
pub struct StatusService<S> {
    inner: S,
}

impl<S> StatusService<S> {
    /// Wraps `inner`.
    pub fn new(inner: S) -> Self {
        Self { inner }
    }

    /// The service inside.
    pub fn inner(&self) -> &S {
        &self.inner
    }
}

impl<S, Req> Service<Req> for StatusService<S>
where
    S: Service<Req>,
    S::Error: Into<BoxError>,
{
    type Response = S::Response;
    type Error = Status;
    type Future = StatusFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        self.inner.poll_ready(cx).map_err(|error| error_status(error.into()))
    }

    fn call(&mut self, request: Req) -> Self::Future {
        StatusFuture { inner: self.inner.call(request) }
    }
}

pin_project! {
    /// The future of a [`StatusService`].
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct StatusFuture<F> {
        #[pin]
        inner: F,
    }
}

impl<F, R, E> Future for StatusFuture<F>
where
    F: Future<Output = Result<R, E>>,
    E: Into<BoxError>,
{
    type Output = Result<R, Status>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let result = ready!(self.project().inner.poll(cx));
        Poll::Ready(result.map_err(|error| error_status(error.into())))
    }
}
