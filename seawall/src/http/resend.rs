//! How an attempt goes to another endpoint when its first one cannot be reached.

use std::sync::Arc;

use reqwest::Request;
use seawall_core::{Error as Layered, Rejection};
use seawall_load_balance::{JudgeUnsent, Resend, Tried, Unsent};

use super::{conditions, kept::KeptCall};
use crate::verdict::UNSENT;

/// What the balancer takes for one attempt of a call. All attempts share what the call keeps.
pub(crate) struct Attempt {
    pub(crate) first: Request,
    pub(crate) kept: Arc<KeptCall>,
    pub(crate) tried: Tried,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct ResendAttempt;

impl Resend<Attempt> for ResendAttempt {
    type Kept = Arc<KeptCall>;
    type Sent = Request;

    fn first(&self, attempt: Attempt) -> (Request, Self::Kept) {
        (attempt.first, attempt.kept)
    }

    fn again(&self, kept: &mut Self::Kept) -> Option<Request> {
        kept.attempt()
    }

    fn tried(&self, attempt: &Attempt) -> Option<Tried> {
        Some(attempt.tried.clone())
    }
}

impl JudgeUnsent<Layered<Layered<reqwest::Error>>> for ResendAttempt {
    fn unsent(&self, error: &Layered<Layered<reqwest::Error>>) -> Unsent {
        match error {
            Layered::Inner(Layered::Inner(error)) if conditions::transport(error) == UNSENT => {
                Unsent::NoConnection
            }
            error => match Rejection::find(error) {
                Some(rejection) => Unsent::Rejected(rejection.retry_after()),
                None => Unsent::No,
            },
        }
    }
}
