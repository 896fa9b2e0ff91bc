//! Connections that are made before an endpoint gets calls.
//!
//! Opt-in by [`ConfigBuilder::warm_up`](crate::ConfigBuilder::warm_up). A task of the balancer
//! connects to each new endpoint; until it has, or its time is over, the endpoint is used only when
//! there is nobody else. The end of its time is seen by the picks themselves, so that no task that
//! fails or hangs can keep an endpoint out.

use std::{fmt, future::poll_fn, pin::Pin, sync::Arc, time::Duration};

use seawall_core::{BoxError, Clock, Endpoint};
use tokio::{
    sync::Semaphore,
    time::{sleep, timeout},
};
use tower_service::Service;

use crate::{MakeEndpoint, health::Health, link::Link, members::Entry, node::Node};

/// The future of one connection, which gives the service of an endpoint.
pub type ConnectFuture<S> = Pin<Box<dyn Future<Output = Result<S, BoxError>> + Send>>;

/// The future of what a new service is warmed up with.
pub type WarmUpFuture = ConnectFuture<()>;

/// How many connections are made at once: a thousand new endpoints are no reason to flood the
/// network that the calls of the others use.
const AT_ONCE: usize = 64;

/// After a failure it is tried again: soon, because the process has just come up, then less often.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

pub(crate) type Connect<S> = dyn Fn(&Endpoint) -> Option<ConnectFuture<S>> + Send + Sync + 'static;

/// Makes services as `M` does, and warms each up with `F` where
/// [`ConfigBuilder::warm_up`](crate::ConfigBuilder::warm_up) asks for it.
///
/// For factories that do not know how to connect by themselves, such as a closure. A
/// [`MakeEndpoint`] of the user's may implement [`connect`](MakeEndpoint::connect) instead.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use seawall_core::Endpoint;
/// use seawall_load_balance::{Balancer, Config, EndpointSet, WarmUp};
/// use tower::{ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let make = |_: &Endpoint| {
///     Ok::<_, std::io::Error>(service_fn(|question: u32| async move {
///         Ok::<_, std::io::Error>(question + 1)
///     }))
/// };
/// // A first call, of which no caller waits for the answer.
/// let warm = WarmUp::new(make, |service| async move {
///     service.oneshot(0).await.map(drop)
/// });
/// let set = EndpointSet::from_endpoints([Endpoint::new("a", "10.0.0.1:80".parse()?)]);
/// let config = Config::builder().warm_up(Duration::from_secs(2));
/// let balancer = Balancer::builder(set, warm).config(config).build()?;
/// assert_eq!(balancer.oneshot(4).await?, 5);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct WarmUp<M, F> {
    make: M,
    warm: F,
}

impl<M, F> WarmUp<M, F> {
    /// Warms each service that `make` makes up with `warm`, a function of a clone of it. An error is
    /// tried again while there is time.
    pub fn new<W>(make: M, warm: F) -> Self
    where
        M: MakeEndpoint,
        F: Fn(M::Service) -> W,
    {
        Self { make, warm }
    }
}

impl<M: MakeEndpoint> WarmUp<M, fn(M::Service) -> WarmUpFuture> {
    /// Waits until each service is ready for a request of the type `Req`. For services that connect
    /// in `poll_ready`, which those of tonic and reqwest do not.
    pub fn until_ready<Req>(make: M) -> Self
    where
        M::Service: Service<Req> + Send + 'static,
        <M::Service as Service<Req>>::Error: Into<BoxError>,
    {
        Self { make, warm: ready::<M::Service, Req> }
    }
}

fn ready<S, Req>(mut service: S) -> WarmUpFuture
where
    S: Service<Req> + Send + 'static,
    S::Error: Into<BoxError>,
{
    Box::pin(async move { poll_fn(|cx| service.poll_ready(cx)).await.map_err(Into::into) })
}

impl<M, F, W, E> MakeEndpoint for WarmUp<M, F>
where
    M: MakeEndpoint,
    M::Service: Clone + Send + 'static,
    F: Fn(M::Service) -> W,
    W: Future<Output = Result<(), E>> + Send + 'static,
    E: Into<BoxError>,
{
    type Service = M::Service;
    type Error = M::Error;

    fn make(&self, endpoint: &Endpoint) -> Result<M::Service, M::Error> {
        self.make.make(endpoint)
    }

    fn connect(&self, endpoint: &Endpoint) -> Option<ConnectFuture<M::Service>> {
        let service = match self.make.make(endpoint) {
            Ok(service) => service,
            Err(error) => {
                let error = error.into();
                return Some(Box::pin(async move { Err(error) }));
            }
        };
        let warm = (self.warm)(service.clone());
        Some(Box::pin(async move { warm.await.map(|()| service).map_err(Into::into) }))
    }
}

impl<M: fmt::Debug, F> fmt::Debug for WarmUp<M, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WarmUp").field("make", &self.make).finish_non_exhaustive()
    }
}

/// Connects to the endpoints of one balancer.
pub(crate) struct Warmer<S> {
    connect: Arc<Connect<S>>,
    limit: Duration,
    permits: Arc<Semaphore>,
}

/// Work that warms up one endpoint.
pub(crate) struct Cold {
    pub(crate) node: Arc<Node>,
    pub(crate) work: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl<S: Clone + Send + Sync + 'static> Warmer<S> {
    pub(crate) fn new(connect: Box<Connect<S>>, limit: Duration) -> Self {
        Self { connect: connect.into(), limit, permits: Arc::new(Semaphore::new(AT_ONCE)) }
    }

    /// What is to be done for those of `entries` that are new.
    pub(crate) fn work(&self, entries: &[Entry<S>]) -> Vec<Cold> {
        let cold = entries.iter().filter(|entry| entry.node.state().is_cold());
        cold.map(|entry| Cold { node: entry.node.clone(), work: self.warm_up(entry) }).collect()
    }

    fn warm_up(&self, entry: &Entry<S>) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let (node, link) = (entry.node.clone(), entry.link.clone());
        let (connect, permits, limit) = (self.connect.clone(), self.permits.clone(), self.limit);
        Box::pin(async move {
            // The time in which others are connected to counts: it is the endpoint that waits.
            let connecting = until_connected(&node, &link, &*connect, &permits);
            // When it is over, the calls find out what is wrong.
            let _ = timeout(limit, connecting).await;
            node.health().warmed_up(&node);
        })
    }
}

async fn until_connected<S: Clone + Send + Sync + 'static>(
    node: &Node,
    link: &Link<S>,
    connect: &Connect<S>,
    permits: &Semaphore,
) {
    let health: &Health = node.health();
    let (mut pause, longest) = PAUSES;
    loop {
        let permit = permits.acquire().await;
        let Some(connecting) = connect(&node.endpoint()) else { return };
        match connecting.await {
            Ok(service) => return install(link, service, node, &health.clock),
            Err(error) => {
                let error = error.to_string();
                health.watch().tell(|observer, name| observer.not_made(name, node.id(), &error));
            }
        }
        drop(permit);
        sleep(pause).await;
        pause = (pause * 2).min(longest);
    }
}

/// A call that was faster has made a service already, which stays; an endpoint that has left needs
/// none.
fn install<S: Clone + Send + Sync + 'static>(
    link: &Link<S>,
    service: S,
    node: &Node,
    clock: &Clock,
) {
    let _ = link.service(&move |_: &Endpoint| Ok(service.clone()), || node.endpoint(), clock);
}
