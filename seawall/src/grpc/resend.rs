//! How an attempt goes to another endpoint when its first one cannot be reached.

use std::sync::Arc;

use http::Request;
use seawall_core::{
    Error as Layered, Rejection,
    http::{ReplayBody, ReplayRequest},
};
use seawall_load_balance::{JudgeUnsent, Resend, Tried, Unsent};
use tonic::{body::Body, transport};

use super::conditions;
use crate::call::UNSENT;

/// What the balancer takes for one attempt of a call. All attempts share what the call keeps.
pub(crate) struct Attempt {
    pub(crate) first: Request<ReplayBody<Body>>,
    pub(crate) kept: Arc<ReplayRequest<Body>>,
    pub(crate) tried: Tried,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct ResendAttempt;

impl Resend<Attempt> for ResendAttempt {
    type Kept = Arc<ReplayRequest<Body>>;
    type Sent = Request<Body>;

    fn first(&self, attempt: Attempt) -> (Request<Body>, Self::Kept) {
        (attempt.first.map(Body::new), attempt.kept)
    }

    fn again(&self, kept: &mut Self::Kept) -> Option<Request<Body>> {
        Some(kept.attempt()?.map(Body::new))
    }

    fn tried(&self, attempt: &Attempt) -> Option<Tried> {
        Some(attempt.tried.clone())
    }
}

impl JudgeUnsent<Layered<transport::Error>> for ResendAttempt {
    fn unsent(&self, error: &Layered<transport::Error>) -> Unsent {
        match error {
            Layered::Inner(error) if conditions::transport(error) == UNSENT => Unsent::NoConnection,
            error => match Rejection::find(error) {
                Some(rejection) => Unsent::Rejected(rejection.retry_after()),
                None => Unsent::No,
            },
        }
    }
}
