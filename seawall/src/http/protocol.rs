//! What is particular to HTTP in a call.

use std::sync::Arc;

use http::Method;
use reqwest::{Body, Request, Response};
use seawall_core::{
    Error as Layered,
    reqwest::{ReplayRequest, into_http},
};
use seawall_load_balance::Tried;

use super::{conditions, resend::Attempt};
use crate::{
    Error,
    call::{Protocol, RESET, rejection_conditions},
    first_frame::{Beginning, FirstFrame},
    policy::{Policy, RetryOn},
};

/// A request that says of itself that it may be done twice, whatever its method
/// (draft-ietf-httpapi-idempotency-key-header).
const IDEMPOTENCY_KEY: &str = "idempotency-key";

#[derive(Clone, Copy, Debug)]
pub(crate) struct Http;

impl Protocol for Http {
    type Request = Request;
    type Kept = Arc<ReplayRequest>;
    type Attempt = Attempt;
    type Head = Response;
    type Response = Response;
    type BalancerError = Layered<Layered<reqwest::Error>>;
    type Error = reqwest::Error;

    fn keep(&self, request: Request) -> Arc<ReplayRequest> {
        Arc::new(ReplayRequest::new(request))
    }

    fn attempt(&self, kept: &Arc<ReplayRequest>, tried: &Tried) -> Option<Attempt> {
        Some(Attempt { first: kept.attempt()?, kept: kept.clone(), tried: tried.clone() })
    }

    fn is_idempotent(&self, kept: &Arc<ReplayRequest>, _policy: &Policy) -> bool {
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

    async fn begin(&self, head: Response, first_frame: bool) -> (Response, &'static [RetryOn]) {
        let failures = conditions::status(head.status());
        if !failures.is_empty() || !first_frame {
            return (head, failures);
        }
        let (head, body) = into_http(head).into_parts();
        let body = FirstFrame::read(body).await;
        let failures = match body.beginning() {
            Beginning::Error => RESET,
            Beginning::Data | Beginning::End(_) => &[],
        };
        (http::Response::from_parts(head, Body::wrap(body)).into(), failures)
    }

    fn error(&self, error: Self::BalancerError) -> (Error<reqwest::Error>, &'static [RetryOn]) {
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
