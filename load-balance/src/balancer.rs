//! The balancer: a handle that picks, and a service that calls what it picked.

use std::{fmt, sync::Arc, time::Duration};

use fastrand::Rng;
use seawall_core::{Admission, AnyError, AtResult, ConfigError, EndpointId};

use crate::{
    BalancerSnapshot, Config, ConfigBuilder, EndpointSet, Keyed, MakeEndpoint, Once, PickContext,
    Picked, Tried,
    elsewhere::{Elsewhere, Left},
    link,
    route::Routed,
    shared::{Cached, Nothing, Shared},
    tiers::Tiers,
};

/// Spreads calls over the endpoints of a set: each goes to the less loaded of two.
///
/// A [`Service`](tower_service::Service) that is always ready, over services that `make` makes for
/// each endpoint. Clones share everything, need no buffer between them, and are cheap enough to
/// make one for each call. A balancer without a service picks alone: see [`Picker`].
///
/// - `S` is the service of one endpoint; `S: Sync` is needed, which `tower`'s `BoxCloneService` is
///   not, but its `BoxCloneSyncService` is.
/// - `T` follows a call to its end ([`Track`](seawall_core::Track)); the call is in flight until
///   then, and its outcome rules ejection.
/// - `R` keeps requests, so that one can go to another endpoint when the first cannot be reached
///   ([`Resend`](crate::Resend)).
///
/// # Algorithm
///
/// Mitzenmacher's power of two choices over calls in flight per weight; which endpoints take part,
/// [`Ejection`](crate::Ejection), [`SlowStart`](crate::SlowStart) and the services themselves
/// ([`BalancerBuilder::admits`]) decide.
///
/// # Errors
///
/// [`Error::Rejected`](seawall_core::Error::Rejected) with
/// [`Reason::NoEndpoint`](seawall_core::Reason::NoEndpoint) when the set stays empty for
/// [`wait_for_endpoints`](ConfigBuilder::wait_for_endpoints), or when no endpoint's service can be
/// made. Else what the endpoint's service answered.
///
/// # Cancel safety
///
/// Dropping the future of a call ends it everywhere: it is no longer in flight, and no longer waits.
///
/// # Cost
///
/// A pick looks at two endpoints, however many there are; it allocates nothing and takes no lock.
/// An endpoint's first pick makes its service under a lock of that endpoint. What keeping a request
/// costs, `R` says.
///
/// # Examples
///
/// ```
/// use seawall_core::Endpoint;
/// use seawall_load_balance::{Balancer, EndpointSet};
/// use tower::{ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let set = EndpointSet::from_endpoints([Endpoint::new("a", "10.0.0.1:80".parse()?)]);
/// let balancer = Balancer::builder(set, |endpoint: &Endpoint| {
///     let address = endpoint.address().to_string();
///     Ok::<_, std::io::Error>(service_fn(move |request: &'static str| {
///         let answer = format!("{request} from {address}");
///         async move { Ok::<_, std::io::Error>(answer) }
///     }))
/// })
/// .build()?;
///
/// assert_eq!(balancer.clone().oneshot("hello").await?, "hello from 10.0.0.1:80");
/// assert_eq!(balancer.snapshot().endpoints[0].successes, 1);
/// # Ok(())
/// # }
/// ```
pub struct Balancer<S, T = AtResult<AnyError>, R = Once> {
    pub(crate) shared: Arc<Shared<S>>,
    pub(crate) cached: Cached<S>,
    pub(crate) rng: Rng,
    pub(crate) track: T,
    pub(crate) resend: R,
}

/// A balancer without services, for callers that bring their own way to call.
///
/// ```
/// use seawall_core::{Endpoint, Guard, Outcome};
/// use seawall_load_balance::{EndpointSet, Picker};
///
/// let set = EndpointSet::from_endpoints([Endpoint::new("a", "10.0.0.1:80".parse()?)]);
/// let mut picker = Picker::new(set);
/// let picked = picker.pick().ok_or("no endpoint")?;
/// assert_eq!(picked.endpoint().address().port(), 80);
/// picked.finish(Outcome::Success);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub type Picker = Balancer<()>;

impl Picker {
    /// A picker over `set` with the default configuration.
    pub fn new(set: EndpointSet) -> Self {
        Self::with_config(set, Config::default())
    }

    /// A picker over `set`.
    pub fn with_config(set: EndpointSet, config: Config) -> Self {
        let shared = Shared::new(set, config, Box::new(|_| Ok(())), None, None);
        Self::over(shared, AtResult(AnyError), Once)
    }
}

impl<S: Clone + Send + Sync + 'static> Balancer<S> {
    /// A balancer over `set`, with a service for each endpoint that `make` makes.
    ///
    /// A closure must name the type of its argument: `|endpoint: &Endpoint| ..`.
    pub fn builder<M>(set: EndpointSet, make: M) -> BalancerBuilder<M>
    where
        M: MakeEndpoint<Service = S> + Send + Sync + 'static,
    {
        BalancerBuilder {
            set,
            make,
            config: Config::builder(),
            admits: None,
            track: AtResult(AnyError),
            resend: Once,
        }
    }
}

impl<S: Clone + Send + Sync + 'static, T, R> Balancer<S, T, R> {
    pub(crate) fn over(shared: Arc<Shared<S>>, track: T, resend: R) -> Self {
        let (cached, rng) = (shared.load(), shared.rng());
        Self { shared, cached, rng, track, resend }
    }

    /// Picks an endpoint for one call, which is in flight until the guard is told or dropped.
    ///
    /// `None` when there is none: the set is empty. When all endpoints are ejected or refuse, one
    /// of them is picked all the same. No service is made for it.
    #[inline]
    pub fn pick(&mut self) -> Option<Picked> {
        self.shared.refresh(&mut self.cached);
        self.shared.pick_alone(&self.cached, &mut self.rng, PickContext::new()).ok()
    }

    /// Picks as [`pick`](Self::pick) does, with what is known of the call.
    #[inline]
    pub fn pick_for(&mut self, context: PickContext<'_>) -> Option<Picked> {
        self.shared.refresh(&mut self.cached);
        self.shared.pick_alone(&self.cached, &mut self.rng, context).ok()
    }

    /// Picks as [`pick`](Self::pick) does, if possible none of those in `tried`, and adds it there.
    pub fn pick_other_than(&mut self, tried: &Tried) -> Option<Picked> {
        self.pick_for(PickContext::new().with_tried(tried))
    }

    /// Picks as [`pick_other_than`](Self::pick_other_than) does and gives the endpoint's service
    /// too, which is made if this is its first pick, and may yet have to become ready. `None` also
    /// when no service can be made.
    pub fn pick_service(&mut self, tried: Option<&Tried>) -> Option<(Picked, S)> {
        self.pick_service_for(PickContext { tried, ..PickContext::new() })
    }

    /// Picks as [`pick_service`](Self::pick_service) does, with what is known of the call.
    pub fn pick_service_for(&mut self, context: PickContext<'_>) -> Option<(Picked, S)> {
        self.pick_with(&mut Left::default(), context).ok()
    }

    #[inline(always)]
    pub(crate) fn pick_with(
        &mut self,
        left: &mut Left,
        PickContext { key, tried, subset }: PickContext<'_>,
    ) -> Result<(Picked, S), Nothing> {
        self.shared.refresh(&mut self.cached);
        let mut elsewhere = Elsewhere { left, tried, key, subset };
        match self.shared.pick(&self.cached, &mut self.rng, &mut elsewhere) {
            Ok(picked) => Ok(picked),
            // The set changed between the look and the pick.
            Err(Nothing::Stale) => self.shared.pick_from_latest(&mut self.rng, &mut elsewhere),
            Err(nothing) => Err(nothing),
        }
    }

    /// The set whose endpoints it calls.
    pub fn set(&self) -> &EndpointSet {
        &self.shared.set
    }

    /// How the endpoints are doing, ordered by id.
    ///
    /// # Cost
    ///
    /// Linear in the set. Calls go on meanwhile, so that numbers of different endpoints may differ
    /// by a moment.
    pub fn snapshot(&self) -> BalancerSnapshot {
        BalancerSnapshot::of(&self.shared)
    }

    /// The services that have been made, each with the id of its endpoint, ordered by id: for
    /// whoever wrapped them and wants to look inside.
    pub fn services(&self) -> Vec<(EndpointId, S)> {
        let members = self.shared.load();
        let all = members.entries.iter().chain(&members.drained);
        let mut made: Vec<_> =
            all.filter_map(|entry| Some((entry.node.id().clone(), entry.link.made()?))).collect();
        made.sort_by(|(a, _), (b, _)| a.cmp(b));
        made
    }

    /// Whether the policy's table shows the set as it is now. One that is made in the background,
    /// as a large [`Maglev`](crate::Maglev)'s is, follows a change after a while; picks never wait.
    pub fn is_settled(&self) -> bool {
        let members = self.shared.load();
        members.placement.is_settled() && members.tiers.as_ref().is_none_or(Tiers::is_settled)
    }

    /// Takes the place of another balancer with other settings: of the endpoints that both have, with
    /// the same address, it goes on with their services, their counts, their latencies, and with
    /// ejections and slow starts as far as its own settings have them. For a configuration that changes
    /// while it runs: build a balancer over the same [`set`](Self::set), have it take over before its
    /// first call, and put it in the place of the old one.
    ///
    /// Both have the same [clock](crate::ConfigBuilder::clock). Calls that are under way at the old one
    /// end there.
    ///
    /// ```
    /// use seawall_core::{AnyError, AtResult, Endpoint};
    /// use seawall_load_balance::{Balancer, Config, EndpointSet, Policy};
    ///
    /// let set = EndpointSet::from_endpoints([Endpoint::new("a", "10.0.0.1:80".parse()?)]);
    /// let make = |_: &Endpoint| Ok::<_, std::convert::Infallible>(());
    /// let mut old = Balancer::builder(set.clone(), make).build()?;
    /// drop(old.pick());
    ///
    /// let config = Config::builder().policy(Policy::RoundRobin);
    /// let new = Balancer::builder(set, make).config(config).build()?;
    /// new.take_over(&old);
    /// assert_eq!(new.snapshot().endpoints[0].calls, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn take_over<U, Q>(&self, before: &Balancer<S, U, Q>) {
        self.shared.inherit(&before.shared);
    }

    /// Examines the interval since the last sweep, and ejects endpoints by success rate and failure
    /// percentage, as far as [`Ejection`](crate::Ejection) asks.
    ///
    /// A task does so in each interval, where there is a tokio runtime; this is for programs without
    /// one, and for tests.
    ///
    /// # Cost
    ///
    /// Linear in the set.
    pub fn sweep(&self) {
        self.shared.sweep();
    }

    /// Takes an endpoint out for this long, however many are out already; `false` when it is not in.
    ///
    /// It is used all the same when too few others are well, as
    /// [`panic_threshold`](ConfigBuilder::panic_threshold) says.
    pub fn eject(&self, id: &EndpointId, time: Duration) -> bool {
        let members = self.shared.load();
        let found = members.entries.iter().find(|entry| entry.node.id() == id);
        found.is_some_and(|entry| self.shared.health.eject_by_hand(&entry.node, time))
    }

    /// Brings an endpoint back before its ejection ends; `false` when it is not ejected.
    pub fn uneject(&self, id: &EndpointId) -> bool {
        let members = self.shared.load();
        let found = members.entries.iter().find(|entry| entry.node.id() == id);
        found.is_some_and(|entry| self.shared.health.uneject(&entry.node))
    }
}

/// Clones share everything but the row of random numbers.
impl<S: Clone + Send + Sync + 'static, T: Clone, R: Clone> Clone for Balancer<S, T, R> {
    fn clone(&self) -> Self {
        Self {
            shared: self.shared.clone(),
            cached: self.cached.clone(),
            rng: self.shared.rng(),
            track: self.track.clone(),
            resend: self.resend.clone(),
        }
    }
}

impl<S: Clone + Send + Sync + 'static, T, R> fmt::Debug for Balancer<S, T, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let members = self.shared.load();
        f.debug_struct("Balancer")
            .field("endpoints", &members.entries.len())
            .field("drained", &members.drained.len())
            .field("ejected", &self.shared.health.ejected())
            .finish_non_exhaustive()
    }
}

/// Puts a [`Balancer`] together; made by [`Balancer::builder`].
#[must_use = "a builder does nothing until `build`"]
pub struct BalancerBuilder<M: MakeEndpoint, T = AtResult<AnyError>, R = Once> {
    set: EndpointSet,
    make: M,
    config: ConfigBuilder,
    admits: Option<fn(&M::Service) -> Admission>,
    track: T,
    resend: R,
}

impl<M, T, R> BalancerBuilder<M, T, R>
where
    M: MakeEndpoint + Send + Sync + 'static,
    M::Service: Clone + Send + Sync + 'static,
{
    /// Settings; [`Config`] lists the defaults.
    pub fn config(mut self, config: ConfigBuilder) -> Self {
        self.config = config;
        self
    }

    /// Asks an endpoint's service beforehand what it would do with a call, such as one behind a
    /// breaker that may be open; the pick goes elsewhere when it would refuse. When all refuse, one
    /// of them is called all the same, and its refusal reaches the caller. A service that refused,
    /// and admits again, begins slowly.
    ///
    /// For services that implement [`Foretell`](seawall_core::Foretell), it is
    /// `.admits(Foretell::admission)`.
    pub fn admits(mut self, admits: fn(&M::Service) -> Admission) -> Self {
        self.admits = Some(admits);
        self
    }

    /// Follows calls to their end with `track`; at the result, judged by whether it is an error,
    /// unless set.
    pub fn track<U>(self, track: U) -> BalancerBuilder<M, U, R> {
        let Self { set, make, config, admits, track: _, resend } = self;
        BalancerBuilder { set, make, config, admits, track, resend }
    }

    /// Keeps requests with `resend`; [`Once`] unless set.
    pub fn resend<U>(self, resend: U) -> BalancerBuilder<M, T, U> {
        let Self { set, make, config, admits, track, resend: _ } = self;
        BalancerBuilder { set, make, config, admits, track, resend }
    }

    /// Finds the keys of requests with `source`: a `KeyFrom` (feature `http`), or a function. Comes
    /// after [`resend`](Self::resend), if that is set.
    pub fn hash_key<K>(self, source: K) -> BalancerBuilder<M, T, Keyed<R, K>> {
        let Self { set, make, config, admits, track, resend } = self;
        let resend = Keyed::new(resend, source);
        BalancerBuilder { set, make, config, admits, track, resend }
    }

    /// Finds the subset of a [`Split`](crate::Split) that a request names, as by a header. Comes after
    /// [`resend`](Self::resend), if that is set.
    pub fn split_by<F>(self, name: F) -> BalancerBuilder<M, T, Routed<R, F>> {
        let Self { set, make, config, admits, track, resend } = self;
        let resend = Routed::new(resend, name);
        BalancerBuilder { set, make, config, admits, track, resend }
    }

    /// The balancer.
    ///
    /// # Errors
    ///
    /// When a setting is out of its range, by its name.
    pub fn build(self) -> Result<Balancer<M::Service, T, R>, ConfigError> {
        let Self { set, make, config, admits, track, resend } = self;
        let (make, connect) = link::split(make);
        let config = config.build()?;
        config.policy.check_size(set.len()).map_err(|error| error.within("policy"))?;
        let shared = Shared::new(set, config, make, Some(connect), admits);
        Ok(Balancer::over(shared, track, resend))
    }
}

impl<M: MakeEndpoint, T, R> fmt::Debug for BalancerBuilder<M, T, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BalancerBuilder")
            .field("set", &self.set)
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}
