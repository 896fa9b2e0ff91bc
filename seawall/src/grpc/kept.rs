//! What is kept of a call, to make its attempts from.

use http::Request;
use seawall_core::http::ReplayRequest;
use tonic::body::Body;

use super::timeout;
use crate::deadline::Deadline;

pub(crate) struct KeptCall {
    request: ReplayRequest<Body>,
    deadline: Option<Deadline>,
}

impl KeptCall {
    pub(super) fn new(request: Request<Body>, deadline: Option<Deadline>) -> Self {
        Self { request: ReplayRequest::new(request), deadline }
    }

    pub(super) fn path(&self) -> &str {
        self.request.head().uri().path()
    }

    /// The request as it is sent now: it tells the server what is left of the deadline.
    pub(super) fn attempt(&self) -> Option<Request<Body>> {
        let mut request = self.request.attempt()?;
        if let Some(deadline) = self.deadline {
            timeout::write(request.headers_mut(), deadline.left());
        }
        Some(request.map(Body::new))
    }
}
