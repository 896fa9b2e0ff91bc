//! reqwest: one client per endpoint or one for all, as a tower service and as a middleware.
//!
//! - [`MakeClient`]: one client per endpoint, which resolves the service's host name to that
//!   endpoint. `Host`, SNI, certificates and `Response::url` stay those of the service: the one for
//!   https.
//! - [`RewriteUrl`]: one client, whose requests go to the endpoint's address in place of the host in
//!   their URL. One pool of connections and nothing to build per endpoint, for plain http.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use ::http::{Extensions, HeaderValue, header::HOST};
use ::reqwest::{
    Client, ClientBuilder, Request, Response, Url,
    dns::{Addrs, Name, Resolve, Resolving},
};
use async_trait::async_trait;
use reqwest_middleware::{Middleware, Next};
use seawall_core::{
    Address, BoxError, ConfigError, Endpoint, Error,
    http::{AtBodyEnd, HttpStatus},
    reqwest::{ReplayRequest, middleware_error},
};
use tower_service::Service;

use crate::{
    Attempt, Balancer, BalancerBuilder, ConfigBuilder, ConnectFuture, EndpointSet, HashKey,
    JudgeUnsent, MakeEndpoint, Picked, Resend, Tried, Unsent, resend::rejected,
};

pub use crate::check::http::HttpCheck;
pub use seawall_core::reqwest::rejection;

/// As for gRPC channels: reqwest, too, waits for a connection without a bound.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// A balancer of HTTP requests.
pub type HttpBalancer<S = Client, R = ReplayHttp> = Balancer<S, AtBodyEnd<HttpStatus>, R>;

/// A balancer with a client per endpoint, for requests to the host name that `make` was made for.
///
/// # Errors
///
/// When a setting is out of its range, by its name.
///
/// # Examples
///
/// ```
/// use seawall_core::Endpoint;
/// use seawall_load_balance::{Config, EndpointSet, reqwest::{MakeClient, balance}};
///
/// let set = EndpointSet::from_endpoints([Endpoint::new("a", "10.0.0.1:8443".parse()?)]);
/// let balancer = balance(set, MakeClient::new("orders.internal"), Config::builder())?;
/// // balancer.oneshot(Request::new(Method::GET, "https://orders.internal/1".parse()?)).await?
/// # let _ = balancer;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn balance(
    set: EndpointSet,
    make: MakeClient,
    config: ConfigBuilder,
) -> Result<HttpBalancer, ConfigError> {
    builder(set, make).config(config).build()
}

/// A balancer over one client, which rewrites the URL of each request to the picked endpoint.
///
/// # Errors
///
/// When a setting is out of its range, by its name.
pub fn balance_urls(
    set: EndpointSet,
    client: Client,
    config: ConfigBuilder,
) -> Result<HttpBalancer<RewriteUrl>, ConfigError> {
    builder(set, MakeRewriteUrl { client }).config(config).build()
}

/// Puts a balancer of HTTP requests together whose endpoints have services of any type, such as a
/// client behind a breaker.
pub fn builder<M>(
    set: EndpointSet,
    make: M,
) -> BalancerBuilder<M, AtBodyEnd<HttpStatus>, ReplayHttp>
where
    M: MakeEndpoint + Send + Sync + 'static,
    M::Service: Clone + Send + Sync + 'static,
{
    Balancer::builder(set, make).track(AtBodyEnd(HttpStatus::new())).resend(ReplayHttp)
}

type Configure = dyn Fn(&Endpoint) -> ClientBuilder + Send + Sync;

/// Makes a client for each endpoint, which resolves one host name to that endpoint. Clones make the
/// same.
///
/// URLs of requests name the host and no port, unless all endpoints listen on that port: a port in
/// a URL is used as it stands. Other host names, as of redirects, are resolved as usual.
///
/// A client connects within a second unless set. It goes by no proxy of the environment, which
/// would do the resolving in its place.
///
/// # Cost
///
/// Making a client reads the root certificates where TLS is compiled in, which takes milliseconds,
/// inside the first call to each endpoint; [`ConfigBuilder::warm_up`] with a
/// [URL](Self::warm_up) takes it out of there.
#[derive(Clone)]
pub struct MakeClient {
    host: Arc<str>,
    configure: Arc<Configure>,
    warm_up: Option<Url>,
}

impl MakeClient {
    /// Clients for requests to `host`.
    pub fn new(host: impl Into<Arc<str>>) -> Self {
        let configure =
            |_: &Endpoint| Client::builder().connect_timeout(CONNECT_TIMEOUT).no_proxy();
        Self { host: host.into(), configure: Arc::new(configure), warm_up: None }
    }

    /// Begins each client with a builder of the user's, in place of the default one.
    #[must_use]
    pub fn configure<F>(mut self, configure: F) -> Self
    where
        F: Fn(&Endpoint) -> ClientBuilder + Send + Sync + 'static,
    {
        self.configure = Arc::new(configure);
        self
    }

    /// Asks each endpoint for the head of `url` (HEAD), a URL of the service, where
    /// [`ConfigBuilder::warm_up`] wants a connection before calls: reqwest has no other way to
    /// connect. Any answer will do, be it a 404; the connection waits in the client's pool.
    #[must_use]
    pub fn warm_up(mut self, url: Url) -> Self {
        self.warm_up = Some(url);
        self
    }
}

impl MakeEndpoint for MakeClient {
    type Service = Client;
    type Error = ::reqwest::Error;

    fn make(&self, endpoint: &Endpoint) -> Result<Client, ::reqwest::Error> {
        let resolver =
            ResolveToEndpoint { host: self.host.clone(), address: endpoint.address().clone() };
        (self.configure)(endpoint).dns_resolver(resolver).build()
    }

    fn connect(&self, endpoint: &Endpoint) -> Option<ConnectFuture<Client>> {
        let url = self.warm_up.clone()?;
        let client = self.make(endpoint);
        Some(Box::pin(async move {
            let client = client?;
            // Read to its end, because only then does the connection return to the pool.
            client.head(url).send().await?.bytes().await?;
            Ok(client)
        }))
    }
}

impl fmt::Debug for MakeClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MakeClient").field("host", &self.host).finish_non_exhaustive()
    }
}

/// Resolves the service's host to one endpoint, and leaves other names to the system.
#[derive(Clone)]
struct ResolveToEndpoint {
    host: Arc<str>,
    address: Address,
}

impl Resolve for ResolveToEndpoint {
    fn resolve(&self, name: Name) -> Resolving {
        let (host, port) = if name.as_str().eq_ignore_ascii_case(&self.host) {
            (self.address.host().to_owned(), self.address.port())
        } else {
            // Port 0 stands for the usual one of the URL's scheme.
            (name.as_str().to_owned(), 0)
        };
        Box::pin(async move {
            if let Ok(ip) = host.parse::<IpAddr>() {
                let address: Addrs = Box::new(std::iter::once(SocketAddr::new(ip, port)));
                return Ok(address);
            }
            let found: Vec<_> = tokio::net::lookup_host((host, port)).await?.collect();
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

#[derive(Clone, Debug)]
struct MakeRewriteUrl {
    client: Client,
}

impl MakeEndpoint for MakeRewriteUrl {
    type Service = RewriteUrl;
    type Error = BoxError;

    fn make(&self, endpoint: &Endpoint) -> Result<RewriteUrl, BoxError> {
        Ok(RewriteUrl { client: self.client.clone(), address: endpoint.address().clone() })
    }
}

/// A client whose requests go to one address, whatever the host in their URL. The `Host` header
/// keeps that one; `Response::url` shows the address.
///
/// Over https the server's certificate would have to be for the address: use [`MakeClient`].
#[derive(Clone, Debug)]
pub struct RewriteUrl {
    client: Client,
    address: Address,
}

impl RewriteUrl {
    /// Sends to `address` with `client`.
    pub fn new(client: Client, address: Address) -> Self {
        Self { client, address }
    }

    fn rewrite(&self, request: &mut Request) {
        if !request.headers().contains_key(HOST)
            && let Some(host) = host_header(request.url())
        {
            request.headers_mut().insert(HOST, host);
        }
        let url = request.url_mut();
        // Neither fails for a URL that has a host, and one without is refused by the client.
        let _ = match self.address.host().parse::<IpAddr>() {
            Ok(ip) => url.set_ip_host(ip),
            Err(_) => url.set_host(Some(self.address.host())).map_err(|_| ()),
        };
        let _ = url.set_port(Some(self.address.port()));
    }
}

fn host_header(url: &Url) -> Option<HeaderValue> {
    let host = url.host_str()?;
    match url.port() {
        Some(port) => HeaderValue::try_from(format!("{host}:{port}")).ok(),
        None => HeaderValue::from_str(host).ok(),
    }
}

impl Service<Request> for RewriteUrl {
    type Response = Response;
    type Error = ::reqwest::Error;
    type Future = <Client as Service<Request>>::Future;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ::reqwest::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        self.rewrite(&mut request);
        self.client.call(request)
    }
}

/// Keeps requests, streaming bodies up to 64 KiB, so that another endpoint can have them.
///
/// A request goes elsewhere when no connection could be made, and when a layer of ours in front of
/// the endpoint refused it. Extensions of a `reqwest::Request` are out of reach, so a [`Tried`]
/// comes with it in an [`Attempt`].
///
/// # Cost
///
/// A copy of the head for each attempt; of a streaming body, what was sent.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReplayHttp;

impl Resend<Request> for ReplayHttp {
    type Kept = Kept;
    type Sent = Request;

    fn first(&self, request: Request) -> (Request, Kept) {
        let kept = ReplayRequest::new(request);
        let sent = kept.attempt().expect("nothing of it was sent yet");
        (sent, Kept(kept))
    }

    fn again(&self, kept: &mut Kept) -> Option<Request> {
        kept.0.attempt()
    }
}

impl Resend<Attempt<Request>> for ReplayHttp {
    type Kept = Kept;
    type Sent = Request;

    fn first(&self, attempt: Attempt<Request>) -> (Request, Kept) {
        self.first(attempt.request)
    }

    fn again(&self, kept: &mut Kept) -> Option<Request> {
        kept.0.attempt()
    }

    fn tried(&self, attempt: &Attempt<Request>) -> Option<Tried> {
        Some(attempt.tried.clone())
    }

    fn key(&self, attempt: &Attempt<Request>) -> Option<HashKey> {
        attempt.key
    }
}

impl<E: std::error::Error + 'static> JudgeUnsent<E> for ReplayHttp {
    fn unsent(&self, error: &E) -> Unsent {
        unsent(error)
    }
}

/// What [`ReplayHttp`] keeps of a request.
#[derive(Debug)]
pub struct Kept(ReplayRequest);

/// Whether `error`, of a reqwest client or of layers around one, proves that the request was not
/// sent.
pub fn unsent(error: &(dyn std::error::Error + 'static)) -> Unsent {
    if let Some(rejected) = rejected(error) {
        return rejected;
    }
    let mut next = Some(error);
    while let Some(error) = next {
        if error.downcast_ref().is_some_and(::reqwest::Error::is_connect) {
            return Unsent::NoConnection;
        }
        next = error.source();
    }
    Unsent::No
}

/// Sends the requests of a `ClientWithMiddleware` through a balancer. Add it last: the balancer has
/// clients of its own, and what comes after this middleware is not reached.
///
/// A [`Tried`] in the extensions, as a retry middleware before this one may put there, is used, and
/// so is a [`HashKey`].
/// [`rejection`] finds the balancer's refusal in an error.
///
/// # Cost
///
/// Allocates a box for the future of each request, as the trait `Middleware` asks for.
///
/// # Examples
///
/// ```
/// use reqwest_middleware::ClientBuilder;
/// use seawall_core::Endpoint;
/// use seawall_load_balance::{
///     Config, EndpointSet,
///     reqwest::{BalanceMiddleware, balance_urls},
/// };
///
/// let set = EndpointSet::from_endpoints([Endpoint::new("a", "10.0.0.1:80".parse()?)]);
/// let balancer = balance_urls(set, reqwest::Client::new(), Config::builder())?;
/// let client = ClientBuilder::new(reqwest::Client::new())
///     .with(BalanceMiddleware::new(balancer))
///     .build();
/// # let _ = client;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct BalanceMiddleware<S: Clone + Send + Sync + 'static, R = ReplayHttp> {
    balancer: HttpBalancer<S, R>,
}

impl<S: Clone + Send + Sync + 'static, R> BalanceMiddleware<S, R> {
    /// Sends through `balancer`.
    pub fn new(balancer: HttpBalancer<S, R>) -> Self {
        Self { balancer }
    }

    /// The balancer.
    pub fn balancer(&self) -> &HttpBalancer<S, R> {
        &self.balancer
    }
}

#[async_trait]
impl<S, R> Middleware for BalanceMiddleware<S, R>
where
    R: Resend<Attempt<Request>, Sent = Request>
        + JudgeUnsent<::reqwest::Error>
        + Clone
        + Send
        + Sync
        + 'static,
    R::Kept: Send,
    S: Service<Request, Response = Response, Error = ::reqwest::Error>
        + Clone
        + Send
        + Sync
        + 'static,
    S::Future: Send,
    AtBodyEnd<HttpStatus>:
        seawall_core::Track<Response, ::reqwest::Error, Picked, Response = Response>,
{
    async fn handle(
        &self,
        request: Request,
        extensions: &mut Extensions,
        _: Next<'_>,
    ) -> reqwest_middleware::Result<Response> {
        let tried = extensions.get().cloned().unwrap_or_default();
        let key = extensions.get().copied();
        let call = self.balancer.clone().call(Attempt { request, tried, key });
        call.await.map_err(|error| match error {
            Error::Rejected(rejection) => middleware_error(rejection.into()),
            Error::Inner(error) => error.into(),
            error => reqwest_middleware::Error::middleware(error),
        })
    }
}
