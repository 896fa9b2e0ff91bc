//! What is particular to gRPC in a call.

use std::{marker::PhantomData, sync::Arc, time::Duration};

use http::{Request, Response, StatusCode};
use http_body::Body;
use seawall_core::{BoxError, Error as Layered, tonic::pushback};
use seawall_load_balance::Tried;
use tonic::{Code, Status, transport};

use super::{conditions, kept::KeptCall, methods::Methods, resend::Attempt, timeout};
use crate::{
    Error,
    deadline::{Deadline, DeadlineBody},
    first_frame::{Beginning, FirstFrame},
    policy::{Policy, Priority},
    protocol::Protocol,
    verdict::{RESET, Verdict},
};

pub(crate) struct Grpc<B> {
    pub(crate) methods: Arc<Methods>,
    pub(crate) body: PhantomData<fn() -> B>,
}

impl<B> Protocol for Grpc<B>
where
    B: Body + Unpin + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError> + Send,
{
    type Request = Request<tonic::body::Body>;
    type Kept = Arc<KeptCall>;
    type Attempt = Attempt;
    type Head = Response<B>;
    type Begun = Response<FirstFrame<B>>;
    type Response = Response<DeadlineBody<FirstFrame<B>>>;
    type BalancerError = Layered<Layered<Layered<transport::Error>>>;
    type Error = transport::Error;

    fn priority(&self, request: &Self::Request) -> Option<Priority> {
        request.extensions().get().copied()
    }

    fn limit(&self, request: &Self::Request) -> Option<Duration> {
        timeout::read(request.headers())
    }

    fn keep(&self, request: Self::Request, deadline: Option<Deadline>) -> Self::Kept {
        Arc::new(KeptCall::new(request, deadline))
    }

    fn attempt(&self, kept: &Self::Kept, tried: &Tried) -> Option<Attempt> {
        Some(Attempt { first: kept.attempt()?, kept: kept.clone(), tried: tried.clone() })
    }

    fn is_idempotent(&self, kept: &Self::Kept, policy: &Policy) -> bool {
        policy.lists(kept.path()) || self.methods.is_idempotent(kept.path())
    }

    async fn begin(&self, head: Response<B>, first_frame: bool) -> (Self::Begun, Verdict) {
        if let Some(status) = head.headers().get(Status::GRPC_STATUS) {
            let failures = conditions::code(Code::from_bytes(status.as_bytes()));
            let verdict = Verdict::failed(failures).pushed_back(pushback(head.headers()));
            return (head.map(FirstFrame::unread), verdict);
        }
        if head.status() != StatusCode::OK {
            // No gRPC server says this, but a gateway before one.
            let verdict = Verdict::failed(conditions::gateway(head.status()));
            let verdict = verdict.with_status(head.status().as_u16());
            return (head.map(FirstFrame::unread), verdict);
        }
        if !first_frame {
            return (head.map(FirstFrame::unread), Verdict::FINAL);
        }
        let (head, body) = head.into_parts();
        let body = FirstFrame::read(body).await;
        let verdict = match body.beginning() {
            Beginning::Data => Verdict::FINAL,
            Beginning::Error | Beginning::End(None) => Verdict::failed(RESET),
            Beginning::End(Some(trailers)) => {
                Verdict::failed(conditions::trailers(trailers)).pushed_back(pushback(trailers))
            }
        };
        (Response::from_parts(head, body), verdict)
    }

    fn bound(&self, begun: Self::Begun, deadline: Option<Deadline>) -> Self::Response {
        begun.map(|body| DeadlineBody::new(body, deadline, expired))
    }

    fn error(&self, error: Self::BalancerError) -> (Error<transport::Error>, Verdict) {
        match error.flatten().flatten().into_inner() {
            Ok(error) => {
                let failures = conditions::transport(&error);
                (Error::Transport(error), Verdict::failed(failures))
            }
            Err(rejection) => {
                let verdict = Verdict::rejected(&rejection);
                (Error::Rejected(rejection), verdict)
            }
        }
    }
}

fn expired(limit: Duration) -> BoxError {
    super::timed_out(Error::TimedOut(limit)).into()
}
