//! A resilient client for a gRPC service, to be handed to a generated one.

mod conditions;
mod degrade;
mod kept;
mod methods;
mod protocol;
mod resend;
mod timeout;

use std::{
    fmt,
    future::Future,
    marker::PhantomData,
    path::PathBuf,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response};
use seawall_circuit_breaker::OwnedPermit;
use seawall_core::{
    BoxError, EndpointId,
    http::{AtBodyEnd, TrackedBody},
    tonic::{GrpcEnd, GrpcStatus, error_status},
};
use seawall_load_balance::{Balancer, Picked, tonic::MakeChannel};
use tonic::{Status, body::Body, transport};
use tower_service::Service;

use self::{methods::Methods, protocol::Grpc, resend::ResendAttempt};
use crate::{
    BuildError, Error, Shutdown, Snapshot,
    act::{Act, Action, Refused},
    deadline::DeadlineBody,
    fallback::AnswerBody,
    first_frame::FirstFrame,
    guarded::{self, MakeGuarded},
    live::{Live, Target},
    policy::{Policy, PolicyError, Transport},
    pool::Held,
    setup::{ClientBuilder, Setup},
    way::ResendBound,
};

/// The service of one endpoint: a channel behind a breaker.
type Guarded = guarded::Guarded<transport::Channel, GrpcStatus>;
type Balanced = Balancer<Guarded, AtBodyEnd<GrpcStatus>, ResendBound<ResendAttempt>>;
type BalancedBody = TrackedBody<TrackedBody<Body, (OwnedPermit, Held), GrpcEnd>, Picked, GrpcEnd>;

/// The body of a response: its call, permit and in-flight count end with it, and it ends with the
/// call's deadline. Or it is what a fallback gives.
pub type ResponseBody = AnswerBody<DeadlineBody<FirstFrame<BalancedBody>>>;

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

    /// Learns from an interface which of its methods may be called twice, in addition to those that the
    /// policy lists as idempotent: those with `option idempotency_level = NO_SIDE_EFFECTS` or
    /// `IDEMPOTENT`. Generated clients carry no options of methods, so that the descriptors come from
    /// beside them: what `protoc --descriptor_set_out` writes, or the `file_descriptor_set_path` of
    /// tonic's build, included with `tonic::include_file_descriptor_set!`.
    ///
    /// Responses of methods without side effects may be kept for a
    /// [`Stale`](crate::policy::Stale) fallback, too. For several interfaces it is called several
    /// times.
    ///
    /// ```
    /// // const ORDERS: &[u8] = tonic::include_file_descriptor_set!("orders");
    /// const ORDERS: &[u8] = &[];
    /// let orders = seawall::grpc("orders").file_descriptor_set(ORDERS).endpoints(["127.0.0.1:1"]);
    /// # let _ = orders;
    /// ```
    pub fn file_descriptor_set(mut self, encoded: &[u8]) -> Self {
        self.setup.given.descriptors.push(encoded.to_vec());
        self
    }

    /// The client.
    ///
    /// # Errors
    ///
    /// When the policy, an address or a descriptor is refused, when there is neither a list of addresses nor a
    /// resolver, or when there is a resolver and no tokio runtime here.
    pub fn build(self) -> Result<GrpcClient, BuildError> {
        let Self { setup, make: channels } = self;
        let (service, policy) = (setup.service.clone(), setup.policy.clone());
        let given = setup.given.clone();
        let target = move |service: &Arc<str>, policy: &Policy, before: Option<&Target<_>>| {
            let parts = setup.parts(service, policy, Transport::Grpc, before)?;
            let make = MakeGuarded {
                make: channels.clone(),
                breakers: parts.breakers.clone(),
                bounds: parts.bounds.clone(),
                classify: GrpcStatus::new(),
            };
            let balancer = Balancer::builder(parts.endpoints, make)
                .config(setup.balancing(service, policy)?)
                .admits(|guarded: &Guarded| guarded.admit().admission())
                .track(AtBodyEnd(GrpcStatus::new()))
                .resend(ResendBound(ResendAttempt))
                .build()?;
            let (breakers, bounds) = (parts.breakers, parts.bounds);
            Ok(Target { service: service.clone(), balancer, breakers, bounds, left: Vec::new() })
        };
        let mut methods = Methods::default();
        for encoded in &given.descriptors {
            methods.read(encoded)?;
        }
        let live = Arc::new(Live::new(&service, policy, Transport::Grpc, given, Box::new(target))?);
        Ok(GrpcClient { live, methods: Arc::new(methods) })
    }
}

/// A gRPC service that is called as a [`Policy`] says.
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
    live: Arc<Live<Balanced>>,
    methods: Arc<Methods>,
}

impl GrpcClient {
    /// What the client looks like now.
    pub fn snapshot(&self) -> Snapshot {
        self.live.snapshot()
    }

    /// Does something to an endpoint by hand: of `service`, the client's own or one that its routes
    /// name.
    ///
    /// # Errors
    ///
    /// Why nothing was done.
    pub fn act(&self, service: &str, endpoint: &EndpointId, action: Action) -> Result<(), Refused> {
        Act::act(&*self.live, service, endpoint.as_str(), action)
    }

    #[cfg(feature = "admin")]
    pub(crate) fn watched(&self) -> Arc<dyn Act> {
        self.live.clone()
    }

    /// The policy in force.
    pub fn policy(&self) -> Policy {
        self.live.policy()
    }

    /// Puts `policy` in force for calls from now on, of all clones.
    ///
    /// No connection is dropped, and calls and streams go on under the policy that they began with.
    /// What was learned stays: latencies, ejections, the states and counts of the breakers, and what
    /// is left of the rate limit. Where endpoints are to be picked otherwise, a new balancer takes over
    /// what the old one has of them.
    ///
    /// # Errors
    ///
    /// When the policy is refused; the old one stays in force then. The scope of the breakers is fixed
    /// when a client is built, and a policy that changes it is refused: what one breaker counted
    /// cannot be divided among several.
    pub fn apply(&self, policy: Policy) -> Result<(), BuildError> {
        self.live.apply(policy)
    }

    /// Puts in force what a file says, now and whenever it changes, as [`apply`](Self::apply) does.
    /// The file's extension says what it is: `yaml`, `yml`, `toml` or `json`. It is read once a
    /// second, which also sees a file that another one replaces, as Kubernetes does with a
    /// `ConfigMap`.
    ///
    /// `tell` is told of each change: that it is in force, or why it was refused and the old policy
    /// stays. The task ends with the last clone of the client.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn follow_file(
        &self,
        path: impl Into<PathBuf>,
        tell: impl Fn(Result<(), PolicyError>) + Send + 'static,
    ) {
        self.live.follow_file(path.into(), tell);
    }

    /// Ends the client, for all clones: calls from now on are refused, and those in flight finish.
    ///
    /// ```no_run
    /// # async fn end(client: seawall::grpc::GrpcClient) -> Result<(), seawall::StillRunning> {
    /// client.shutdown().within(std::time::Duration::from_secs(10)).await
    /// # }
    /// ```
    ///
    /// Without it, everything ends with the last clone.
    pub fn shutdown(&self) -> Shutdown {
        Shutdown::of(self.live.clone())
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
        let call = self.live.call(request.method().as_str(), request.uri().path());
        let protocol = Grpc { methods: self.methods.clone(), body: PhantomData };
        GrpcFuture(Box::pin(async move {
            let call = call.map_err(|rejection| status(Error::Rejected(rejection)))?;
            call.make(&protocol, request).await.map_err(status)
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
        Error::TimedOut(_) => timed_out(error),
        // The channel obeys the header that says what is left, and may be the first to notice.
        Error::Transport(cause) if conditions::is_expired(&cause) => {
            timed_out(Error::Transport(cause))
        }
        error => error_status(BoxError::from(error)),
    }
}

fn timed_out(error: Error<transport::Error>) -> Status {
    let mut status = Status::deadline_exceeded(error.to_string());
    status.set_source(Arc::new(error));
    status
}
