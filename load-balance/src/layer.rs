//! The balancer as a tower layer over a factory.

use seawall_core::{AnyError, AtResult};
use tower_layer::Layer;

use crate::{Balancer, Config, EndpointSet, Keyed, MakeEndpoint, Once, shared::Shared};

/// Makes a [`Balancer`] of a factory of services.
///
/// Each use of the layer makes a balancer of its own, with its own connections and its own
/// knowledge of the endpoints; they share the set. Clone the balancer, not the layer, to share
/// both.
///
/// # Examples
///
/// ```
/// use seawall_core::Endpoint;
/// use seawall_load_balance::{BalanceLayer, EndpointSet};
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let set = EndpointSet::from_endpoints([Endpoint::new("a", "10.0.0.1:80".parse()?)]);
/// let client = ServiceBuilder::new().layer(BalanceLayer::new(set)).service(|endpoint: &Endpoint| {
///     let id = endpoint.id().clone();
///     Ok::<_, std::io::Error>(service_fn(move |(): ()| {
///         let id = id.clone();
///         async move { Ok::<_, std::io::Error>(id) }
///     }))
/// });
/// assert_eq!(client.oneshot(()).await?, "a".into());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct BalanceLayer<T = AtResult<AnyError>, R = Once> {
    set: EndpointSet,
    config: Config,
    track: T,
    resend: R,
}

impl BalanceLayer {
    /// Balances over `set` with the default configuration.
    pub fn new(set: EndpointSet) -> Self {
        Self::with_config(set, Config::default())
    }

    /// Balances over `set`.
    pub fn with_config(set: EndpointSet, config: Config) -> Self {
        Self { set, config, track: AtResult(AnyError), resend: Once }
    }
}

impl<T, R> BalanceLayer<T, R> {
    /// Follows calls to their end with `track`; at the result, judged by whether it is an error,
    /// unless set.
    #[must_use]
    pub fn track<U>(self, track: U) -> BalanceLayer<U, R> {
        BalanceLayer { set: self.set, config: self.config, track, resend: self.resend }
    }

    /// Keeps requests with `resend`; [`Once`] unless set.
    #[must_use]
    pub fn resend<U>(self, resend: U) -> BalanceLayer<T, U> {
        BalanceLayer { set: self.set, config: self.config, track: self.track, resend }
    }

    /// Finds the keys of requests with `source`: a `KeyFrom` (feature `http`), or a function. Comes
    /// after [`resend`](Self::resend), if that is set.
    #[must_use]
    pub fn hash_key<K>(self, source: K) -> BalanceLayer<T, Keyed<R, K>> {
        let resend = Keyed::new(self.resend, source);
        BalanceLayer { set: self.set, config: self.config, track: self.track, resend }
    }
}

impl<M, T, R> Layer<M> for BalanceLayer<T, R>
where
    M: MakeEndpoint + Send + Sync + 'static,
    M::Service: Clone + Send + Sync + 'static,
    T: Clone,
    R: Clone,
{
    type Service = Balancer<M::Service, T, R>;

    fn layer(&self, make: M) -> Self::Service {
        let make = Box::new(move |endpoint: &_| make.make(endpoint).map_err(Into::into));
        let shared = Shared::new(self.set.clone(), self.config.clone(), make, None);
        Balancer::over(shared, self.track.clone(), self.resend.clone())
    }
}
