//! reqwest: responses that are tracked to the end of their body, requests that can be sent again,
//! and refusals through `reqwest_middleware`.
//!
//! A `reqwest::Client` is a tower service, so the layers of the Seawall crates go around it as they
//! are; [`AtBodyEnd`] of an [`HttpStatus`](crate::http::HttpStatus) follows its responses. For a
//! `ClientWithMiddleware`, their middlewares answer with [`middleware_error`], and [`rejection`]
//! finds the refusal in what the caller gets.
//!
//! # Examples
//!
//! ```
//! use seawall_core::{Error, Reason, Rejection, reqwest::{middleware_error, rejection}};
//!
//! // In a `Middleware` that refuses:
//! let error = middleware_error(Rejection::new(Reason::LimitReached).into());
//! // In its caller:
//! assert_eq!(rejection(&error).map(Rejection::reason), Some(Reason::LimitReached));
//! ```

use std::{error::Error as StdError, fmt};

use ::http::response::Parts;
use ::reqwest::{Body, Request, Response, ResponseBuilderExt};

use crate::{
    Error, Guard, Rejection, Track,
    classify::tell,
    http::{AtBodyEnd, ClassifyBody, ClassifyEnd, Replay, TrackedBody, tell_head},
};

/// The response keeps its URL, its extensions and its remote address.
///
/// # Cost
///
/// A few small allocations: reqwest boxes a body whenever it is put into one of its types, and the
/// URL is cloned.
impl<E, G, C> Track<Response, E, G> for AtBodyEnd<C>
where
    G: Guard + Send + Sync + 'static,
    C: ClassifyBody<E>,
    C::End: Send + Sync + 'static,
{
    type Response = Response;

    fn track(&self, result: Result<Response, E>, mut guard: G) -> Result<Response, E> {
        match result {
            Ok(mut response) => {
                C::End::sanitize(response.headers_mut());
                Ok(wrap_body(response, |head, body| {
                    let verdict = tell_head(&self.0, head, &mut guard);
                    Body::wrap(TrackedBody::new(body, guard, verdict))
                }))
            }
            Err(error) => {
                tell(guard, self.0.error(&error), None, false);
                Err(error)
            }
        }
    }
}

/// `response` with another body; its URL, extensions and remote address stay.
pub fn wrap_body(response: Response, wrap: impl FnOnce(&Parts, Body) -> Body) -> Response {
    let (head, body) = into_http(response).into_parts();
    let body = wrap(&head, body);
    ::http::Response::from_parts(head, body).into()
}

/// `response` taken apart such that `Response::from` puts it together again, with its URL, its
/// extensions and its remote address.
pub fn into_http(response: Response) -> ::http::Response<Body> {
    let url = response.url().clone();
    let mut response = ::http::Response::<Body>::from(response);
    // reqwest takes the URL of a response that is put together from an extension which only a
    // builder can make; the remote address is an extension too, and still there.
    if let Ok(with_url) = ::http::Response::builder().url(url).body(()) {
        response.extensions_mut().extend(with_url.into_parts().0.extensions);
    }
    response
}

/// The rejection in an error of a `ClientWithMiddleware`, however deep: also inside `reqwest-retry`'s
/// error, which hides it from `source()`.
pub fn rejection(error: &reqwest_middleware::Error) -> Option<&Rejection> {
    match error {
        reqwest_middleware::Error::Reqwest(error) => Rejection::find(error),
        reqwest_middleware::Error::Middleware(error) => error.chain().find_map(rejection_at),
    }
}

fn rejection_at<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a Rejection> {
    match error.downcast_ref::<reqwest_middleware::Error>() {
        Some(nested) => rejection(nested),
        None => error.downcast_ref(),
    }
}

/// `error` for a `Middleware` to return, such that [`rejection`] and [`Rejection::find`] see a
/// refusal in it.
pub fn middleware_error(error: Error<reqwest_middleware::Error>) -> reqwest_middleware::Error {
    match error {
        // Two levels, because `source()` of a middleware error skips the first.
        Error::Rejected(rejection) => {
            reqwest_middleware::Error::middleware(Error::<ErrorInChain>::Rejected(rejection))
        }
        Error::Inner(error) => error,
    }
}

/// An error of a `ClientWithMiddleware` that shows its whole chain in `source()`, for classifiers
/// and layers that look for a [`Rejection`].
#[derive(Debug)]
pub struct ErrorInChain(reqwest_middleware::Error);

impl ErrorInChain {
    /// The error.
    pub fn into_inner(self) -> reqwest_middleware::Error {
        self.0
    }
}

impl From<reqwest_middleware::Error> for ErrorInChain {
    fn from(error: reqwest_middleware::Error) -> Self {
        Self(error)
    }
}

impl fmt::Display for ErrorInChain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl StdError for ErrorInChain {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match rejection(&self.0) {
            Some(rejection) => Some(rejection),
            None => Some(&self.0),
        }
    }
}

/// A request that can be sent again: by cloning it, or, where its body is a stream, by keeping what
/// was sent of it.
#[derive(Debug)]
pub struct ReplayRequest {
    /// Without a body when that is kept in `stream`.
    request: Request,
    stream: Option<Replay<Body>>,
}

impl ReplayRequest {
    /// Keeps `request`; of a streaming body, at most 64 KiB.
    pub fn new(mut request: Request) -> Self {
        let streams = request.body().is_some_and(|body| body.as_bytes().is_none());
        let stream = if streams { request.body_mut().take().map(Replay::new) } else { None };
        Self { request, stream }
    }

    /// The request for one more attempt, if its body can be sent again.
    pub fn attempt(&self) -> Option<Request> {
        let mut request = self.request.try_clone()?;
        if let Some(stream) = &self.stream {
            *request.body_mut() = Some(Body::wrap(stream.attempt()?));
        }
        Some(request)
    }

    /// The request that every attempt gets, without its body where that is a stream.
    pub fn request(&self) -> &Request {
        &self.request
    }
}
