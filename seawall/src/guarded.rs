//! How the service of one endpoint is made: connections behind a breaker.

use std::sync::Arc;

use arc_swap::ArcSwap;
use seawall_circuit_breaker::AdmitService;
use seawall_core::{BoxError, Endpoint, http::AtBodyEnd};
use seawall_load_balance::{ConnectFuture, MakeEndpoint};

use crate::{
    breakers::{Breaker, Breakers},
    policy::Bounds,
    pool::{Pool, WithHeld},
};

/// The connections to an endpoint behind its breaker; a call ends with its body, as `C` judges it.
pub(crate) type Guarded<S, C> = AdmitService<Breaker, Pool<S>, WithHeld<AtBodyEnd<C>>>;

/// Makes them out of what `make` makes, for one connection each.
pub(crate) struct MakeGuarded<M, C> {
    pub(crate) make: M,
    pub(crate) breakers: Breakers,
    pub(crate) bounds: Arc<ArcSwap<Bounds>>,
    pub(crate) classify: C,
}

impl<M, C> MakeGuarded<M, C>
where
    M: MakeEndpoint + Clone + Send + Sync + 'static,
    M::Service: Clone,
    C: Clone,
{
    fn guard(&self, endpoint: &Endpoint, first: M::Service) -> Guarded<M::Service, C> {
        let (make, of) = (self.make.clone(), endpoint.clone());
        let more = move || make.make(&of).ok();
        let pool = Pool::new(endpoint.id().as_str(), **self.bounds.load(), first, more);
        let track = WithHeld(AtBodyEnd(self.classify.clone()));
        AdmitService::new(pool, self.breakers.make(endpoint), track).give_back()
    }
}

impl<M: Clone, C: Clone> Clone for MakeGuarded<M, C> {
    fn clone(&self) -> Self {
        Self {
            make: self.make.clone(),
            breakers: self.breakers.clone(),
            bounds: self.bounds.clone(),
            classify: self.classify.clone(),
        }
    }
}

impl<M, C> MakeEndpoint for MakeGuarded<M, C>
where
    M: MakeEndpoint + Clone + Send + Sync + 'static,
    M::Service: Clone + Send + 'static,
    M::Error: Into<BoxError>,
    C: Clone + Send + Sync + 'static,
{
    type Service = Guarded<M::Service, C>;
    type Error = BoxError;

    fn make(&self, endpoint: &Endpoint) -> Result<Self::Service, BoxError> {
        Ok(self.guard(endpoint, self.make.make(endpoint).map_err(Into::into)?))
    }

    fn connect(&self, endpoint: &Endpoint) -> Option<ConnectFuture<Self::Service>> {
        let connecting = self.make.connect(endpoint)?;
        let (guarded, endpoint) = (self.clone(), endpoint.clone());
        Some(Box::pin(async move { Ok(guarded.guard(&endpoint, connecting.await?)) }))
    }
}
