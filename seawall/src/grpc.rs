//! A resilient client for a gRPC service, to be handed to a generated one.

mod conditions;
mod protocol;
mod resend;

use std::{
    fmt,
    future::Future,
    marker::PhantomData,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response};
use seawall_circuit_breaker::{CircuitBreakerLayer, CircuitBreakerService, OwnedPermit};
use seawall_core::{
    BoxError, Endpoint,
    http::{AtBodyEnd, TrackedBody},
    tonic::{GrpcEnd, GrpcStatus, error_status},
};
use seawall_load_balance::{Balancer, MakeEndpoint, Picked, tonic::MakeChannel};
use tonic::{Status, body::Body, transport};
use tower_layer::Layer;
use tower_service::Service;

use self::{protocol::Grpc, resend::ResendAttempt};
use crate::{
    BuildError, Error, Snapshot,
    call::Caller,
    first_frame::FirstFrame,
    setup::{ClientBuilder, Setup},
};

/// The service of one endpoint: a channel behind a breaker.
type Guarded = CircuitBreakerService<transport::Channel, AtBodyEnd<GrpcStatus>>;
type Balanced = Balancer<Guarded, AtBodyEnd<GrpcStatus>, ResendAttempt>;
type BalancedBody = TrackedBody<TrackedBody<Body, OwnedPermit, GrpcEnd>, Picked, GrpcEnd>;

/// The body of a response: its call, permit and in-flight count end with it.
pub type ResponseBody = FirstFrame<BalancedBody>;

/// Begins a client for the gRPC service of this name, which is what a resolver is asked for and what
/// refusals are signed with.
pub fn grpc(service: impl Into<Arc<str>>) -> GrpcBuilder {
    GrpcBuilder { setup: Setup::new(service.into()), make: MakeChannel::http() }
}

/// Sets up a [`GrpcClient`].
pub type GrpcBuilder = ClientBuilder<MakeChannel>;

impl GrpcBuilder {
    /// Makes the channels to the endpoints like this: TLS, keep-alive, window sizes; in plain text
    /// unless set.
    ///
    /// Channels connect when they are first used, within 1 s unless `channels` sets another time.
    pub fn channels(mut self, channels: MakeChannel) -> Self {
        self.make = channels;
        self
    }

    /// The client.
    ///
    /// # Errors
    ///
    /// When the policy or an address is refused, when there is neither a list of addresses nor a
    /// resolver, or when there is a resolver and no tokio runtime here.
    pub fn build(self) -> Result<GrpcClient, BuildError> {
        let Self { setup, make: channels } = self;
        let (caller, breakers) = (setup.caller()?, setup.breakers()?);
        let make = move |endpoint: &Endpoint| {
            let guard = CircuitBreakerLayer::new(breakers.make(endpoint)).grpc();
            channels.make(endpoint).map(|channel| guard.layer(channel))
        };
        let balancer = Balancer::builder(setup.endpoints()?, make)
            .config(setup.balancing())
            .admits(|guarded: &Guarded| guarded.breaker().admission())
            .track(AtBodyEnd(GrpcStatus::new()))
            .resend(ResendAttempt)
            .build()?;
        Ok(GrpcClient { service: setup.service, caller, balancer })
    }
}

/// A gRPC service that is called as a [`Policy`](crate::policy::Policy) says.
///
/// Clones are cheap and share endpoints, breakers and the limit. Give one to a generated client:
/// `OrdersClient::new(client.clone())`.
///
/// # Cost
///
/// One boxed future for each call, and what is kept of a request to send it again: its head and an
/// allocation for its body.
///
/// # Cancel safety
///
/// Dropping a call's future, or the body of its response, gives back the breaker's permit and the
/// in-flight count.
#[derive(Clone)]
pub struct GrpcClient {
    service: Arc<str>,
    caller: Caller,
    balancer: Balanced,
}

impl GrpcClient {
    /// What the client looks like now.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::of(&self.service, &self.balancer, self.caller.limit.as_deref())
    }
}

impl fmt::Debug for GrpcClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GrpcClient").field("snapshot", &self.snapshot()).finish()
    }
}

impl Service<Request<Body>> for GrpcClient {
    type Response = Response<ResponseBody>;
    type Error = Status;
    type Future = GrpcFuture;

    /// Always ready: what there is to wait for is waited for in the call.
    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> GrpcFuture {
        let (caller, mut balancer) = (self.caller.clone(), self.balancer.clone());
        GrpcFuture(Box::pin(async move {
            let result = caller.call(&Grpc(PhantomData), &mut balancer, request).await;
            result.map_err(status)
        }))
    }
}

/// The future of a call of a [`GrpcClient`].
#[must_use = "futures do nothing unless polled"]
pub struct GrpcFuture(Pin<Box<dyn Future<Output = Result<Response<ResponseBody>, Status>> + Send>>);

impl Future for GrpcFuture {
    type Output = Result<Response<ResponseBody>, Status>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

impl fmt::Debug for GrpcFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GrpcFuture")
    }
}

/// The status that a generated client shows, with `error` as its source.
fn status(error: Error<transport::Error>) -> Status {
    match error {
        Error::TimedOut(_) => {
            let mut status = Status::deadline_exceeded(error.to_string());
            status.set_source(Arc::new(error));
            status
        }
        error => error_status(BoxError::from(error)),
    }
}
