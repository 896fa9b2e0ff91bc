//! What is particular to gRPC in a call.

use std::{marker::PhantomData, sync::Arc};

use http::{Request, Response};
use http_body::Body;
use seawall_core::{Error as Layered, http::ReplayRequest};
use seawall_load_balance::Tried;
use tonic::{Code, Status, transport};

use super::{conditions, resend::Attempt};
use crate::{
    Error,
    call::{Protocol, RESET, rejection_conditions},
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
            let failures = conditions::code(Code::from_bytes(status.as_bytes()));
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
            Beginning::End(trailers) => trailers.map_or(RESET, conditions::trailers),
        };
        (Response::from_parts(head, body), failures)
    }

    fn error(&self, error: Self::BalancerError) -> (Error<transport::Error>, &'static [RetryOn]) {
        match error.flatten().into_inner() {
            Ok(error) => {
                let failures = conditions::transport(&error);
                (Error::Transport(error), failures)
            }
            Err(rejection) => {
                let failures = rejection_conditions(&rejection);
                (Error::Rejected(rejection), failures)
            }
        }
    }
}
