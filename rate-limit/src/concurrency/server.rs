//! Servers: a layer that answers at once what cannot be served in time.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use ::http::{Request, Response, StatusCode, header::CONTENT_TYPE};
use pin_project_lite::pin_project;
use seawall_core::{
    Track,
    http::{AtBodyEnd, HttpStatus},
};
use tower_layer::Layer;
use tower_service::Service;

use super::{ConcurrencyLimit, Permit};
use crate::server::refusal::refusal;

/// What a gRPC caller reads.
const MESSAGE: &str = "too many calls in flight";

/// Answers requests above the limit in place of the service, at once; all services that it makes
/// share the one limit.
///
/// A refused HTTP request is answered with 503 (Service Unavailable), a refused gRPC call with
/// RESOURCE_EXHAUSTED; which of the two, its content type says. Nobody knows when there is room again,
/// so that neither says when to come back. Nobody waits, whatever the limit's configuration: a queue
/// in front of a server that is full makes all callers late.
///
/// A request counts until the body of its response has been sent or its caller has gone. The error of
/// the service inside stays as it is, so that the layer goes where errors must be
/// [`Infallible`](std::convert::Infallible): around an axum router or in front of a tonic service.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use axum::{Router, body::Body, http::Request, routing::get};
/// use seawall_rate_limit::concurrency::{ConcurrencyLimit, ServerLayer};
/// use tower::ServiceExt;
///
/// let limit = ConcurrencyLimit::new(1)?;
/// let app: Router = Router::new()
///     .route("/", get(|| async { "hello" }))
///     .layer(ServerLayer::new(limit.clone()));
///
/// let first = app.clone().oneshot(Request::new(Body::empty())).await?;
/// let second = app.clone().oneshot(Request::new(Body::empty())).await?;
/// assert_eq!((first.status(), second.status()), (200.try_into()?, 503.try_into()?));
/// drop(first);
/// assert_eq!(app.oneshot(Request::new(Body::empty())).await?.status(), 200);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct ServerLayer<T = AtBodyEnd<HttpStatus>> {
    limit: ConcurrencyLimit,
    track: T,
}

impl ServerLayer {
    /// An answer begins with its head, and its status counts: for HTTP, and for gRPC too where the
    /// limit is fixed.
    pub fn new(limit: ConcurrencyLimit) -> Self {
        Self { limit, track: AtBodyEnd(HttpStatus::new()) }
    }
}

impl<T> ServerLayer<T> {
    /// Has `track` say when a call ends and how.
    pub fn track<U>(self, track: U) -> ServerLayer<U> {
        ServerLayer { limit: self.limit, track }
    }

    /// An answer begins with its first message, and the status in its trailers counts: for gRPC
    /// servers whose limit adapts.
    #[cfg(feature = "tonic")]
    #[cfg_attr(docsrs, doc(cfg(feature = "tonic")))]
    pub fn grpc(self) -> ServerLayer<AtBodyEnd<seawall_core::tonic::GrpcStatus>> {
        self.track(AtBodyEnd(seawall_core::tonic::GrpcStatus::new()))
    }

    /// The limit that its services share.
    pub fn limit(&self) -> &ConcurrencyLimit {
        &self.limit
    }
}

impl<S, T: Clone> Layer<S> for ServerLayer<T> {
    type Service = ServerService<S, T>;

    fn layer(&self, inner: S) -> Self::Service {
        ServerService { inner, limit: self.limit.clone(), track: self.track.clone() }
    }
}

/// Answers requests above the limit in place of the service inside. Made by a [`ServerLayer`].
///
/// The body of a refusal is the default of the service's own, which is an empty one.
#[derive(Clone, Debug)]
pub struct ServerService<S, T> {
    inner: S,
    limit: ConcurrencyLimit,
    track: T,
}

impl<S, T, Req, Res> Service<Request<Req>> for ServerService<S, T>
where
    S: Service<Request<Req>, Response = Response<Res>> + Clone,
    T: Track<Response<Res>, S::Error, Option<Permit>> + Clone,
    Res: Default,
{
    type Response = T::Response;
    type Error = S::Error;
    type Future = ServerFuture<S::Future, Res, T>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Req>) -> Self::Future {
        let track = self.track.clone();
        let step = match self.limit.try_acquire() {
            Ok(permit) => {
                Step::Calling { response: self.inner.call(request), permit: Some(permit) }
            }
            Err(_) => {
                // The ready instance goes, and with it what it holds for a call that never comes.
                self.inner = self.inner.clone();
                let content_type = request.headers().get(CONTENT_TYPE);
                let response = refusal(content_type, StatusCode::SERVICE_UNAVAILABLE, MESSAGE);
                Step::Refused { response: Some(response) }
            }
        };
        ServerFuture { step, track }
    }
}

pin_project! {
    /// The future of a [`ServerService`]. Dropped, it gives its permit back.
    #[must_use = "futures do nothing unless polled"]
    pub struct ServerFuture<F, B, T> {
        #[pin]
        step: Step<F, B>,
        track: T,
    }
}

pin_project! {
    #[project = StepProj]
    enum Step<F, B> {
        Refused { response: Option<Response<B>> },
        Calling {
            #[pin]
            response: F,
            permit: Option<Permit>,
        },
    }
}

impl<F, B, T, E> Future for ServerFuture<F, B, T>
where
    F: Future<Output = Result<Response<B>, E>>,
    T: Track<Response<B>, E, Option<Permit>>,
{
    type Output = Result<T::Response, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let (result, permit) = match this.step.project() {
            StepProj::Refused { response } => {
                let response = response.take().expect("a future is not polled after its end");
                (Ok(response), None)
            }
            StepProj::Calling { response, permit } => (ready!(response.poll(cx)), permit.take()),
        };
        Poll::Ready(this.track.track(result, permit))
    }
}

impl<F, B, T> fmt::Debug for ServerFuture<F, B, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let step = match &self.step {
            Step::Refused { .. } => "refused",
            Step::Calling { .. } => "calling",
        };
        f.debug_tuple("ServerFuture").field(&step).finish()
    }
}
