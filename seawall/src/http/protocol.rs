//! What is particular to HTTP in a call.

use std::{sync::Arc, time::Duration};

use http::{HeaderName, Method};
use reqwest::{Body, Request, Response};
use seawall_core::{
    BoxError, Error as Layered, Retry,
    http::retry_after,
    reqwest::{into_http, wrap_body},
};
use seawall_load_balance::Tried;

use super::{conditions, kept::KeptCall, resend::Attempt};
use crate::{
    Error,
    deadline::{Deadline, DeadlineBody},
    first_frame::{Beginning, FirstFrame},
    policy::{Policy, Priority},
    protocol::Protocol,
    verdict::{RESET, Verdict},
};

/// A request that says of itself that it may be done twice, whatever its method
/// (draft-ietf-httpapi-idempotency-key-header).
const IDEMPOTENCY_KEY: &str = "idempotency-key";

#[derive(Clone, Debug)]
pub(crate) struct Http {
    pub(crate) deadline_header: Option<HeaderName>,
    /// A `reqwest::Request` has no extensions to say it in.
    pub(crate) priority: Option<Priority>,
}

impl Protocol for Http {
    type Request = Request;
    type Kept = Arc<KeptCall>;
    type Attempt = Attempt;
    type Head = Response;
    type Begun = Response;
    type Response = Response;
    type BalancerError = Layered<Layered<Layered<reqwest::Error>>>;
    type Error = reqwest::Error;

    fn priority(&self, _request: &Request) -> Option<Priority> {
        self.priority
    }

    /// reqwest's own time-out of a request counts for each attempt.
    fn limit(&self, _request: &Request) -> Option<Duration> {
        None
    }

    fn keep(&self, request: Request, deadline: Option<Deadline>) -> Arc<KeptCall> {
        Arc::new(KeptCall::new(request, self.deadline_header.clone().zip(deadline)))
    }

    fn attempt(&self, kept: &Arc<KeptCall>, tried: &Tried) -> Option<Attempt> {
        Some(Attempt { first: kept.attempt()?, kept: kept.clone(), tried: tried.clone() })
    }

    fn is_idempotent(&self, kept: &Arc<KeptCall>, _policy: &Policy) -> bool {
        let request = kept.request();
        // RFC 9110, section 9.2.2.
        let method = matches!(
            *request.method(),
            Method::GET
                | Method::HEAD
                | Method::OPTIONS
                | Method::TRACE
                | Method::PUT
                | Method::DELETE
        );
        method || request.headers().contains_key(IDEMPOTENCY_KEY)
    }

    async fn begin(&self, head: Response, first_frame: bool) -> (Response, Verdict) {
        let status = head.status();
        let failures = conditions::status(status);
        let mut verdict = Verdict::failed(failures);
        if status.is_client_error() || status.is_server_error() {
            let asked = retry_after(head.headers()).map_or(Retry::Unknown, Retry::After);
            verdict = verdict.pushed_back(asked).with_status(status.as_u16());
        }
        if !failures.is_empty() || !first_frame {
            return (head, verdict);
        }
        let (head, body) = into_http(head).into_parts();
        let body = FirstFrame::read(body).await;
        let verdict = match body.beginning() {
            Beginning::Error => Verdict::failed(RESET),
            Beginning::Data | Beginning::End(_) => verdict,
        };
        (http::Response::from_parts(head, Body::wrap(body)).into(), verdict)
    }

    fn bound(&self, begun: Response, deadline: Option<Deadline>) -> Response {
        if deadline.is_none() {
            return begun;
        }
        wrap_body(begun, |_, body| Body::wrap(DeadlineBody::new(body, deadline, expired)))
    }

    fn error(&self, error: Self::BalancerError) -> (Error<reqwest::Error>, Verdict) {
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
    Error::<reqwest::Error>::TimedOut(limit).into()
}
