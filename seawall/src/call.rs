//! One call: its attempts, the time each may take, and what is tried again.

use std::{
    future::{Future, poll_fn},
    sync::Arc,
};

use seawall_core::{Reason, Rejection};
use seawall_load_balance::Tried;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tower_service::Service;

use crate::{
    Error,
    limit::Limit,
    policy::{Policy, RetryOn},
};

/// What an attempt that ran out of its time counts as.
pub(crate) const TIMED_OUT: &[RetryOn] =
    &[RetryOn::ServerError, RetryOn::GatewayError, RetryOn::DeadlineExceeded];
/// What an attempt that left nothing at any server counts as.
pub(crate) const UNSENT: &[RetryOn] = &[RetryOn::ConnectFailure];
/// What a connection that broke counts as.
pub(crate) const RESET: &[RetryOn] = &[RetryOn::ServerError, RetryOn::Reset];

/// What differs between gRPC and HTTP.
pub(crate) trait Protocol: Send + Sync + 'static {
    /// What the caller sends.
    type Request: Send + 'static;
    /// What is kept of it, to send it again.
    type Kept: Send + Sync;
    /// What the balancer takes for one attempt.
    type Attempt: Send;
    /// What the balancer answers.
    type Head: Send;
    /// What the caller gets.
    type Response: Send;
    /// What the balancer fails with.
    type BalancerError: Send;
    /// What a transport fails with.
    type Error: Send;

    fn keep(&self, request: Self::Request) -> Self::Kept;

    fn attempt(&self, kept: &Self::Kept, tried: &Tried) -> Option<Self::Attempt>;

    fn is_idempotent(&self, kept: &Self::Kept, policy: &Policy) -> bool;

    /// Waits for the response to begin: for the first frame of its body, where that matters. Gives
    /// with it the ways in which the attempt failed, if it did.
    fn begin(
        &self,
        head: Self::Head,
        first_frame: bool,
    ) -> impl Future<Output = (Self::Response, &'static [RetryOn])> + Send;

    /// The error for the caller, and the ways in which the attempt failed.
    fn error(&self, error: Self::BalancerError) -> (Error<Self::Error>, &'static [RetryOn]);
}

/// Makes calls as a policy says.
#[derive(Clone)]
pub(crate) struct Caller {
    pub(crate) policy: Arc<Policy>,
    pub(crate) limit: Option<Arc<Limit>>,
}

impl Caller {
    /// One call, from its rate limit to the beginning of its response.
    pub(crate) async fn call<P, S>(
        &self,
        protocol: &P,
        balancer: &mut S,
        request: P::Request,
    ) -> Result<P::Response, Error<P::Error>>
    where
        P: Protocol,
        S: Service<P::Attempt, Response = P::Head, Error = P::BalancerError> + Send,
        S::Future: Send,
    {
        let Some(limit) = self.policy.timeout else {
            return self.unbounded(protocol, balancer, request, None).await;
        };
        let deadline = Instant::now() + limit;
        timeout_at(deadline, self.unbounded(protocol, balancer, request, Some(deadline)))
            .await
            .unwrap_or(Err(Error::TimedOut(limit)))
    }

    async fn unbounded<P, S>(
        &self,
        protocol: &P,
        balancer: &mut S,
        request: P::Request,
        deadline: Option<Instant>,
    ) -> Result<P::Response, Error<P::Error>>
    where
        P: Protocol,
        S: Service<P::Attempt, Response = P::Head, Error = P::BalancerError> + Send,
        S::Future: Send,
    {
        if let Some(limit) = &self.limit {
            limit.pass().await.map_err(Error::Rejected)?;
        }
        let kept = protocol.keep(request);
        let idempotent = protocol.is_idempotent(&kept, &self.policy);
        let tried = Tried::default();
        let mut attempt = protocol.attempt(&kept, &tried).ok_or(Error::NotReplayable)?;
        let mut retries = 0;
        loop {
            let (result, failures) = self.attempt(protocol, balancer, attempt, idempotent).await;
            if retries == self.policy.retries.attempts || !self.tries_again(failures, idempotent) {
                return result;
            }
            let wait = self.policy.retries.backoff.wait(retries, fastrand::f64());
            if deadline.is_some_and(|deadline| Instant::now() + wait >= deadline) {
                return result;
            }
            let Some(next) = protocol.attempt(&kept, &tried) else {
                return result;
            };
            // A response that nobody will read holds its endpoint's permit.
            drop(result);
            sleep(wait).await;
            attempt = next;
            retries += 1;
        }
    }

    /// One attempt within its time, and the ways in which it failed.
    async fn attempt<P, S>(
        &self,
        protocol: &P,
        balancer: &mut S,
        attempt: P::Attempt,
        idempotent: bool,
    ) -> (Result<P::Response, Error<P::Error>>, &'static [RetryOn])
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
                    let (response, failures) = protocol.begin(head, idempotent).await;
                    (Ok(response), failures)
                }
                Err(error) => {
                    let (error, failures) = protocol.error(error);
                    (Err(error), failures)
                }
            }
        };
        match self.policy.retries.per_try_timeout {
            None => begun.await,
            Some(limit) => match timeout(limit, begun).await {
                Ok(begun) => begun,
                Err(_) => (Err(Error::TimedOut(limit)), TIMED_OUT),
            },
        }
    }

    fn tries_again(&self, failures: &[RetryOn], idempotent: bool) -> bool {
        let harmless = |f: &RetryOn| matches!(f, RetryOn::ConnectFailure | RetryOn::RefusedStream);
        let retry_on = &self.policy.retries.retry_on;
        failures.iter().any(|f| retry_on.contains(f) && (idempotent || harmless(f)))
    }
}

/// What a refusal by a layer inside counts as. An empty set was waited for already, and what is left
/// of a deadline does not grow.
pub(crate) fn rejection_conditions(rejection: &Rejection) -> &'static [RetryOn] {
    match rejection.reason() {
        Reason::CircuitOpen | Reason::Overloaded => UNSENT,
        _ => &[],
    }
}
