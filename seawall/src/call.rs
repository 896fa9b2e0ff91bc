//! One call: its deadline, its attempts, and what is tried again.

use std::{future::poll_fn, sync::Arc, time::Duration};

use seawall_circuit_breaker::throttle::Throttle;
use seawall_core::Clock;
use seawall_load_balance::Tried;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tower_service::Service;

use crate::{
    Error,
    budget::Budget,
    deadline::Deadline,
    hedge::Hedging,
    limit::Limit,
    policy::{self, Policy, Priority},
    protocol::Protocol,
    verdict::{TIMED_OUT, Verdict},
};

/// What an attempt ended in.
type Begun<P> = Result<<P as Protocol>::Begun, Error<<P as Protocol>::Error>>;

/// Makes calls as a policy says.
#[derive(Clone)]
pub(crate) struct Caller {
    pub(crate) policy: Arc<Policy>,
    pub(crate) limit: Option<Arc<Limit>>,
    pub(crate) budget: Arc<Budget>,
    pub(crate) hedging: Option<Arc<Hedging>>,
    pub(crate) throttle: Option<Throttle>,
}

/// A call that begins now.
pub(crate) struct Begin<K> {
    pub(crate) kept: K,
    pub(crate) deadline: Option<Deadline>,
    priority: Priority,
}

impl Caller {
    /// With the budget, and what was learned for hedging, of the first of `kin` whose policy has the
    /// same.
    pub(crate) fn new<'a>(
        name: &str,
        clock: &Clock,
        policy: Policy,
        limit: Option<Arc<Limit>>,
        kin: impl IntoIterator<Item = &'a Self>,
    ) -> Self {
        let (mut budget, mut hedging, mut throttle) = (None, None, None);
        for kin in kin {
            if budget.is_none() && kin.policy.retries.budget == policy.retries.budget {
                budget = Some(kin.budget.clone());
            }
            if throttle.is_none() && kin.policy.throttle == policy.throttle {
                throttle.clone_from(&kin.throttle);
            }
            if hedging.is_none() && kin.policy.hedge == policy.hedge {
                hedging.clone_from(&kin.hedging);
            }
        }
        // It was accepted when the policy was checked.
        let config = policy.throttle.as_ref().and_then(|throttle| throttle.config().ok());
        let throttle = throttle.or_else(|| {
            config.map(|config| Throttle::builder(config).named(name).clock(clock.clone()).build())
        });
        let budget =
            budget.unwrap_or_else(|| Arc::new(Budget::new(policy.retries.budget, clock.clone())));
        let fresh = |hedge| Arc::new(Hedging::new(hedge, clock.clone()));
        let hedging = hedging.or_else(|| policy.hedge.map(fresh));
        Self { policy: Arc::new(policy), limit, budget, hedging, throttle }
    }

    /// Has the throttle, which may be one that goes on, do as the policy says.
    pub(crate) fn keep_throttle(&self) {
        let config = self.policy.throttle.as_ref().map(policy::Throttle::config);
        if let (Some(throttle), Some(Ok(config))) = (&self.throttle, config) {
            throttle.reconfigure(config);
        }
    }

    /// Calls of another service after this one has failed: within a time of their own, and neither
    /// limited again nor hedged.
    pub(crate) fn for_fallback(&self, timeout: Duration) -> Self {
        let policy = Policy {
            timeout: Some(timeout),
            throttle: None,
            rate_limit: None,
            hedge: None,
            fallback: None,
            ..Policy::clone(&self.policy)
        };
        Self {
            policy: Arc::new(policy),
            limit: None,
            hedging: None,
            throttle: None,
            ..self.clone()
        }
    }

    /// One call, from its rate limit to the beginning of its response.
    pub(crate) async fn call<P, S>(
        &self,
        protocol: &P,
        balancer: &mut S,
        request: P::Request,
    ) -> Result<P::Response, Error<P::Error>>
    where
        P: Protocol,
        S: Service<P::Attempt, Response = P::Head, Error = P::BalancerError> + Clone + Send + Sync,
        S::Future: Send,
    {
        let begin = self.begin(protocol, request);
        self.call_begun(protocol, balancer, &begin).await
    }

    /// A call that begins now: what is kept of it, and when it has to have ended.
    pub(crate) fn begin<P: Protocol>(&self, protocol: &P, request: P::Request) -> Begin<P::Kept> {
        let priority = protocol.priority(&request).unwrap_or(self.policy.priority);
        let limits = [self.policy.timeout, protocol.limit(&request)];
        let deadline = limits.into_iter().flatten().min().and_then(Deadline::after);
        Begin { kept: protocol.keep(request, deadline), deadline, priority }
    }

    /// As [`call`](Self::call), for a call that has begun.
    pub(crate) async fn call_begun<P, S>(
        &self,
        protocol: &P,
        balancer: &mut S,
        begin: &Begin<P::Kept>,
    ) -> Result<P::Response, Error<P::Error>>
    where
        P: Protocol,
        S: Service<P::Attempt, Response = P::Head, Error = P::BalancerError> + Clone + Send + Sync,
        S::Future: Send,
    {
        let call = self.attempts(protocol, balancer, begin);
        let begun = match begin.deadline {
            None => call.await,
            Some(Deadline { at, limit }) => {
                timeout_at(at, call).await.unwrap_or(Err(Error::TimedOut(limit)))
            }
        };
        begun.map(|begun| protocol.bound(begun, begin.deadline))
    }

    async fn attempts<P, S>(
        &self,
        protocol: &P,
        balancer: &mut S,
        begin: &Begin<P::Kept>,
    ) -> Begun<P>
    where
        P: Protocol,
        S: Service<P::Attempt, Response = P::Head, Error = P::BalancerError> + Clone + Send + Sync,
        S::Future: Send,
    {
        let Begin { kept, deadline, priority } = begin;
        if let Some(limit) = &self.limit {
            limit.pass(*priority).await.map_err(Error::Rejected)?;
        }
        let permit = match &self.throttle {
            None => None,
            Some(throttle) => Some(
                throttle
                    .admit(*priority)
                    .map_err(|rejected| Error::Rejected(throttle.rejection(rejected)))?,
            ),
        };
        // What is over before it begins is not sent.
        if let Some(deadline) = deadline.filter(|deadline| deadline.left().is_zero()) {
            return Err(Error::TimedOut(deadline.limit));
        }
        self.budget.deposit();
        let idempotent = protocol.is_idempotent(kept, &self.policy);
        let tried = Tried::default();
        let mut attempt = protocol.attempt(kept, &tried).ok_or(Error::NotReplayable)?;
        let mut retries = 0;
        loop {
            let (result, verdict) = match self.hedging.as_ref().filter(|_| idempotent) {
                None => self.attempt(protocol, balancer, attempt, idempotent).await,
                Some(hedging) => {
                    let again = || protocol.attempt(kept, &tried);
                    self.hedged(hedging, protocol, balancer, attempt, again).await
                }
            };
            let again = || {
                let wait = verdict.wait(&self.policy, idempotent, retries)?;
                if deadline.is_some_and(|deadline| wait >= deadline.left()) {
                    return None;
                }
                let next = protocol.attempt(kept, &tried)?;
                (verdict.is_refusal() || self.budget.withdraw()).then_some((wait, next))
            };
            let Some((wait, next)) = again() else {
                if let Some(permit) = permit {
                    match verdict.is_overload() {
                        None => permit.ignore(),
                        Some(true) => permit.refused(),
                        Some(false) => permit.accepted(),
                    }
                }
                return result;
            };
            // A response that nobody will read holds its endpoint's permit.
            drop(result);
            if !wait.is_zero() {
                sleep(wait).await;
            }
            attempt = next;
            retries += 1;
        }
    }

    /// An attempt, and another one beside it where it takes unusually long.
    async fn hedged<P, S>(
        &self,
        hedging: &Hedging,
        protocol: &P,
        balancer: &S,
        attempt: P::Attempt,
        again: impl Fn() -> Option<P::Attempt> + Send,
    ) -> (Begun<P>, Verdict)
    where
        P: Protocol,
        S: Service<P::Attempt, Response = P::Head, Error = P::BalancerError> + Clone + Send + Sync,
        S::Future: Send,
    {
        hedging.deposit();
        let timed = |mut balancer: S, attempt| async move {
            let begun = Instant::now();
            let (result, verdict) = self.attempt(protocol, &mut balancer, attempt, true).await;
            if result.is_ok() && verdict.is_final() {
                hedging.record(begun.elapsed());
            }
            (result, verdict)
        };
        let first = timed(balancer.clone(), attempt);
        let second = || again().map(|attempt| timed(balancer.clone(), attempt));
        hedging.race(first, second, |(_, verdict)| !verdict.may_be_mended(&self.policy, true)).await
    }

    /// One attempt within its time.
    async fn attempt<P, S>(
        &self,
        protocol: &P,
        balancer: &mut S,
        attempt: P::Attempt,
        idempotent: bool,
    ) -> (Begun<P>, Verdict)
    where
        P: Protocol,
        S: Service<P::Attempt, Response = P::Head, Error = P::BalancerError> + Send,
        S::Future: Send,
    {
        let begun = async {
            // A balancer is always ready, but a service is owed the question.
            let answer = match poll_fn(|cx| balancer.poll_ready(cx)).await {
                Ok(()) => balancer.call(attempt).await,
                Err(error) => Err(error),
            };
            match answer {
                Ok(head) => {
                    let (response, verdict) = protocol.begin(head, idempotent).await;
                    (Ok(response), verdict)
                }
                Err(error) => {
                    let (error, verdict) = protocol.error(error);
                    (Err(error), verdict)
                }
            }
        };
        match self.policy.retries.per_try_timeout {
            None => begun.await,
            Some(limit) => match timeout(limit, begun).await {
                Ok(begun) => begun,
                Err(_) => (Err(Error::TimedOut(limit)), Verdict::failed(TIMED_OUT)),
            },
        }
    }
}
