//! Answering health checks.

#[cfg(feature = "tonic")]
mod grpc;

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header::CONTENT_TYPE};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use crate::ServerHealth;

#[cfg(feature = "tonic")]
pub use grpc::{GrpcHealth, Statuses};

/// Answers the health checks of an HTTP server from the health of its lease, and passes all other
/// requests on.
///
/// `GET` and `HEAD` of the path, `/health` unless set, are answered with 200 while the server is
/// passing or warning and with 503 else, with the state in one word as the body. Put it outside of
/// what refuses or delays: a limiter that refuses a health check takes a healthy server out. For a
/// tonic server see [`ServerHealth::grpc`].
///
/// # Examples
///
/// ```
/// use axum::Router;
/// use seawall_discovery::{HealthLayer, ServerHealth};
///
/// let health = ServerHealth::default();
/// let app: Router = Router::new().layer(HealthLayer::new(health.clone()));
/// assert_eq!(health.word(), "starting");
/// ```
#[derive(Clone, Debug)]
pub struct HealthLayer {
    health: ServerHealth,
    path: Arc<str>,
}

impl HealthLayer {
    /// Answers `/health` as `health` is.
    pub fn new(health: ServerHealth) -> Self {
        Self { health, path: "/health".into() }
    }

    /// Answers this path, such as `/readyz`.
    #[must_use]
    pub fn path(mut self, path: impl Into<Arc<str>>) -> Self {
        self.path = path.into();
        self
    }
}

impl<S> Layer<S> for HealthLayer {
    type Service = HealthService<S>;

    fn layer(&self, inner: S) -> HealthService<S> {
        HealthService { inner, layer: self.clone() }
    }
}

/// A server that answers health checks; see [`HealthLayer`].
///
/// # Cost
///
/// A comparison of the path for each request; no allocation.
#[derive(Clone, Debug)]
pub struct HealthService<S> {
    inner: S,
    layer: HealthLayer,
}

impl<S, A, B> Service<Request<A>> for HealthService<S>
where
    S: Service<Request<A>, Response = Response<B>>,
{
    type Response = Response<HealthBody<B>>;
    type Error = S::Error;
    type Future = HealthFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<A>) -> Self::Future {
        let asked = matches!(*request.method(), Method::GET | Method::HEAD)
            && request.uri().path() == &*self.layer.path;
        if asked {
            HealthFuture { kind: Kind::Answer { health: Some(self.layer.health.clone()) } }
        } else {
            HealthFuture { kind: Kind::Pass { inner: self.inner.call(request) } }
        }
    }
}

pin_project! {
    /// The future of a [`HealthService`].
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct HealthFuture<F> {
        #[pin]
        kind: Kind<F>,
    }
}

pin_project! {
    #[project = KindProj]
    #[derive(Debug)]
    enum Kind<F> {
        Pass { #[pin] inner: F },
        Answer { health: Option<ServerHealth> },
    }
}

impl<F, B, E> Future for HealthFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = Result<Response<HealthBody<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().kind.project() {
            KindProj::Pass { inner } => {
                let response = ready!(inner.poll(cx))?;
                Poll::Ready(Ok(response.map(|body| HealthBody { body: Inside::Pass { body } })))
            }
            KindProj::Answer { health } => {
                let health = health.take().expect("the future is polled after its result");
                Poll::Ready(Ok(answer(&health)))
            }
        }
    }
}

fn answer<B>(health: &ServerHealth) -> Response<HealthBody<B>> {
    // One look, so that the status and the word agree.
    let word = health.word();
    let serving = matches!(word, "passing" | "warning");
    let text = Some(Bytes::from_static(word.as_bytes()));
    let mut response = Response::new(HealthBody { body: Inside::Answer { text } });
    if !serving {
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    }
    let plain = http::HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, plain);
    response
}

pin_project! {
    /// The body of a [`HealthService`]'s response.
    #[derive(Debug)]
    pub struct HealthBody<B> {
        #[pin]
        body: Inside<B>,
    }
}

pin_project! {
    #[project = InsideProj]
    #[derive(Debug)]
    enum Inside<B> {
        Pass { #[pin] body: B },
        Answer { text: Option<Bytes> },
    }
}

impl<B: Body<Data = Bytes>> Body for HealthBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        match self.project().body.project() {
            InsideProj::Pass { body } => body.poll_frame(cx),
            InsideProj::Answer { text } => {
                Poll::Ready(text.take().map(|text| Ok(Frame::data(text))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.body {
            Inside::Pass { body } => body.is_end_stream(),
            Inside::Answer { text } => text.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.body {
            Inside::Pass { body } => body.size_hint(),
            Inside::Answer { text } => {
                SizeHint::with_exact(text.as_ref().map_or(0, |text| text.len() as u64))
            }
        }
    }
}
