//! The policy that is in force, and the way of each call by it.

use std::{
    fmt,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use arc_swap::ArcSwap;
use seawall_circuit_breaker::{CircuitBreaker, CircuitBreakerService};
use seawall_core::ConfigError;
use seawall_load_balance::Balancer;
use tokio::{task::AbortHandle, time::sleep};

use crate::{
    BuildError,
    breakers::Breakers,
    call::Caller,
    limit::Limit,
    policy::{Match, Policy, PolicyError, Share},
    way::Way,
};

/// How often a file is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// What calls of one service go through.
#[derive(Clone)]
pub(crate) struct Target<B> {
    pub(crate) service: Arc<str>,
    pub(crate) balancer: B,
    pub(crate) breakers: Breakers,
}

/// Makes what calls of a service go through, by a policy.
type MakeTarget<B> = dyn Fn(&Arc<str>, &Policy) -> Result<Target<B>, BuildError> + Send + Sync;

/// A policy in force, which another may replace while calls are running.
pub(crate) struct Live<B> {
    plan: ArcSwap<Plan<B>>,
    make: Box<MakeTarget<B>>,
    /// One change at a time.
    changing: Mutex<()>,
    tasks: Mutex<Vec<AbortHandle>>,
}

/// A policy, ready to be asked.
struct Plan<B> {
    policy: Policy,
    /// The client's own service first.
    targets: Vec<Target<B>>,
    routes: Vec<(Vec<Match>, Branch)>,
    rest: Branch,
}

/// How the calls of one route are made, and where they go.
struct Branch {
    caller: Caller,
    parts: Vec<Part>,
}

struct Part {
    target: usize,
    subset: Option<Arc<str>>,
    weight: u32,
}

/// What has breakers, which follow the policy.
pub(crate) trait Breaking {
    fn breakers(&self) -> Vec<CircuitBreaker>;
}

impl<S, T, U, R> Breaking for Balancer<CircuitBreakerService<S, T>, U, R>
where
    CircuitBreakerService<S, T>: Clone + Send + Sync + 'static,
{
    fn breakers(&self) -> Vec<CircuitBreaker> {
        self.services().into_iter().map(|(_, guarded)| guarded.breaker().clone()).collect()
    }
}

impl<B: Clone + Breaking + Send + Sync + 'static> Live<B> {
    pub(crate) fn new(
        service: &Arc<str>,
        policy: Policy,
        make: Box<MakeTarget<B>>,
    ) -> Result<Self, BuildError> {
        policy.check()?;
        let plan = Plan::new(service, policy, None, &*make)?;
        Ok(Self {
            plan: ArcSwap::from_pointee(plan),
            make,
            changing: Mutex::new(()),
            tasks: Mutex::new(Vec::new()),
        })
    }

    /// Who makes a call, and the way that it goes.
    pub(crate) fn way(&self, method: &str, path: &str) -> (Caller, Way<B>) {
        let plan = self.plan.load();
        let branch =
            plan.routes.iter().find(|(own, _)| own.iter().any(|m| m.matches(method, path)));
        let branch = branch.map_or(&plan.rest, |(_, branch)| branch);
        let part = branch.pick();
        let balancer = plan.targets[part.target].balancer.clone();
        (branch.caller.clone(), Way { balancer, subset: part.subset.clone() })
    }

    /// What each service's calls go through, the client's own first, and the limit of calls of no
    /// route.
    pub(crate) fn parts(&self) -> (Vec<Target<B>>, Option<Arc<Limit>>) {
        let plan = self.plan.load();
        (plan.targets.clone(), plan.rest.caller.limit.clone())
    }

    pub(crate) fn policy(&self) -> Policy {
        self.plan.load().policy.clone()
    }

    /// Puts `policy` in force, or leaves all as it was.
    pub(crate) fn apply(&self, policy: Policy) -> Result<(), BuildError> {
        let _one = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.plan.load_full();
        if now.policy == policy {
            return Ok(());
        }
        policy.check()?;
        now.policy.check_change(&policy)?;
        let service = now.targets[0].service.clone();
        let plan = Plan::new(&service, policy, Some(&now), &*self.make)?;
        // Nothing below can fail.
        for target in &plan.targets {
            if now.targets.iter().any(|known| known.service == target.service) {
                target.breakers.follow(&plan.policy, target.balancer.breakers());
            }
        }
        plan.keep_quotas();
        self.plan.store(Arc::new(plan));
        Ok(())
    }

    /// Puts what the file at `path` says in force whenever it changes, until the last clone of the
    /// client is gone. Every change is told to `tell`, and so is why one was refused.
    pub(crate) fn follow_file(
        self: &Arc<Self>,
        path: PathBuf,
        tell: impl Fn(Result<(), PolicyError>) + Send + 'static,
    ) {
        let live = Arc::downgrade(self);
        let task = tokio::spawn(async move {
            let mut last = None;
            loop {
                let text =
                    tokio::fs::read_to_string(&path).await.map_err(|error| error.to_string());
                if last.as_ref() != Some(&text) {
                    let Some(live) = Weak::upgrade(&live) else { return };
                    let told = live.take_over(&path, &text);
                    drop(live);
                    if let Some(told) = told {
                        tell(told);
                    }
                    last = Some(text);
                }
                sleep(LOOK).await;
            }
        });
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.push(task.abort_handle());
    }

    /// What became of a new text, if it was new.
    fn take_over(
        &self,
        path: &std::path::Path,
        text: &Result<String, String>,
    ) -> Option<Result<(), PolicyError>> {
        let read = match text {
            Ok(text) => Policy::from_text(path, text),
            Err(error) => Err(PolicyError::new("", format!("{}: {error}", path.display()))),
        };
        match read {
            Ok(policy) if policy == self.plan.load().policy => None,
            Ok(policy) => Some(self.apply(policy).map_err(|error| match error {
                BuildError::Config(error) => error.into(),
                error => PolicyError::new("", error.to_string()),
            })),
            Err(error) => Some(Err(error)),
        }
    }
}

impl<B> Drop for Live<B> {
    fn drop(&mut self) {
        for task in self.tasks.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            task.abort();
        }
    }
}

impl<B: Clone> Plan<B> {
    /// The plan of a policy, with what `old` has of the same services.
    fn new(
        service: &Arc<str>,
        policy: Policy,
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
        let limit =
            Limit::of(&base, service, old.and_then(|old| old.rest.caller.limit.as_deref()))?;
        let base = Caller::new(base, limit, old.map(|old| &old.rest.caller));
        let rest = Branch { parts: parts(&policy.split, &mut place), caller: base.clone() };
        let mut routes = Vec::with_capacity(policy.routes.len());
        for (at, route) in policy.routes.iter().enumerate() {
            let effective = policy.of_route(at).map_err(|error| {
                ConfigError::new(error.path().to_owned(), "refused", error.to_string())
            })?;
            // Without one of its own, a route is no way around the limit of all.
            let limit = if effective.rate_limit == policy.rate_limit {
                base.limit.clone()
            } else {
                let before = old.and_then(|old| old.limit_of(&route.matches));
                let name = format!("{service} {}", route.title(at));
                Limit::of(&effective, &name, before)
                    .map_err(|error| error.within(&route.title(at)))?
            };
            let caller = Caller::new(effective, limit, Some(&base));
            let mut parts = parts(&route.split, &mut place);
            let only = &mut parts[0];
            if let Some(service) = &route.service {
                only.target = place(service);
            }
            if let Some(subset) = &route.subset {
                only.subset = Some(subset.as_str().into());
            }
            routes.push((route.matches.clone(), Branch { caller, parts }));
        }
        let mut targets = Vec::with_capacity(names.len());
        for name in &names {
            let known = old.and_then(|old| old.targets.iter().find(|known| known.service == *name));
            targets.push(match known {
                Some(known) => known.clone(),
                None => make(name, &policy)?,
            });
        }
        Ok(Self { policy, targets, routes, rest })
    }

    fn limit_of(&self, matches: &[Match]) -> Option<&Limit> {
        let same = self.routes.iter().find(|(own, _)| own == matches);
        same.and_then(|(_, branch)| branch.caller.limit.as_deref())
    }

    /// Gives the limits, of which the running ones go on, the quotas of this plan.
    fn keep_quotas(&self) {
        let routes = self.routes.iter().map(|(_, branch)| branch);
        for limit in routes.chain([&self.rest]).filter_map(|branch| branch.caller.limit.as_deref())
        {
            limit.keep_quota();
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

impl<B> fmt::Debug for Live<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Live").field("policy", &self.plan.load().policy).finish_non_exhaustive()
    }
}
