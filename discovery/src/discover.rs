//! Watches as tower's `Discover`.

use std::{
    collections::HashMap,
    convert::Infallible,
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures_core::Stream;
use seawall_core::{Address, BoxError, Change, Endpoint, EndpointId};
use tokio::time::{Sleep, sleep};
use tower::discover;
use tower_layer::Layer;
use tracing::warn;

use crate::{Resolver, Watch};

/// How long an endpoint is left out whose service could not be made.
const MAKE_AGAIN: Duration = Duration::from_secs(1);

/// Turns a factory of endpoint services into a [`tower::discover::Discover`] of one service's
/// instances, for tower's own balancers.
///
/// The factory is a closure from endpoint to service, such as a lazy channel. It is asked once for
/// each endpoint and each change of an address; another weight or other metadata is no reason to
/// connect anew, and tower has no place for either. An endpoint whose service cannot be made is left
/// out, with a warning, and tried again after a second: an error in its `Discover` would end a
/// balancer of tower's for good.
///
/// # Examples
///
/// ```
/// use seawall_core::Endpoint;
/// use seawall_discovery::{DiscoverLayer, Fixed};
/// use tower::{Layer as _, ServiceExt as _, balance::p2c::Balance, load, service_fn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// let registry = Fixed::new().with("orders", [Endpoint::new("a", "10.0.0.1:80".parse()?)])?;
/// let discover = DiscoverLayer::new(registry, "orders").layer(|endpoint: &Endpoint| {
///     let id = endpoint.id().to_string();
///     let service = service_fn(move |(): ()| std::future::ready(Ok::<_, std::io::Error>(id.clone())));
///     Ok::<_, std::io::Error>(load::Constant::new(service, 1))
/// });
/// let balance = Balance::new(discover);
/// assert_eq!(balance.oneshot(()).await?, "a");
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct DiscoverLayer {
    resolver: Arc<dyn Resolver>,
    service: Arc<str>,
}

impl DiscoverLayer {
    /// The instances of `service` as `resolver` knows them.
    pub fn new(resolver: impl Resolver, service: impl Into<Arc<str>>) -> Self {
        Self { resolver: Arc::new(resolver), service: service.into() }
    }
}

impl fmt::Debug for DiscoverLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DiscoverLayer").field("service", &self.service).finish_non_exhaustive()
    }
}

/// # Panics
///
/// Outside of a tokio runtime, which carries the task behind the watch.
impl<M> Layer<M> for DiscoverLayer {
    type Service = Discovered<M>;

    fn layer(&self, make: M) -> Discovered<M> {
        Discovered {
            watch: self.resolver.watch(&self.service),
            make,
            pending: Vec::new(),
            addresses: HashMap::new(),
            failed: HashMap::new(),
            again: None,
        }
    }
}

/// The instances of a service, as services; see [`DiscoverLayer`].
#[must_use = "streams do nothing unless polled"]
pub struct Discovered<M> {
    watch: Watch,
    make: M,
    /// What the watch told and tower has not heard, the next one last.
    pending: Vec<Change>,
    /// Those that tower has, and where they are.
    addresses: HashMap<EndpointId, Address>,
    failed: HashMap<EndpointId, Endpoint>,
    again: Option<Pin<Box<Sleep>>>,
}

impl<M> Discovered<M> {
    /// What tower is told of `change`, if anything.
    fn tell<S, E>(&mut self, change: Change) -> Option<discover::Change<EndpointId, S>>
    where
        M: FnMut(&Endpoint) -> Result<S, E>,
        E: Into<BoxError>,
    {
        let endpoint = match change {
            Change::Remove(id) => {
                self.failed.remove(&id);
                self.addresses.remove(&id)?;
                return Some(discover::Change::Remove(id));
            }
            Change::Insert(endpoint) | Change::Update(endpoint) => endpoint,
        };
        let id = endpoint.id().clone();
        if self.addresses.get(&id) == Some(endpoint.address()) {
            return None;
        }
        match (self.make)(&endpoint) {
            Ok(service) => {
                self.failed.remove(&id);
                self.addresses.insert(id.clone(), endpoint.address().clone());
                Some(discover::Change::Insert(id, service))
            }
            Err(error) => {
                let error = error.into();
                warn!(target: "seawall::discovery", %id, %error, "no service for an endpoint");
                self.failed.insert(id.clone(), endpoint);
                // What tower has of it is at an address where it no longer is.
                self.addresses.remove(&id).map(|_| discover::Change::Remove(id))
            }
        }
    }
}

impl<M, S, E> Stream for Discovered<M>
where
    M: FnMut(&Endpoint) -> Result<S, E> + Unpin,
    E: Into<BoxError>,
{
    type Item = Result<discover::Change<EndpointId, S>, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            while let Some(change) = this.pending.pop() {
                if let Some(change) = this.tell(change) {
                    return Poll::Ready(Some(Ok(change)));
                }
            }
            if let Poll::Ready(Some(mut batch)) = Pin::new(&mut this.watch).poll_next(cx) {
                batch.reverse();
                this.pending = batch;
                continue;
            }
            if this.failed.is_empty() {
                this.again = None;
                return Poll::Pending;
            }
            let again = this.again.get_or_insert_with(|| Box::pin(sleep(MAKE_AGAIN)));
            if again.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            this.again = None;
            this.pending =
                this.failed.drain().map(|(_, endpoint)| Change::Insert(endpoint)).collect();
        }
    }
}

impl<M> fmt::Debug for Discovered<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Discovered")
            .field("watch", &self.watch)
            .field("services", &self.addresses.len())
            .field("failed", &self.failed.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt as _, StreamExt as _};

    use super::*;
    use crate::Publisher;

    struct One(Publisher);

    impl Resolver for One {
        fn watch(&self, _: &str) -> Watch {
            self.0.subscribe()
        }
    }

    fn endpoint(id: &str, host: &str) -> Endpoint {
        Endpoint::new(id, format!("{host}:1").parse().unwrap())
    }

    /// What tower is told next: `+id` or `-id`.
    async fn next<M>(discovered: &mut Discovered<M>) -> Option<String>
    where
        M: FnMut(&Endpoint) -> Result<String, &'static str> + Unpin,
    {
        match discovered.next().now_or_never()?? {
            Ok(discover::Change::Insert(_, service)) => Some(format!("+{service}")),
            Ok(discover::Change::Remove(id)) => Some(format!("-{id}")),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn only_another_address_makes_another_service() {
        let publisher = Publisher::new();
        let layer = DiscoverLayer::new(One(publisher.clone()), "s");
        let mut discovered =
            layer.layer(|e: &Endpoint| Ok::<_, &'static str>(e.address().to_string()));
        publisher.publish(vec![endpoint("a", "h")]);
        assert_eq!(next(&mut discovered).await.unwrap(), "+h:1");
        publisher.publish(vec![endpoint("a", "h").with_weight(7)]);
        assert_eq!(next(&mut discovered).await, None);
        publisher.publish(vec![endpoint("a", "i")]);
        assert_eq!(next(&mut discovered).await.unwrap(), "+i:1");
        publisher.publish(vec![]);
        assert_eq!(next(&mut discovered).await.unwrap(), "-a");
        assert_eq!(next(&mut discovered).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_service_that_cannot_be_made_is_left_out_and_made_later() {
        let publisher = Publisher::new();
        let mut failures = 2;
        let mut discovered =
            DiscoverLayer::new(One(publisher.clone()), "s").layer(move |e: &Endpoint| {
                match e.id().as_str() {
                    "bad" if failures > 0 => {
                        failures -= 1;
                        Err("no route")
                    }
                    id => Ok(id.to_owned()),
                }
            });
        publisher.publish(vec![endpoint("bad", "h"), endpoint("good", "h")]);
        assert_eq!(next(&mut discovered).await.unwrap(), "+good");
        assert_eq!(next(&mut discovered).await, None);
        tokio::time::sleep(MAKE_AGAIN).await;
        assert_eq!(next(&mut discovered).await, None, "it failed again");
        tokio::time::sleep(MAKE_AGAIN).await;
        assert_eq!(next(&mut discovered).await.unwrap(), "+bad");
    }
}
