//! gRPC responses from fallbacks.

use std::{
    pin::Pin,
    task::{Context, Poll, Waker},
};

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, header};
use http_body::Body;
use seawall_core::BoxError;
use tonic::{Code, Status, metadata::GRPC_CONTENT_TYPE};

use super::{conditions, protocol::Grpc, timeout};
use crate::{
    deadline::DeadlineBody,
    fallback::{Answer, AnswerBody, Degrade, Key, Recorder, Responses, Whole},
    first_frame::{Beginning, FirstFrame},
    policy::Policy,
};

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");

impl<B> Degrade for Grpc<B>
where
    B: Body<Data = Bytes> + Unpin + Send + 'static,
    B::Error: Into<BoxError> + Send,
{
    type Answer = Response<AnswerBody<DeadlineBody<FirstFrame<B>>>>;

    fn failure(response: &Self::Response) -> Option<u16> {
        let code = match response.headers().get(Status::GRPC_STATUS) {
            Some(status) => Code::from_bytes(status.as_bytes()),
            None => match response.body().inner().map(FirstFrame::beginning) {
                Some(Beginning::Error | Beginning::End(None)) => Code::Unknown,
                Some(Beginning::End(Some(trailers))) => match trailers.get(Status::GRPC_STATUS) {
                    Some(status) => Code::from_bytes(status.as_bytes()),
                    None => Code::Unknown,
                },
                Some(Beginning::Data) | None => Code::Ok,
            },
        };
        let failed = matches!(
            code,
            Code::Unavailable
                | Code::DeadlineExceeded
                | Code::Internal
                | Code::Unknown
                | Code::DataLoss
                | Code::ResourceExhausted
        );
        failed.then_some(code as u16)
    }

    fn is_expired(error: &Self::Error) -> bool {
        conditions::is_expired(error)
    }

    fn sent(response: Self::Response) -> Self::Answer {
        response.map(AnswerBody::sent)
    }

    fn recorded(
        response: Self::Response,
        responses: &Responses,
        key: impl FnOnce() -> Option<Key> + Send + Sync + 'static,
    ) -> Self::Answer {
        let recorder = Recorder::new(responses, response.status(), response.headers(), key);
        response.map(|body| AnswerBody::recorded(body, recorder, is_ok))
    }

    fn whole(_kept: &Self::Kept, whole: Whole) -> Self::Answer {
        let mut response = Response::new(AnswerBody::given(whole.body, whole.trailers));
        *response.status_mut() = whole.status;
        *response.headers_mut() = whole.headers;
        response
    }

    fn answer(_kept: &Self::Kept, answer: Answer) -> Self::Answer {
        let mut framed = BytesMut::with_capacity(answer.body.len() + 5);
        framed.put_u8(0);
        // A message that does not fit could not be sent by any server either.
        framed.put_u32(answer.body.len().try_into().unwrap_or(u32::MAX));
        framed.put(answer.body);
        let trailers = HeaderMap::from_iter([(GRPC_STATUS, HeaderValue::from_static("0"))]);
        let mut response = Response::new(AnswerBody::given(framed.freeze(), Some(trailers)));
        *response.headers_mut() = answer.headers;
        response.headers_mut().insert(header::CONTENT_TYPE, GRPC_CONTENT_TYPE);
        response
    }

    fn extensions(answer: &mut Self::Answer) -> &mut http::Extensions {
        answer.extensions_mut()
    }

    fn method(_kept: &Self::Kept) -> Method {
        Method::POST
    }

    fn path(kept: &Self::Kept) -> &str {
        kept.path()
    }

    fn again(kept: &Self::Kept) -> Option<Request<tonic::body::Body>> {
        let mut request = kept.attempt()?;
        timeout::remove(request.headers_mut());
        Some(request)
    }

    fn reads(&self, kept: &Self::Kept, policy: &Policy) -> bool {
        policy.lists(kept.path()) || self.methods.reads(kept.path())
    }

    fn key(kept: &Self::Kept, responses: &Responses) -> Option<Key> {
        let (head, mut body) = kept.attempt()?.into_parts();
        let mut key = Key::default().with(head.uri.path().as_bytes());
        key = key.with_headers(&head.headers, responses.vary());
        // What is not there yet is a stream that others may go on with.
        let mut cx = Context::from_waker(Waker::noop());
        let mut messages = BytesMut::new();
        loop {
            match Pin::new(&mut body).poll_frame(&mut cx) {
                Poll::Ready(None) => return Some(key.with(&messages)),
                Poll::Ready(Some(Ok(frame))) => {
                    messages.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data));
                    if messages.len() > responses.longest_key() {
                        return None;
                    }
                }
                Poll::Ready(Some(Err(_))) | Poll::Pending => return None,
            }
        }
    }
}

fn is_ok(trailers: Option<&HeaderMap>) -> bool {
    trailers.and_then(|trailers| trailers.get(GRPC_STATUS)).is_some_and(|status| status == "0")
}
