//! A resilient client for an HTTP service, as a reqwest client and as a tower service.

mod conditions;
mod degrade;
mod kept;
mod protocol;
mod resend;

use std::{
    fmt,
    future::Future,
    path::PathBuf,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use async_trait::async_trait;
use reqwest::{Client, Request, Response};
use reqwest_middleware::{ClientWithMiddleware, Middleware, Next};
use seawall_core::{
    EndpointId, Error as Layered,
    http::{AtBodyEnd, HttpStatus},
    reqwest::middleware_error,
};
use seawall_load_balance::{Balancer, reqwest::MakeClient};
use tower_service::Service;

use self::{protocol::Http, resend::ResendAttempt};
use crate::{
    BuildError, Error, Shutdown, Snapshot,
    act::{Act, Action, Refused},
    guarded::{self, MakeGuarded},
    live::{Live, Target},
    policy::{Policy, PolicyError, Priority, Transport},
    setup::{ClientBuilder, Setup},
    way::ResendBound,
};

/// The service of one endpoint: a client behind a breaker.
type Guarded = guarded::Guarded<Client, HttpStatus>;
type Balanced = Balancer<Guarded, AtBodyEnd<HttpStatus>, ResendBound<ResendAttempt>>;

/// Begins a client for the HTTP service of this name: the host in the URLs of its requests, what a
/// resolver is asked for, and what refusals are signed with.
pub fn http(service: impl Into<Arc<str>>) -> HttpBuilder {
    let setup = Setup::new(service.into());
    let clients = MakeClient::new(setup.service.clone());
    HttpBuilder { setup, make: clients }
}

/// Sets up an [`HttpClient`].
pub type HttpBuilder = ClientBuilder<MakeClient>;

impl HttpBuilder {
    /// Makes the clients of the endpoints like this: TLS, HTTP version, pools, or another host name
    /// than that of the service.
    ///
    /// A client connects within 1 s unless `clients` sets another time.
    pub fn clients(mut self, clients: MakeClient) -> Self {
        self.make = clients;
        self
    }

    /// The client.
    ///
    /// # Errors
    ///
    /// When the policy or an address is refused, when there is neither a list of addresses nor a
    /// resolver, when there is a resolver and no tokio runtime here, or when reqwest cannot make a
    /// client.
    pub fn build(self) -> Result<HttpClient, BuildError> {
        let Self { setup, make: clients } = self;
        let (service, policy) = (setup.service.clone(), setup.policy.clone());
        let given = setup.given.clone();
        let target = move |service: &Arc<str>, policy: &Policy, before: Option<&Target<_>>| {
            let parts = setup.parts(service, policy, Transport::Http, before)?;
            let make = MakeGuarded {
                make: clients.clone(),
                breakers: parts.breakers.clone(),
                bounds: parts.bounds.clone(),
                classify: HttpStatus::new(),
            };
            let balancer = Balancer::builder(parts.endpoints, make)
                .config(setup.balancing(service, policy)?)
                .admits(|guarded: &Guarded| guarded.admit().admission())
                .track(AtBodyEnd(HttpStatus::new()))
                .resend(ResendBound(ResendAttempt))
                .build()?;
            let (breakers, bounds) = (parts.breakers, parts.bounds);
            Ok(Target { service: service.clone(), balancer, breakers, bounds, left: Vec::new() })
        };
        let live = Arc::new(Live::new(&service, policy, Transport::Http, given, Box::new(target))?);
        let unused = Client::builder().no_proxy().build();
        let unused = unused.map_err(|error| BuildError::Transport(error.into()))?;
        Ok(HttpClient { live, priority: None, unused })
    }
}

/// An HTTP service that is called as a [`Policy`] says.
///
/// URLs name the service as their host: `http://users/7`. Clones are cheap and share endpoints,
/// breakers and the limit. It is a tower service of `reqwest::Request`s; for the builders of
/// requests that reqwest's users know, take [`client`](Self::client).
///
/// # Cost
///
/// One boxed future for each call, a copy of the request for each attempt, and one box for each
/// layer that follows the response's body.
///
/// # Cancel safety
///
/// Dropping a call's future, or its response, gives back the breaker's permit and the in-flight
/// count.
#[derive(Clone)]
pub struct HttpClient {
    live: Arc<Live<Balanced>>,
    priority: Option<Priority>,
    /// What `reqwest_middleware` wants at the end of its chain; nothing goes there.
    unused: Client,
}

impl HttpClient {
    /// A reqwest client that sends everything through this one.
    ///
    /// A refusal is found in its errors by `seawall::core::reqwest::rejection`.
    pub fn client(&self) -> ClientWithMiddleware {
        reqwest_middleware::ClientBuilder::new(self.unused.clone()).with(self.clone()).build()
    }

    /// The same client, whose calls have this priority unless they say another one; `None` for that of
    /// the policy.
    #[must_use]
    pub fn with_priority(&self, priority: impl Into<Option<Priority>>) -> Self {
        Self { priority: priority.into(), ..self.clone() }
    }

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
    /// # async fn end(client: seawall::http::HttpClient) -> Result<(), seawall::StillRunning> {
    /// client.shutdown().within(std::time::Duration::from_secs(10)).await
    /// # }
    /// ```
    ///
    /// Without it, everything ends with the last clone.
    pub fn shutdown(&self) -> Shutdown {
        Shutdown::of(self.live.clone())
    }
}

impl fmt::Debug for HttpClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpClient").field("snapshot", &self.snapshot()).finish()
    }
}

impl Service<Request> for HttpClient {
    type Response = Response;
    type Error = Error<reqwest::Error>;
    type Future = HttpFuture;

    /// Always ready: what there is to wait for is waited for in the call.
    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> HttpFuture {
        let call = self.live.call(request.method().as_str(), request.url().path());
        let priority = self.priority;
        HttpFuture(Box::pin(async move {
            let call = call.map_err(Error::Rejected)?;
            // A policy whose header is none was refused before.
            let deadline_header = call.caller.policy.deadline_header_name().ok().flatten();
            call.make(&Http { deadline_header, priority }, request).await
        }))
    }
}

/// The last middleware of a chain: the request goes to an endpoint from here, and not on.
#[async_trait]
impl Middleware for HttpClient {
    async fn handle(
        &self,
        request: Request,
        extensions: &mut http::Extensions,
        _next: Next<'_>,
    ) -> Result<Response, reqwest_middleware::Error> {
        let priority = extensions.get().copied().or(self.priority);
        match self.with_priority(priority).call(request).await {
            Ok(response) => Ok(response),
            Err(Error::Rejected(rejection)) => Err(middleware_error(Layered::Rejected(rejection))),
            Err(Error::Transport(error)) => Err(error.into()),
            Err(error) => Err(reqwest_middleware::Error::middleware(error)),
        }
    }
}

/// The future of a call of an [`HttpClient`].
#[must_use = "futures do nothing unless polled"]
pub struct HttpFuture(
    Pin<Box<dyn Future<Output = Result<Response, Error<reqwest::Error>>> + Send>>,
);

impl Future for HttpFuture {
    type Output = Result<Response, Error<reqwest::Error>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

impl fmt::Debug for HttpFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HttpFuture")
    }
}
