//! What is kept of a call, to make its attempts from.

use http::{HeaderName, HeaderValue};
use reqwest::Request;
use seawall_core::reqwest::ReplayRequest;

use crate::deadline::Deadline;

pub(crate) struct KeptCall {
    request: ReplayRequest,
    pub(super) has_body: bool,
    /// The header that tells what is left of the deadline.
    deadline: Option<(HeaderName, Deadline)>,
}

impl KeptCall {
    pub(super) fn new(request: Request, deadline: Option<(HeaderName, Deadline)>) -> Self {
        let has_body = request.body().is_some();
        Self { request: ReplayRequest::new(request), has_body, deadline }
    }

    pub(super) fn request(&self) -> &Request {
        self.request.request()
    }

    /// The request as it is sent now.
    pub(super) fn attempt(&self) -> Option<Request> {
        let mut request = self.request.attempt()?;
        if let Some((name, deadline)) = &self.deadline {
            let left = u64::try_from(deadline.left().as_millis()).unwrap_or(u64::MAX);
            request.headers_mut().insert(name, HeaderValue::from(left));
        }
        Some(request)
    }
}
