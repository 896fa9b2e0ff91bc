//! A policy, ready to be asked.

use std::sync::Arc;

use seawall_core::ConfigError;

use super::{Call, Follow, MakeTarget, Target};
use crate::{
    BuildError,
    call::Caller,
    fallback::Fallback,
    gate::Entered,
    limit::Limit,
    policy::{Match, Policy, Share},
    setup::Given,
    way::Way,
};

/// A policy, ready to be asked.
pub(super) struct Plan<B> {
    pub(super) policy: Policy,
    /// Counts the policies that were put in force.
    pub(super) version: u64,
    /// The client's own service first.
    pub(super) targets: Vec<Target<B>>,
    routes: Vec<(Vec<Match>, Branch)>,
    pub(super) rest: Branch,
}

/// How the calls of one route are made, and where they go.
pub(super) struct Branch {
    pub(super) caller: Caller,
    parts: Vec<Part>,
    fallback: Option<Arc<Fallback>>,
    /// The service of the fallback, if it has one.
    instead: Option<usize>,
}

struct Part {
    target: usize,
    subset: Option<Arc<str>>,
    weight: u32,
}

impl<B: Clone + Follow> Plan<B> {
    /// The plan of a policy, with what `old` has of the same services.
    pub(super) fn new(
        service: &Arc<str>,
        policy: Policy,
        given: &Given,
        old: Option<&Self>,
        make: &MakeTarget<B>,
    ) -> Result<Self, BuildError> {
        let mut names = vec![service.clone()];
        let mut place = |name: &str| match names.iter().position(|known| **known == *name) {
            Some(at) => at,
            None => {
                names.push(name.into());
                names.len() - 1
            }
        };
        let base = policy.without_routes();
        let before = old.map(|old| &old.rest);
        let limit = Limit::of(
            &base,
            service,
            &given.clock,
            before.and_then(|old| old.caller.limit.as_deref()),
        )?;
        let mut base =
            Caller::new(service, &given.clock, base, limit, before.map(|old| &old.caller));
        // What a throttle has counted goes on under other settings.
        let throttles = (&mut base.throttle, before.map(|old| &old.caller.throttle));
        if let (Some(throttle), Some(Some(running))) = throttles {
            throttle.clone_from(running);
        }
        let all = parts(&policy.split, &mut place);
        let rest = Branch::new(base.clone(), all, given, before, &mut place);
        let mut routes = Vec::with_capacity(policy.routes.len());
        for (at, route) in policy.routes.iter().enumerate() {
            let effective = policy.of_route(at).map_err(|error| {
                ConfigError::new(error.path().to_owned(), "refused", error.to_string())
            })?;
            let before = old.and_then(|old| old.branch_of(&route.matches));
            let title = format!("{service} {}", route.title(at));
            // Without one of its own, a route is no way around the limit of all.
            let limit = if effective.rate_limit == policy.rate_limit {
                base.limit.clone()
            } else {
                let before = before.and_then(|before| before.caller.limit.as_deref());
                Limit::of(&effective, &title, &given.clock, before)
                    .map_err(|error| error.within(&route.title(at)))?
            };
            let kin = before.map(|before| &before.caller);
            let caller =
                Caller::new(&title, &given.clock, effective, limit, [&base].into_iter().chain(kin));
            let mut parts = parts(&route.split, &mut place);
            let only = &mut parts[0];
            if let Some(service) = &route.service {
                only.target = place(service);
            }
            if let Some(subset) = &route.subset {
                only.subset = Some(subset.as_str().into());
            }
            let branch = Branch::new(caller, parts, given, before, &mut place);
            routes.push((route.matches.clone(), branch));
        }
        let mut targets = Vec::with_capacity(names.len());
        for name in &names {
            let known = old.and_then(|old| old.targets.iter().find(|known| known.service == *name));
            targets.push(match known {
                Some(known) if old.is_some_and(|old| old.policy.balances_as(&policy, name)) => {
                    known.clone()
                }
                Some(known) => {
                    let mut target = make(name, &policy, Some(known))?;
                    target.take_over(known);
                    target
                }
                None => make(name, &policy, None)?,
            });
        }
        let version = old.map_or(0, |old| old.version) + 1;
        Ok(Self { policy, version, targets, routes, rest })
    }

    /// The same policy without endpoints.
    pub(super) fn without_targets(&self) -> Self {
        let caller = self.rest.caller.clone();
        let rest = Branch { caller, parts: Vec::new(), fallback: None, instead: None };
        let (policy, targets, routes) = (self.policy.clone(), Vec::new(), Vec::new());
        Self { policy, version: self.version, targets, routes, rest }
    }

    /// Who makes a call, and the way that it goes; `None` where there are no targets any more.
    pub(super) fn call(&self, method: &str, path: &str, entered: Entered) -> Option<Call<B>> {
        let matched =
            self.routes.iter().find(|(own, _)| own.iter().any(|m| m.matches(method, path)));
        let branch = matched.map_or(&self.rest, |(_, branch)| branch);
        if self.targets.is_empty() {
            return None;
        }
        let part = branch.pick();
        let way = |target: usize, subset: &Option<Arc<str>>| {
            let balancer = self.targets[target].balancer.clone();
            Way { balancer, subset: subset.clone() }
        };
        Some(Call {
            caller: branch.caller.clone(),
            way: way(part.target, &part.subset),
            fallback: branch.fallback.clone(),
            instead: branch.instead.map(|target| way(target, &None)),
            _entered: entered,
        })
    }

    /// The routes by their names, and how their calls are made.
    pub(super) fn callers(&self) -> impl Iterator<Item = (String, &Caller)> {
        let named = self.routes.iter().enumerate();
        named.map(|(at, (_, branch))| (self.policy.routes[at].title(at), &branch.caller))
    }

    /// What calls of these matches go through.
    fn branch_of(&self, matches: &[Match]) -> Option<&Branch> {
        self.routes.iter().find(|(own, _)| own == matches).map(|(_, branch)| branch)
    }

    /// Gives the limits and throttles, of which the running ones go on, the settings of this plan.
    pub(super) fn keep_settings(&self) {
        let routes = self.routes.iter().map(|(_, branch)| branch);
        for branch in routes.chain([&self.rest]) {
            if let Some(limit) = &branch.caller.limit {
                limit.keep_quota();
            }
            branch.caller.keep_throttle();
        }
    }
}

/// Where calls go; to the client's own service where nothing is divided.
fn parts(split: &[Share], place: &mut impl FnMut(&str) -> usize) -> Vec<Part> {
    if split.is_empty() {
        return vec![Part { target: 0, subset: None, weight: 1 }];
    }
    let part = |share: &Share| Part {
        target: share.service.as_deref().map_or(0, &mut *place),
        subset: share.subset.as_deref().map(Into::into),
        weight: share.weight,
    };
    split.iter().map(part).collect()
}

impl Branch {
    /// With what `before` has that goes on.
    fn new(
        caller: Caller,
        parts: Vec<Part>,
        given: &Given,
        before: Option<&Self>,
        place: &mut impl FnMut(&str) -> usize,
    ) -> Self {
        let before = before.and_then(|before| before.fallback.as_deref());
        let fallback = Fallback::new(&caller, given, before);
        let service = fallback.as_ref().and_then(|fallback| fallback.service.as_deref());
        Self { instead: service.map(place), caller, parts, fallback }
    }

    fn pick(&self) -> &Part {
        if let [only] = &*self.parts {
            return only;
        }
        let all = self.parts.iter().map(|part| u64::from(part.weight)).sum::<u64>();
        let mut at = fastrand::u64(..all.max(1));
        for part in &self.parts {
            match at.checked_sub(u64::from(part.weight)) {
                None => return part,
                Some(left) => at = left,
            }
        }
        &self.parts[0]
    }
}
