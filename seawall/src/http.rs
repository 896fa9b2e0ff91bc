//! A resilient client for an HTTP service, as a reqwest client and as a tower service.

mod conditions;
mod protocol;
mod resend;

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use async_trait::async_trait;
use reqwest::{Client, Request, Response};
use reqwest_middleware::{ClientWithMiddleware, Middleware, Next};
use seawall_circuit_breaker::{CircuitBreakerLayer, CircuitBreakerService};
use seawall_core::{
    Endpoint, Error as Layered,
    http::{AtBodyEnd, HttpStatus},
    reqwest::middleware_error,
};
use seawall_load_balance::{Balancer, MakeEndpoint, reqwest::MakeClient};
use tower_layer::Layer;
use tower_service::Service;

use self::{protocol::Http, resend::ResendAttempt};
use crate::{
    BuildError, Error, Snapshot,
    call::Caller,
    setup::{ClientBuilder, Setup},
};

/// The service of one endpoint: a client behind a breaker.
type Guarded = CircuitBreakerService<Client, AtBodyEnd<HttpStatus>>;
type Balanced = Balancer<Guarded, AtBodyEnd<HttpStatus>, ResendAttempt>;

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
        let (caller, breakers) = (setup.caller()?, setup.breakers()?);
        let make = move |endpoint: &Endpoint| {
            let guard = CircuitBreakerLayer::new(breakers.make(endpoint)).http();
            clients.make(endpoint).map(|client| guard.layer(client))
        };
        let balancer = Balancer::builder(setup.endpoints()?, make)
            .config(setup.balancing())
            .admits(|guarded: &Guarded| guarded.breaker().admission())
            .track(AtBodyEnd(HttpStatus::new()))
            .resend(ResendAttempt)
            .build()?;
        let unused = Client::builder().no_proxy().build();
        let unused = unused.map_err(|error| BuildError::Transport(error.into()))?;
        Ok(HttpClient { service: setup.service, caller, balancer, unused })
    }
}

/// An HTTP service that is called as a [`Policy`](crate::policy::Policy) says.
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
    service: Arc<str>,
    caller: Caller,
    balancer: Balanced,
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

    /// What the client looks like now.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::of(&self.service, &self.balancer, self.caller.limit.as_deref())
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
        let (caller, mut balancer) = (self.caller.clone(), self.balancer.clone());
        HttpFuture(Box::pin(async move { caller.call(&Http, &mut balancer, request).await }))
    }
}

/// The last middleware of a chain: the request goes to an endpoint from here, and not on.
#[async_trait]
impl Middleware for HttpClient {
    async fn handle(
        &self,
        request: Request,
        _extensions: &mut http::Extensions,
        _next: Next<'_>,
    ) -> Result<Response, reqwest_middleware::Error> {
        match self.clone().call(request).await {
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
