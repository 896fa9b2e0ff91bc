//! The balancer as a tower layer over a factory.

use seawall_core::{Admission, AnyError, AtResult, Foretell};
use tower_layer::Layer;

use crate::{
    Balancer, Config, EndpointSet, Keyed, MakeEndpoint, Once, Routed, link, shared::Shared,
};

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
pub struct BalanceLayer<T = AtResult<AnyError>, R = Once, A = Unasked> {
    set: EndpointSet,
    config: Config,
    track: T,
    resend: R,
    admits: A,
}

impl BalanceLayer {
    /// Balances over `set` with the default configuration.
    pub fn new(set: EndpointSet) -> Self {
        Self::with_config(set, Config::default())
    }

    /// Balances over `set`.
    pub fn with_config(set: EndpointSet, config: Config) -> Self {
        Self { set, config, track: AtResult(AnyError), resend: Once, admits: Unasked }
    }
}

impl<T, R, A> BalanceLayer<T, R, A> {
    /// Follows calls to their end with `track`; at the result, judged by whether it is an error,
    /// unless set.
    #[must_use]
    pub fn track<U>(self, track: U) -> BalanceLayer<U, R, A> {
        let Self { set, config, track: _, resend, admits } = self;
        BalanceLayer { set, config, track, resend, admits }
    }

    /// Keeps requests with `resend`; [`Once`] unless set.
    #[must_use]
    pub fn resend<U>(self, resend: U) -> BalanceLayer<T, U, A> {
        let Self { set, config, track, resend: _, admits } = self;
        BalanceLayer { set, config, track, resend, admits }
    }

    /// Finds the keys of requests with `source`: a `KeyFrom` (feature `http`), or a function. Comes
    /// after [`resend`](Self::resend), if that is set.
    #[must_use]
    pub fn hash_key<K>(self, source: K) -> BalanceLayer<T, Keyed<R, K>, A> {
        let Self { set, config, track, resend, admits } = self;
        BalanceLayer { set, config, track, resend: Keyed::new(resend, source), admits }
    }

    /// Finds the subset of a [`Split`](crate::Split) that a request names, as by a header; requests
    /// that name none go by the weights. Comes after [`resend`](Self::resend), if that is set.
    #[must_use]
    pub fn split_by<F>(self, name: F) -> BalanceLayer<T, Routed<R, F>, A> {
        let Self { set, config, track, resend, admits } = self;
        BalanceLayer { set, config, track, resend: Routed::new(resend, name), admits }
    }

    /// Asks an endpoint's service beforehand what it would do with a call, as
    /// [`BalancerBuilder::admits`](crate::BalancerBuilder::admits) does, for services that
    /// implement [`Foretell`], such as one behind a breaker.
    #[must_use]
    pub fn admits(self) -> BalanceLayer<T, R, Foretold> {
        let Self { set, config, track, resend, admits: _ } = self;
        BalanceLayer { set, config, track, resend, admits: Foretold }
    }
}

/// How a [`BalanceLayer`] learns whether a service would refuse a call: [`Unasked`] or [`Foretold`].
pub trait Admits<S> {
    /// What to ask a service, if anything.
    fn question(&self) -> Option<fn(&S) -> Admission>;
}

/// Services are not asked.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unasked;

impl<S> Admits<S> for Unasked {
    fn question(&self) -> Option<fn(&S) -> Admission> {
        None
    }
}

/// Services foretell it. Set by [`BalanceLayer::admits`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Foretold;

impl<S: Foretell> Admits<S> for Foretold {
    fn question(&self) -> Option<fn(&S) -> Admission> {
        Some(S::admission)
    }
}

impl<M, T, R, A> Layer<M> for BalanceLayer<T, R, A>
where
    M: MakeEndpoint + Send + Sync + 'static,
    M::Service: Clone + Send + Sync + 'static,
    T: Clone,
    R: Clone,
    A: Admits<M::Service>,
{
    type Service = Balancer<M::Service, T, R>;

    fn layer(&self, make: M) -> Self::Service {
        let (make, connect) = link::split(make);
        let (set, config) = (self.set.clone(), self.config.clone());
        let shared = Shared::new(set, config, make, Some(connect), self.admits.question());
        Balancer::over(shared, self.track.clone(), self.resend.clone())
    }
}
