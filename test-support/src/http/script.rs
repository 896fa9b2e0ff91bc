//! What each path answers.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, StreamExt as _};
use http::header::{CONTENT_LENGTH, RETRY_AFTER};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::Incoming;

use crate::traffic::{InFlight, Traffic};

use super::connection::ResetSwitch;

type Body = UnsyncBoxBody<Bytes, io::Error>;

const CHUNK: &[u8] = b"seawall\n";
/// Between the last bytes and the break, so that the peer sees those before it.
const BEFORE_BREAK: Duration = Duration::from_millis(20);

#[derive(Clone, Debug)]
pub(super) struct Script {
    pub(super) server: SocketAddr,
    pub(super) traffic: Traffic,
    pub(super) path: Arc<Mutex<Option<String>>>,
}

impl Script {
    pub(super) async fn answer(
        self,
        request: Request<Incoming>,
        reset: ResetSwitch,
    ) -> Response<Body> {
        let guard = self.traffic.begin();
        let set = self.path.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let path = set.unwrap_or_else(|| request.uri().path().to_owned());
        let mut words = path.trim_start_matches('/').split('/');
        let name = words.next().unwrap_or_default();
        let mut number = || words.next().and_then(|word| word.parse::<u64>().ok()).unwrap_or(0);

        let mut response = match name {
            "ok" => full("ok"),
            "status" => retry_after(status(number()), number()),
            "delay" => {
                tokio::time::sleep(Duration::from_millis(number())).await;
                full("ok")
            }
            "hang" => std::future::pending().await,
            "bytes" => full(vec![b'x'; number() as usize]),
            "stream" => chunks(number(), Duration::ZERO),
            "trickle" => chunks(number(), Duration::from_millis(number())),
            "reset-after" => broken(number(), move || reset.pull()),
            "close-after" => broken(number(), || ()),
            "stall" => promised(1, stream::pending().boxed()),
            "empty" => with_status(full(""), StatusCode::NO_CONTENT),
            "echo" => Response::new(request.into_body().map_err(io::Error::other).boxed_unsync()),
            _ => status(404),
        };
        let server = self.server.to_string();
        if let Ok(server) = HeaderValue::from_str(&server) {
            response.headers_mut().insert("x-server", server);
        }
        response.map(|body| Guarded { body, _guard: guard }.boxed_unsync())
    }
}

fn full(body: impl Into<Bytes>) -> Response<Body> {
    Response::new(Full::new(body.into()).map_err(|never| match never {}).boxed_unsync())
}

fn with_status(mut response: Response<Body>, status: StatusCode) -> Response<Body> {
    *response.status_mut() = status;
    response
}

fn status(code: u64) -> Response<Body> {
    match u16::try_from(code).ok().and_then(|code| StatusCode::from_u16(code).ok()) {
        Some(status) => with_status(full(status.canonical_reason().unwrap_or("")), status),
        None => with_status(full("no such status"), StatusCode::BAD_REQUEST),
    }
}

/// Asks for that many seconds of rest, if for any.
fn retry_after(mut response: Response<Body>, seconds: u64) -> Response<Body> {
    if seconds > 0 {
        response.headers_mut().insert(RETRY_AFTER, seconds.into());
    }
    response
}

type Frames = stream::BoxStream<'static, io::Result<Frame<Bytes>>>;

fn chunks(count: u64, gap: Duration) -> Response<Body> {
    let frames = stream::iter(0..count).then(move |_| async move {
        if !gap.is_zero() {
            tokio::time::sleep(gap).await;
        }
        Ok(Frame::data(Bytes::from_static(CHUNK)))
    });
    Response::new(StreamBody::new(frames).boxed_unsync())
}

/// A body that says that it is `length` bytes long, whatever its frames do.
fn promised(length: u64, frames: Frames) -> Response<Body> {
    let mut response = Response::new(StreamBody::new(frames).boxed_unsync());
    response.headers_mut().insert(CONTENT_LENGTH, length.into());
    response
}

/// `sent` bytes of a body that should be longer, then an error.
fn broken(sent: u64, before: impl FnOnce() + Send + 'static) -> Response<Body> {
    let data = Frame::data(Bytes::from(vec![b'x'; sent as usize]));
    let end = stream::once(async move {
        tokio::time::sleep(BEFORE_BREAK).await;
        before();
        Err(io::Error::other("the script breaks the body here"))
    });
    promised(sent + 1_000, stream::iter([Ok(data)]).chain(end).boxed())
}

pin_project_lite::pin_project! {
    /// A body that is in flight until it is dropped.
    struct Guarded {
        #[pin]
        body: Body,
        _guard: InFlight,
    }
}

impl http_body::Body for Guarded {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        self.project().body.poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}
