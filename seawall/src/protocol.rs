//! What differs between gRPC and HTTP in a call.

use std::{future::Future, time::Duration};

use seawall_load_balance::Tried;

use crate::{
    Error,
    deadline::Deadline,
    policy::{Policy, Priority},
    verdict::Verdict,
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

    /// How critical the caller says that this call is.
    fn priority(&self, request: &Self::Request) -> Option<Priority>;

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
