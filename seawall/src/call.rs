//! One call: its deadline, its attempts, and what is tried again.

use std::{
    future::{Future, poll_fn},
    sync::Arc,
    time::Duration,
};

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
    policy::Policy,
    verdict::{TIMED_OUT, Verdict},
};

/// What differs between gRPC and HTTP.
pub(crate) trait Protocol: Send + Sync + 'static {
    /// What the caller sends.
    type Request: Send + 'static;
    /// What is kept of it, to send it again.
    type Kept: Send + Sync + 'static;
    /// What the balancer takes for one attempt.
    type Attempt: Send;
    /// What the balancer answers.
    type Head: Send;
    /// A response that has begun.
    type Begun: Send;
    /// What the caller gets.
    type Response: Send;
    /// What the balancer fails with.
    type BalancerError: Send;
    /// What a transport fails with.
    type Error: Send;

    /// How long the caller itself gives this call.
    fn limit(&self, request: &Self::Request) -> Option<Duration>;

    fn keep(&self, request: Self::Request, deadline: Option<Deadline>) -> Self::Kept;

    fn attempt(&self, kept: &Self::Kept, tried: &Tried) -> Option<Self::Attempt>;

    fn is_idempotent(&self, kept: &Self::Kept, policy: &Policy) -> bool;

    /// Waits for the response to begin: for the first frame of its body, where that matters.
    fn begin(
        &self,
        head: Self::Head,
        first_frame: bool,
    ) -> impl Future<Output = (Self::Begun, Verdict)> + Send;

    /// The response whose body ends with the deadline.
    fn bound(&self, begun: Self::Begun, deadline: Option<Deadline>) -> Self::Response;

    /// The error for the caller.
    fn error(&self, error: Self::BalancerError) -> (Error<Self::Error>, Verdict);
}

/// What an attempt ended in.
type Begun<P> = Result<<P as Protocol>::Begun, Error<<P as Protocol>::Error>>;

/// Makes calls as a policy says.
#[derive(Clone)]
pub(crate) struct Caller {
    pub(crate) policy: Arc<Policy>,
    pub(crate) limit: Option<Arc<Limit>>,
    pub(crate) budget: Arc<Budget>,
    pub(crate) hedging: Option<Arc<Hedging>>,
}

impl Caller {
    /// With the budget, and what was learned for hedging, of the first of `kin` whose policy has the
    /// same.
    pub(crate) fn new<'a>(
        policy: Policy,
        limit: Option<Arc<Limit>>,
        kin: impl IntoIterator<Item = &'a Self>,
    ) -> Self {
        let (mut budget, mut hedging) = (None, None);
        for kin in kin {
            if budget.is_none() && kin.policy.retries.budget == policy.retries.budget {
                budget = Some(kin.budget.clone());
            }
            if hedging.is_none() && kin.policy.hedge == policy.hedge {
                hedging.clone_from(&kin.hedging);
            }
        }
        let budget =
            budget.unwrap_or_else(|| Arc::new(Budget::new(policy.retries.budget, Clock::fast())));
        let fresh = |hedge| Arc::new(Hedging::new(hedge, Clock::fast()));
        let hedging = hedging.or_else(|| policy.hedge.map(fresh));
        Self { policy: Arc::new(policy), limit, budget, hedging }
    }

    /// Calls of another service after this one has failed: within a time of their own, and neither
    /// limited again nor hedged.
    pub(crate) fn for_fallback(&self, timeout: Duration) -> Self {
        let policy = Policy {
            timeout: Some(timeout),
            rate_limit: None,
            hedge: None,
            fallback: None,
            ..Policy::clone(&self.policy)
        };
        Self { policy: Arc::new(policy), limit: None, hedging: None, ..self.clone() }
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
        let (kept, deadline) = self.keep(protocol, request);
        self.call_kept(protocol, balancer, &kept, deadline).await
    }

    /// What is kept of a call that begins now, and when it has to have ended.
    pub(crate) fn keep<P: Protocol>(
        &self,
        protocol: &P,
        request: P::Request,
    ) -> (P::Kept, Option<Deadline>) {
        let limits = [self.policy.timeout, protocol.limit(&request)];
        let deadline = limits.into_iter().flatten().min().and_then(Deadline::after);
        (protocol.keep(request, deadline), deadline)
    }

    /// As [`call`](Self::call), for a call that is kept already.
    pub(crate) async fn call_kept<P, S>(
        &self,
        protocol: &P,
        balancer: &mut S,
        kept: &P::Kept,
        deadline: Option<Deadline>,
    ) -> Result<P::Response, Error<P::Error>>
    where
        P: Protocol,
        S: Service<P::Attempt, Response = P::Head, Error = P::BalancerError> + Clone + Send + Sync,
        S::Future: Send,
    {
        let call = self.attempts(protocol, balancer, kept, deadline);
        let begun = match deadline {
            None => call.await,
            Some(Deadline { at, limit }) => {
                timeout_at(at, call).await.unwrap_or(Err(Error::TimedOut(limit)))
            }
        };
        begun.map(|begun| protocol.bound(begun, deadline))
    }

    async fn attempts<P, S>(
        &self,
        protocol: &P,
        balancer: &mut S,
        kept: &P::Kept,
        deadline: Option<Deadline>,
    ) -> Begun<P>
    where
        P: Protocol,
        S: Service<P::Attempt, Response = P::Head, Error = P::BalancerError> + Clone + Send + Sync,
        S::Future: Send,
    {
        if let Some(limit) = &self.limit {
            limit.pass().await.map_err(Error::Rejected)?;
        }
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
            let Some(wait) = verdict.wait(&self.policy, idempotent, retries) else {
                return result;
            };
            if deadline.is_some_and(|deadline| wait >= deadline.left()) {
                return result;
            }
            let Some(next) = protocol.attempt(kept, &tried) else {
                return result;
            };
            if !verdict.is_refusal() && !self.budget.withdraw() {
                return result;
            }
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
