//! HTTP responses from fallbacks.

use http::{HeaderMap, Method, StatusCode, header};
use reqwest::{Body, Request, Response, ResponseBuilderExt};
use seawall_core::reqwest::wrap_body;

use super::protocol::Http;
use crate::{
    fallback::{Answer, AnswerBody, Degrade, Key, Recorder, Responses, Whole},
    policy::Policy,
};

impl Degrade for Http {
    type Answer = Response;

    fn failure(response: &Response) -> Option<u16> {
        let status = response.status();
        let failed = status.as_u16() >= 500 || status == StatusCode::TOO_MANY_REQUESTS;
        failed.then_some(status.as_u16())
    }

    fn is_expired(_error: &reqwest::Error) -> bool {
        false
    }

    fn sent(response: Response) -> Response {
        response
    }

    fn recorded(
        response: Response,
        responses: &Responses,
        key: impl FnOnce() -> Option<Key> + Send + Sync + 'static,
    ) -> Response {
        if !may_be_kept(response.status(), response.headers(), responses) {
            return response;
        }
        let recorder = Recorder::new(responses, response.status(), response.headers(), key);
        wrap_body(response, |_, body| {
            // A body that is empty is never asked for a frame.
            if http_body::Body::is_end_stream(&body) {
                recorder.end(None);
                return body;
            }
            Body::wrap(AnswerBody::recorded(body, recorder, |_| true))
        })
    }

    fn whole(kept: &Self::Kept, whole: Whole) -> Response {
        let answer = Answer { status: whole.status, headers: whole.headers, body: whole.body };
        Self::answer(kept, answer)
    }

    fn answer(kept: &Self::Kept, answer: Answer) -> Response {
        let url = kept.request().url().clone();
        let mut response = http::Response::new(answer.body);
        if let Ok(with_url) = http::Response::builder().url(url).body(()) {
            *response.extensions_mut() = with_url.into_parts().0.extensions;
        }
        *response.status_mut() = answer.status;
        *response.headers_mut() = answer.headers;
        response.into()
    }

    fn extensions(answer: &mut Response) -> &mut http::Extensions {
        answer.extensions_mut()
    }

    fn method(kept: &Self::Kept) -> Method {
        kept.request().method().clone()
    }

    fn path(kept: &Self::Kept) -> &str {
        kept.request().url().path()
    }

    fn again(kept: &Self::Kept) -> Option<Request> {
        kept.attempt()
    }

    fn reads(&self, kept: &Self::Kept, _policy: &Policy) -> bool {
        let request = kept.request();
        matches!(*request.method(), Method::GET | Method::HEAD)
            && !kept.has_body
            && !request.headers().contains_key(header::RANGE)
    }

    fn key(kept: &Self::Kept, responses: &Responses) -> Option<Key> {
        let request = kept.request();
        let key = Key::default().with(request.method().as_str().as_bytes());
        let key = key.with(request.url().as_str().as_bytes());
        Some(key.with_headers(request.headers(), responses.vary()))
    }
}

/// RFC 9111, sections 3 and 4.2.4, as far as a cache of one client goes.
fn may_be_kept(status: StatusCode, headers: &HeaderMap, responses: &Responses) -> bool {
    let words = |name| {
        let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|value| value.split(',')).map(str::trim)
    };
    status.is_success()
        && status != StatusCode::PARTIAL_CONTENT
        && !words(header::CACHE_CONTROL).any(|word| {
            word.eq_ignore_ascii_case("no-store") || word.eq_ignore_ascii_case("must-revalidate")
        })
        && words(header::VARY).all(|word| {
            responses.vary().iter().any(|name| word.eq_ignore_ascii_case(name.as_str()))
        })
}
