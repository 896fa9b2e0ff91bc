//! How a request is kept, so that another endpoint can have it.

use std::{sync::Arc, time::Duration};

use crate::{HashKey, Tried};

/// Says how requests are kept and sent again.
///
/// A balancer sends a request again only when its first endpoint surely did nothing with it: see
/// [`Unsent`]. Retries of what may have reached a server belong to a retry layer around it.
pub trait Resend<Req> {
    /// What is kept of a request.
    type Kept;
    /// What the services of the endpoints are called with.
    type Sent;

    /// The request for the first attempt, and what is kept of it.
    fn first(&self, request: Req) -> (Self::Sent, Self::Kept);

    /// The request for one more attempt, if it can be sent again.
    fn again(&self, kept: &mut Self::Kept) -> Option<Self::Sent>;

    /// The endpoints that earlier attempts of the same call have used, if the request says.
    fn tried(&self, _request: &Req) -> Option<Tried> {
        None
    }

    /// What keeps the call together with others, if the request says.
    fn key(&self, _request: &Req) -> Option<HashKey> {
        None
    }

    /// The subset of a [`Split`](crate::Split) that the request names, if it does.
    fn subset(&self, _request: &Req) -> Option<Arc<str>> {
        None
    }
}

/// Tells errors after which a request may go to another endpoint, because this one did nothing
/// with it.
pub trait JudgeUnsent<E> {
    /// Whether `error` proves that the request was not sent.
    fn unsent(&self, error: &E) -> Unsent;
}

/// Whether a request that failed had left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsent {
    /// It may have: the caller gets the error.
    No,
    /// There was no connection to send it on. Counts as the endpoint's failure.
    NoConnection,
    /// A layer of ours in front of the endpoint refused it, and knows or does not know when it will
    /// not. Counts as nobody's failure.
    Rejected(Option<Duration>),
}

/// Sends each request once. Costs nothing, and asks nothing of requests and errors.
#[derive(Clone, Copy, Debug, Default)]
pub struct Once;

impl<Req> Resend<Req> for Once {
    type Kept = ();
    type Sent = Req;

    fn first(&self, request: Req) -> (Req, ()) {
        (request, ())
    }

    fn again(&self, (): &mut ()) -> Option<Req> {
        None
    }
}

impl<E> JudgeUnsent<E> for Once {
    fn unsent(&self, _: &E) -> Unsent {
        Unsent::No
    }
}

/// Sends clones of each request, and tells refusals by layers of ours from other errors.
///
/// The request is cloned once for each attempt but the last possible one.
#[derive(Clone, Copy, Debug, Default)]
pub struct CloneRequest;

impl<Req: Clone> Resend<Req> for CloneRequest {
    type Kept = Req;
    type Sent = Req;

    fn first(&self, request: Req) -> (Req, Req) {
        (request.clone(), request)
    }

    fn again(&self, kept: &mut Req) -> Option<Req> {
        Some(kept.clone())
    }
}

impl<E: std::error::Error + 'static> JudgeUnsent<E> for CloneRequest {
    fn unsent(&self, error: &E) -> Unsent {
        rejected(error).unwrap_or(Unsent::No)
    }
}

/// The refusal by a layer of ours in `error`, if there is one.
pub(crate) fn rejected(error: &(dyn std::error::Error + 'static)) -> Option<Unsent> {
    let rejection = seawall_core::Rejection::find(error)?;
    Some(Unsent::Rejected(rejection.retry_after()))
}
