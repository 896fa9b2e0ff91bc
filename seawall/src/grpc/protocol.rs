//! What is particular to gRPC in a call.

use std::{error::Error as StdError, marker::PhantomData, sync::Arc};

use http::{HeaderMap, Request, Response};
use http_body::Body;
use seawall_core::{Error as Layered, http::ReplayRequest};
use seawall_load_balance::Tried;
use tonic::{Code, Status, TimeoutExpired, transport};

use super::resend::Attempt;
use crate::{
    Error,
    call::{Protocol, RESET, TIMED_OUT, UNSENT, rejection_conditions},
    first_frame::{Beginning, FirstFrame},
    policy::{Policy, RetryOn},
};

pub(crate) struct Grpc<B>(pub(crate) PhantomData<fn() -> B>);

impl<B> Protocol for Grpc<B>
where
    B: Body + Unpin + Send + 'static,
    B::Data: Send,
    B::Error: Send,
{
    type Request = Request<tonic::body::Body>;
    type Kept = Arc<ReplayRequest<tonic::body::Body>>;
    type Attempt = Attempt;
    type Head = Response<B>;
    type Response = Response<FirstFrame<B>>;
    type BalancerError = Layered<Layered<transport::Error>>;
    type Error = transport::Error;

    fn keep(&self, request: Self::Request) -> Self::Kept {
        Arc::new(ReplayRequest::new(request))
    }

    fn attempt(&self, kept: &Self::Kept, tried: &Tried) -> Option<Attempt> {
        Some(Attempt { first: kept.attempt()?, kept: kept.clone(), tried: tried.clone() })
    }

    fn is_idempotent(&self, kept: &Self::Kept, policy: &Policy) -> bool {
        policy.lists(kept.head().uri().path())
    }

    async fn begin(
        &self,
        head: Response<B>,
        first_frame: bool,
    ) -> (Self::Response, &'static [RetryOn]) {
        if let Some(status) = head.headers().get(Status::GRPC_STATUS) {
            let failures = code_conditions(Code::from_bytes(status.as_bytes()));
            return (head.map(FirstFrame::unread), failures);
        }
        if !first_frame {
            return (head.map(FirstFrame::unread), &[]);
        }
        let (head, body) = head.into_parts();
        let body = FirstFrame::read(body).await;
        let failures = match body.beginning() {
            Beginning::Data => &[],
            Beginning::Error => RESET,
            Beginning::End(trailers) => trailers.map_or(RESET, trailer_conditions),
        };
        (Response::from_parts(head, body), failures)
    }

    fn error(&self, error: Self::BalancerError) -> (Error<transport::Error>, &'static [RetryOn]) {
        match error.flatten().into_inner() {
            Ok(error) => {
                let failures = transport_conditions(&error);
                (Error::Transport(error), failures)
            }
            Err(rejection) => {
                let failures = rejection_conditions(&rejection);
                (Error::Rejected(rejection), failures)
            }
        }
    }
}

fn trailer_conditions(trailers: &HeaderMap) -> &'static [RetryOn] {
    match trailers.get(Status::GRPC_STATUS) {
        Some(status) => code_conditions(Code::from_bytes(status.as_bytes())),
        None => RESET,
    }
}

fn code_conditions(code: Code) -> &'static [RetryOn] {
    match code {
        Code::Cancelled => &[RetryOn::Cancelled],
        Code::DeadlineExceeded => &[RetryOn::DeadlineExceeded],
        Code::Internal => &[RetryOn::Internal],
        Code::ResourceExhausted => &[RetryOn::ResourceExhausted],
        Code::Unavailable => &[RetryOn::Unavailable],
        _ => &[],
    }
}

/// What became of a call that the channel gave up.
pub(super) fn transport_conditions(error: &(dyn StdError + 'static)) -> &'static [RetryOn] {
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
