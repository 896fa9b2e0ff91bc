//! What a caller gets when its call has failed for good.

mod answer;
mod body;
mod counts;
mod stale;

use std::{fmt, future::Future, pin::Pin, sync::Arc, time::Duration};

use http::Method;
use tower_service::Service;

pub use self::{
    answer::{Answer, Because, Degraded, DegradedFrom, Failed},
    counts::FallbackSnapshot,
};
pub(crate) use self::{
    body::AnswerBody,
    counts::Counts,
    stale::{Key, Recorder, Responses, Whole},
};
use crate::{
    Error,
    call::{Begin, Caller},
    policy::Policy,
    protocol::Protocol,
    setup::Given,
};

/// A function that may have an answer to a failed call.
pub(crate) type Function =
    dyn Fn(Failed) -> Pin<Box<dyn Future<Output = Option<Answer>> + Send>> + Send + Sync;

/// What differs between gRPC and HTTP in a fallback.
pub(crate) trait Degrade: Protocol {
    /// What the caller gets, from a server or from a fallback.
    type Answer: Send;

    /// The status or code of a response that counts as failed.
    fn failure(response: &Self::Response) -> Option<u16>;

    /// Whether the transport gave up at the deadline that the request told it of.
    fn is_expired(error: &Self::Error) -> bool;

    fn sent(response: Self::Response) -> Self::Answer;

    /// As [`sent`](Self::sent), and taken down for later calls where it is good.
    fn recorded(
        response: Self::Response,
        responses: &Responses,
        key: impl FnOnce() -> Option<Key> + Send + Sync + 'static,
    ) -> Self::Answer;

    fn whole(kept: &Self::Kept, whole: Whole) -> Self::Answer;

    fn answer(kept: &Self::Kept, answer: Answer) -> Self::Answer;

    fn extensions(answer: &mut Self::Answer) -> &mut http::Extensions;

    fn method(kept: &Self::Kept) -> Method;

    fn path(kept: &Self::Kept) -> &str;

    /// The request, for another service; without the deadline that its caller set.
    fn again(kept: &Self::Kept) -> Option<Self::Request>;

    /// Whether an earlier response may answer the call.
    fn reads(&self, kept: &Self::Kept, policy: &Policy) -> bool;

    /// What identifies the request, if it is there whole. No attempt of it is under way, and none
    /// follows.
    fn key(kept: &Self::Kept, responses: &Responses) -> Option<Key>;
}

/// The fallbacks of one route.
#[derive(Clone)]
pub(crate) struct Fallback {
    pub(crate) service: Option<Arc<str>>,
    /// Makes the calls of that service.
    caller: Caller,
    responses: Option<Responses>,
    function: Option<Arc<Function>>,
    value: Option<Answer>,
    counts: Arc<Counts>,
}

impl Fallback {
    /// The fallbacks of calls that `caller` makes, if its policy has any or there is a function. What
    /// `before` keeps stays.
    pub(crate) fn new(caller: &Caller, given: &Given, before: Option<&Self>) -> Option<Arc<Self>> {
        let policy = caller.policy.fallback.as_ref();
        if policy.is_none() && given.function.is_none() {
            return None;
        }
        let service = policy.and_then(|policy| policy.service.as_ref());
        let stale = policy.and_then(|policy| policy.stale.as_ref());
        let value = policy.and_then(|policy| policy.value.as_ref());
        let before = before.and_then(|before| before.responses.as_ref());
        Some(Arc::new(Self {
            service: service.map(|service| service.name.as_str().into()),
            caller: match service {
                Some(service) => caller.for_fallback(service.timeout),
                None => caller.clone(),
            },
            responses: stale.map(|stale| Responses::new(stale, &given.clock, before)),
            function: given.function.clone(),
            counts: given.fallbacks.clone(),
            // It was accepted when the policy was checked.
            value: value.and_then(|value| value.answer().ok()),
        }))
    }

    /// Makes a call by `caller`, and has an answer where that fails.
    pub(crate) async fn call<P, S>(
        &self,
        caller: &Caller,
        protocol: &P,
        way: &mut S,
        service: Option<S>,
        request: P::Request,
    ) -> Result<P::Answer, Error<P::Error>>
    where
        P: Degrade,
        P::Error: fmt::Display,
        S: Service<P::Attempt, Response = P::Head, Error = P::BalancerError> + Clone + Send + Sync,
        S::Future: Send,
    {
        let begin = caller.begin(protocol, request);
        let result = caller.call_begun(protocol, way, &begin).await;
        let Begin { kept, deadline, .. } = begin;
        let because = match &result {
            Err(Error::Transport(error)) if P::is_expired(error) => {
                Because::TimedOut(deadline.map_or(Duration::ZERO, |deadline| deadline.limit))
            }
            Err(error) => Because::of(error),
            Ok(response) => match P::failure(response) {
                Some(code) => Because::Answered(code),
                None => {
                    return result.map(|response| self.remember(caller, protocol, kept, response));
                }
            },
        };
        let instead = self.instead(protocol, service, &kept, &caller.policy, &because).await;
        self.counts.count(instead.as_ref().map(|(_, from)| from));
        match instead {
            None => result.map(P::sent),
            Some((mut answer, from)) => {
                P::extensions(&mut answer).insert(Degraded { from, because });
                Ok(answer)
            }
        }
    }

    fn remember<P: Degrade>(
        &self,
        caller: &Caller,
        protocol: &P,
        kept: P::Kept,
        response: P::Response,
    ) -> P::Answer {
        match self.responses.as_ref().filter(|_| protocol.reads(&kept, &caller.policy)) {
            None => P::sent(response),
            Some(responses) => {
                let with = responses.clone();
                P::recorded(response, responses, move || P::key(&kept, &with))
            }
        }
    }

    async fn instead<P, S>(
        &self,
        protocol: &P,
        service: Option<S>,
        kept: &P::Kept,
        policy: &Policy,
        because: &Because,
    ) -> Option<(P::Answer, DegradedFrom)>
    where
        P: Degrade,
        S: Service<P::Attempt, Response = P::Head, Error = P::BalancerError> + Clone + Send + Sync,
        S::Future: Send,
    {
        if let (Some(name), Some(mut way)) = (&self.service, service)
            && let Some(request) = P::again(kept)
        {
            let begin = self.caller.begin(protocol, request);
            let result = self.caller.call_begun(protocol, &mut way, &begin).await;
            if let Ok(response) = result
                && P::failure(&response).is_none()
            {
                return Some((P::sent(response), DegradedFrom::Service(name.clone())));
            }
        }
        if let Some(responses) = self.responses.as_ref().filter(|_| protocol.reads(kept, policy))
            && let Some((whole, age)) =
                P::key(kept, responses).and_then(|key| responses.find(key.as_bytes()))
        {
            return Some((P::whole(kept, whole), DegradedFrom::Stale { age }));
        }
        if let Some(function) = &self.function {
            let (method, path) = (P::method(kept), P::path(kept).to_owned());
            let failed = Failed { method, path, because: because.clone() };
            if let Some(answer) = function(failed).await {
                return Some((P::answer(kept, answer), DegradedFrom::Function));
            }
        }
        let value = self.value.clone()?;
        Some((P::answer(kept, value), DegradedFrom::Value))
    }
}
