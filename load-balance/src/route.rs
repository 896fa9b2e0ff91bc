//! Which part of the set a call goes to, before a policy picks within that part.

use std::sync::Arc;

use seawall_core::{ConfigError, Endpoint};

use crate::{HashKey, JudgeUnsent, Resend, Tried, Unsent};

/// How calls move to endpoints of a higher [`priority`](Endpoint::priority) as those of a lower one
/// fail. Priority 0 comes first.
///
/// # Algorithm
///
/// Envoy's priority levels. The health of a level is the percentage of its endpoints that are well
/// times the over-provisioning factor, at most 100. Levels take as much as their health, the first
/// ones first. Where all healths together come to less than 100, they are scaled up, and what
/// rounding leaves goes to the first level that has any: as Envoy's program does, where its
/// documentation spreads it. Then the panic threshold counts for each level; where all levels panic,
/// calls go by their numbers of endpoints.
///
/// # Cost
///
/// A pick draws a part, then picks within it. While an endpoint is not well, one pick in each tenth
/// of a second counts who is, or more rarely in a large set: linear in the set, with an allocation.
/// A change makes tables anew for the parts that it touches alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failover {
    pub(crate) overprovisioning: u32,
}

impl Failover {
    /// With a factor of 140 percent: a level keeps all calls until less than 72 percent of its
    /// endpoints are well.
    pub const fn new() -> Self {
        Self { overprovisioning: 140 }
    }

    /// How much more than its usual calls a level can bear; 100 to 10,000 percent, 140 unless set.
    #[must_use]
    pub const fn with_overprovisioning(mut self, percent: u32) -> Self {
        self.overprovisioning = percent;
        self
    }
}

impl Default for Failover {
    fn default() -> Self {
        Self::new()
    }
}

/// Keeps calls in the caller's [`zone`](Endpoint::zone) as far as its endpoints can bear it.
///
/// # Algorithm
///
/// Envoy's zone-aware routing. Where the zone has at least that part of the endpoints that it has of
/// the clients, all calls stay. Else the part that the endpoints can bear stays, and the others go
/// to zones with more endpoints than clients, in proportion to what they have to spare; where none
/// has, by their numbers of endpoints, where Envoy draws a zone blindly. It holds in every priority,
/// where Envoy knows zones in the first alone. It is off while too few endpoints are well, while a level panics, and where there is one zone only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZoneAware {
    pub(crate) zone: Arc<str>,
    pub(crate) min_endpoints: usize,
    pub(crate) clients: Vec<(Arc<str>, u32)>,
}

impl ZoneAware {
    /// For a caller in `zone`, with as many clients in each zone that has endpoints.
    pub fn new(zone: impl Into<Arc<str>>) -> Self {
        // Envoy's minimum cluster size.
        Self { zone: zone.into(), min_endpoints: 6, clients: Vec::new() }
    }

    /// With fewer endpoints that are well, zones do not matter; 6 unless set.
    #[must_use]
    pub fn with_min_endpoints(mut self, endpoints: usize) -> Self {
        self.min_endpoints = endpoints;
        self
    }

    /// How many clients like this one run in a zone; zones that are not named have none then.
    #[must_use]
    pub fn with_clients(mut self, zone: impl Into<Arc<str>>, clients: u32) -> Self {
        self.clients.push((zone.into(), clients));
        self
    }
}

/// Splits the calls among named subsets of the endpoints, as for a canary.
///
/// An endpoint belongs to the first subset that takes it, and gets no calls when none does. A
/// request may name its subset ([`PickContext::with_subset`](crate::PickContext::with_subset),
/// [`BalancerBuilder::split_by`](crate::BalancerBuilder::split_by)). Calls of a subset without
/// endpoints go to the others.
///
/// # Examples
///
/// ```
/// use seawall_load_balance::{Config, Select, Split};
///
/// let split = Split::new()
///     .with_subset("canary", Select::tag("canary"), 20)
///     .with_subset("stable", Select::Rest, 80);
/// let config = Config::builder().split(split).build()?;
/// # let _ = config;
/// # Ok::<(), seawall_core::ConfigError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Split {
    pub(crate) subsets: Vec<(Arc<str>, Select, u32)>,
}

impl Split {
    /// Without subsets, which [`build`](crate::ConfigBuilder::build) refuses.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a subset with its part of the calls, relative to the others; 0 for calls that name it
    /// alone.
    #[must_use]
    pub fn with_subset(mut self, name: impl Into<Arc<str>>, select: Select, weight: u32) -> Self {
        self.subsets.push((name.into(), select, weight));
        self
    }
}

/// Which endpoints a subset takes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Select {
    /// Those with this tag.
    Tag(Arc<str>),
    /// Those with this value under this key of their metadata.
    Metadata(Arc<str>, Arc<str>),
    /// All that the subsets before it left.
    Rest,
}

impl Select {
    /// Endpoints with a tag.
    pub fn tag(tag: impl Into<Arc<str>>) -> Self {
        Self::Tag(tag.into())
    }

    /// Endpoints with a value in their metadata.
    pub fn metadata(key: impl Into<Arc<str>>, value: impl Into<Arc<str>>) -> Self {
        Self::Metadata(key.into(), value.into())
    }

    pub(crate) fn takes(&self, endpoint: &Endpoint) -> bool {
        match self {
            Self::Tag(tag) => endpoint.tags().any(|own| own == &**tag),
            Self::Metadata(key, value) => endpoint.metadata(key) == Some(value),
            Self::Rest => true,
        }
    }
}

/// Keeps requests as `R` does, and asks `F` for the subset that a request names. Made by
/// [`BalancerBuilder::split_by`](crate::BalancerBuilder::split_by).
#[derive(Clone, Copy, Debug, Default)]
pub struct Routed<R, F> {
    resend: R,
    name: F,
}

impl<R, F> Routed<R, F> {
    /// Keeps as `resend` does, with subsets as `name` finds them.
    pub fn new(resend: R, name: F) -> Self {
        Self { resend, name }
    }
}

impl<Req, R: Resend<Req>, F: Fn(&Req) -> Option<Arc<str>>> Resend<Req> for Routed<R, F> {
    type Kept = R::Kept;
    type Sent = R::Sent;

    fn first(&self, request: Req) -> (Self::Sent, Self::Kept) {
        self.resend.first(request)
    }

    fn again(&self, kept: &mut Self::Kept) -> Option<Self::Sent> {
        self.resend.again(kept)
    }

    fn tried(&self, request: &Req) -> Option<Tried> {
        self.resend.tried(request)
    }

    fn key(&self, request: &Req) -> Option<HashKey> {
        self.resend.key(request)
    }

    fn subset(&self, request: &Req) -> Option<Arc<str>> {
        (self.name)(request).or_else(|| self.resend.subset(request))
    }
}

impl<E, R: JudgeUnsent<E>, F> JudgeUnsent<E> for Routed<R, F> {
    fn unsent(&self, error: &E) -> Unsent {
        self.resend.unsent(error)
    }
}

/// All that leads to a part of the set.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Routes {
    pub(crate) failover: Failover,
    pub(crate) zones: Option<ZoneAware>,
    pub(crate) split: Option<Split>,
}

impl Routes {
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let factor = self.failover.overprovisioning;
        if !(100..=10_000).contains(&factor) {
            let error = ConfigError::new("overprovisioning", factor, "100 to 10,000 percent");
            return Err(error.within("failover"));
        }
        if let Some(zones) = &self.zones
            && !zones.clients.is_empty()
            && !zones.clients.iter().any(|(zone, count)| *zone == zones.zone && *count > 0)
        {
            let error = ConfigError::new("clients", 0, "at least one in the zone of the caller");
            return Err(error.within("zone_aware"));
        }
        if let Some(split) = &self.split {
            let names = || split.subsets.iter().map(|(name, ..)| name);
            let doubled =
                names().enumerate().find(|(at, name)| names().take(*at).any(|n| n == *name));
            if let Some((_, name)) = doubled {
                return Err(ConfigError::new("name", name, "one subset each").within("split"));
            }
            if split.subsets.iter().all(|(_, _, weight)| *weight == 0) {
                return Err(ConfigError::new("weight", 0, "above 0 for one subset").within("split"));
            }
        }
        Ok(())
    }

    /// Whether a set whose endpoints all have priority 0 is in parts.
    pub(crate) fn divide(&self) -> bool {
        self.zones.is_some() || self.split.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nonsense_is_refused_by_name() {
        let field = |routes: Routes| routes.check().unwrap_err().field().to_owned();
        let split = |split| field(Routes { split: Some(split), ..Routes::default() });
        assert_eq!(split(Split::new()), "split.weight");
        let twice =
            Split::new().with_subset("a", Select::Rest, 1).with_subset("a", Select::Rest, 1);
        assert_eq!(split(twice), "split.name");
        let failover = Failover::new().with_overprovisioning(99);
        assert_eq!(field(Routes { failover, ..Routes::default() }), "failover.overprovisioning");
        let zones = Some(ZoneAware::new("a").with_clients("b", 1));
        assert_eq!(field(Routes { zones, ..Routes::default() }), "zone_aware.clients");
        assert!(Routes::default().check().is_ok());
    }
}
