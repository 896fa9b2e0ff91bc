//! gRPC: one lazy channel per endpoint, behind a balancer that generated clients can use.
//!
//! It takes the place of tonic's own balancing, which picks at random, keeps dead endpoints, and
//! hangs on an empty set. A stream is in flight until it ends. An empty set is UNAVAILABLE within
//! [`wait_for_endpoints`](crate::ConfigBuilder::wait_for_endpoints), with the
//! [`Rejection`](seawall_core::Rejection) as the status's `source()`.

use std::{error::Error as StdError, fmt, sync::Arc, time::Duration};

use ::http::{Request, uri::Uri};
use ::tonic::{
    ConnectError,
    body::Body,
    transport::{self, Channel},
};
use seawall_core::{
    BoxError, ConfigError, Endpoint,
    http::{AtBodyEnd, ReplayRequest},
};

use crate::{
    Balancer, BalancerBuilder, ConfigBuilder, ConnectFuture, EndpointSet, HashKey, JudgeUnsent,
    MakeEndpoint, Resend, Tried, Unsent, resend::rejected,
};

pub use crate::check::grpc::GrpcCheck;
pub use seawall_core::tonic::{GrpcStatus, StatusService};

/// tonic waits for a connection without a bound. A second is many times the way around the world.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// What a generated client is made with: `OrdersClient::new(balancer)`.
pub type GrpcBalancer<S = Channel> = StatusService<GrpcInner<S>>;

/// A balancer of gRPC calls whose errors are not yet made into a status.
pub type GrpcInner<S = Channel> = Balancer<S, AtBodyEnd<GrpcStatus>, ReplayGrpc>;

/// A balancer over plain-text channels to the endpoints of `set`, with the default configuration.
///
/// # Examples
///
/// ```
/// use seawall_core::Endpoint;
/// use seawall_load_balance::{EndpointSet, tonic};
///
/// let set = EndpointSet::from_endpoints([Endpoint::new("a", "10.0.0.1:50051".parse()?)]);
/// let channel = tonic::balance(set);
/// // let client = OrdersClient::new(channel);
/// # let _ = channel;
/// # Ok::<(), seawall_core::AddressError>(())
/// ```
pub fn balance(set: EndpointSet) -> GrpcBalancer {
    let balancer = builder(set, MakeChannel::http()).build();
    StatusService::new(balancer.expect("the defaults are in their ranges"))
}

/// As [`balance`], with channels as `make` makes them and with settings.
///
/// # Errors
///
/// When a setting is out of its range, by its name.
pub fn balance_with(
    set: EndpointSet,
    make: MakeChannel,
    config: ConfigBuilder,
) -> Result<GrpcBalancer, ConfigError> {
    Ok(StatusService::new(builder(set, make).config(config).build()?))
}

/// Puts a balancer of gRPC calls together whose endpoints have services of any type, such as a
/// channel behind a breaker. Wrap what it builds in a [`StatusService`].
pub fn builder<M>(
    set: EndpointSet,
    make: M,
) -> BalancerBuilder<M, AtBodyEnd<GrpcStatus>, ReplayGrpc>
where
    M: MakeEndpoint + Send + Sync + 'static,
    M::Service: Clone + Send + Sync + 'static,
{
    Balancer::builder(set, make).track(AtBodyEnd(GrpcStatus::new())).resend(ReplayGrpc)
}

type Configure =
    dyn Fn(&Endpoint, transport::Endpoint) -> Result<transport::Endpoint, BoxError> + Send + Sync;

/// Makes a lazy channel for each endpoint. Clones make the same.
///
/// A channel connects when it is first called, within a second unless configured otherwise; tonic
/// itself would wait without a bound. Making one needs a tokio runtime.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use seawall_load_balance::tonic::MakeChannel;
///
/// let make = MakeChannel::http().configure(|_endpoint, channel| {
///     Ok(channel
///         .connect_timeout(Duration::from_millis(200))
///         .http2_keep_alive_interval(Duration::from_secs(10)))
/// });
/// # let _ = make;
/// ```
#[derive(Clone)]
pub struct MakeChannel {
    scheme: &'static str,
    configure: Option<Arc<Configure>>,
}

impl MakeChannel {
    /// Channels in plain text.
    pub fn http() -> Self {
        Self { scheme: "http", configure: None }
    }

    /// Channels over TLS. Give the certificates, and the name that the servers' certificates are
    /// for, in [`configure`](Self::configure) with `tls_config`.
    pub fn https() -> Self {
        Self { scheme: "https", configure: None }
    }

    /// Changes the settings of each channel before it is made, such as TLS, keep-alive and the time
    /// to connect.
    ///
    /// An error is that endpoint's failure: it is skipped and tried again later.
    #[must_use]
    pub fn configure<F>(mut self, configure: F) -> Self
    where
        F: Fn(&Endpoint, transport::Endpoint) -> Result<transport::Endpoint, BoxError>
            + Send
            + Sync
            + 'static,
    {
        self.configure = Some(Arc::new(configure));
        self
    }
}

impl MakeChannel {
    /// As [`configure`](Self::configure), after what was set there.
    pub(crate) fn also(
        self,
        change: impl Fn(transport::Endpoint) -> transport::Endpoint + Send + Sync + 'static,
    ) -> Self {
        let before = self.configure.clone();
        self.configure(move |endpoint, channel| {
            let channel = match &before {
                Some(configure) => configure(endpoint, channel)?,
                None => channel,
            };
            Ok(change(channel))
        })
    }
}

impl MakeEndpoint for MakeChannel {
    type Service = Channel;
    type Error = BoxError;

    fn make(&self, endpoint: &Endpoint) -> Result<Channel, BoxError> {
        Ok(self.endpoint(endpoint)?.connect_lazy())
    }

    /// A channel that is connected, over TLS where it is configured.
    fn connect(&self, endpoint: &Endpoint) -> Option<ConnectFuture<Channel>> {
        let channel = self.endpoint(endpoint);
        Some(Box::pin(async move { Ok(channel?.connect().await?) }))
    }
}

impl MakeChannel {
    fn endpoint(&self, endpoint: &Endpoint) -> Result<transport::Endpoint, BoxError> {
        let uri = Uri::builder()
            .scheme(self.scheme)
            .authority(endpoint.address().to_string())
            .path_and_query("/")
            .build()?;
        let channel = transport::Endpoint::from(uri).connect_timeout(CONNECT_TIMEOUT);
        match &self.configure {
            Some(configure) => configure(endpoint, channel),
            None => Ok(channel),
        }
    }
}

impl fmt::Debug for MakeChannel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MakeChannel")
            .field("scheme", &self.scheme)
            .field("configured", &self.configure.is_some())
            .finish()
    }
}

/// Keeps what was sent of a gRPC request, up to 64 KiB of its messages, so that another endpoint
/// can have it; takes a [`Tried`] and a [`HashKey`] from its extensions.
///
/// A call goes elsewhere when no connection could be made, when its connection closed before the
/// call was handed to it, and when a layer of ours in front of the endpoint refused it.
///
/// # Cost
///
/// Two allocations for the body, and a copy of the headers for each attempt.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReplayGrpc;

impl Resend<Request<Body>> for ReplayGrpc {
    type Kept = ReplayRequest<Body>;
    type Sent = Request<Body>;

    fn first(&self, request: Request<Body>) -> (Self::Sent, Self::Kept) {
        let mut kept = ReplayRequest::new(request);
        let sent = self.again(&mut kept).expect("nothing of it was sent yet");
        (sent, kept)
    }

    fn again(&self, kept: &mut Self::Kept) -> Option<Self::Sent> {
        Some(kept.attempt()?.map(Body::new))
    }

    fn tried(&self, request: &Request<Body>) -> Option<Tried> {
        request.extensions().get().cloned()
    }

    fn key(&self, request: &Request<Body>) -> Option<HashKey> {
        request.extensions().get().copied()
    }
}

impl<E: StdError + 'static> JudgeUnsent<E> for ReplayGrpc {
    fn unsent(&self, error: &E) -> Unsent {
        unsent(error)
    }
}

/// Whether `error`, of a tonic channel or of layers around one, proves that the call was not sent.
pub fn unsent(error: &(dyn StdError + 'static)) -> Unsent {
    if let Some(rejected) = rejected(error) {
        return rejected;
    }
    let mut next = Some(error);
    while let Some(error) = next {
        // Hyper calls a request cancelled that its connection never took.
        let cancelled = error.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_canceled);
        if cancelled || error.is::<ConnectError>() {
            return Unsent::NoConnection;
        }
        next = error.source();
    }
    Unsent::No
}
