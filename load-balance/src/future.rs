//! One call, from the pick to the response.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use pin_project_lite::pin_project;
use seawall_core::{Error, Guard, Outcome, Retry, Track};
use tokio::time::Sleep;
use tower_service::Service;

use crate::{
    Balancer, HashKey, JudgeUnsent, Picked, Resend, Tried, Unsent,
    elsewhere::{Elsewhere, Left},
    shared::{Nothing, Shared},
    wait::Waiter,
};

/// How many endpoints that are not ready at once a call leaves before it waits for one.
const UNREADY_PICKS: u8 = 2;

/// How soon a service that could not be made is tried again.
const MAKE_AGAIN: Duration = Duration::from_secs(1);

pin_project! {
    /// The future of a call through a [`Balancer`].
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<S, T, R, Req>
    where
        S: Service<R::Sent>,
        R: Resend<Req>,
    {
        #[pin]
        step: Step<S, S::Future>,
        call: Call<S, S::Error, T, R, R::Kept, R::Sent>,
    }
}

pin_project! {
    #[project = StepProj]
    enum Step<S, F> {
        /// The set is empty. In a box, because this hardly ever happens and is large.
        Wait { sleep: Pin<Box<Sleep>>, waiter: Waiter },
        /// An endpoint is picked, and its service may have to become ready.
        Ready { service: S, picked: Option<Picked> },
        Calling { #[pin] future: F, picked: Option<Picked> },
        /// Nothing could be picked.
        Refused { nothing: Nothing },
        Done,
    }
}

/// What a call needs to be picked again.
struct Call<S, E, T, R, K, Q> {
    shared: Arc<Shared<S>>,
    track: T,
    resend: R,
    kept: K,
    /// The request, while it waits to be sent.
    sent: Option<Q>,
    tried: Option<Tried>,
    key: Option<HashKey>,
    subset: Option<Arc<str>>,
    /// In a box, because hardly any call leaves the endpoint that was picked first.
    detour: Option<Box<Detour<E>>>,
}

/// The way of a call that has left an endpoint.
struct Detour<E> {
    left: Left,
    picks: u8,
    unready: u8,
    /// Of the refusals met so far, the one that ends first.
    refused: Option<(Option<Duration>, E)>,
}

impl<E> Detour<E> {
    fn new(left: Left) -> Self {
        Self { left, picks: 1, unready: 0, refused: None }
    }

    fn of(detour: &mut Option<Box<Self>>) -> &mut Self {
        detour.get_or_insert_with(|| Box::new(Self::new(Left::default())))
    }
}

impl<S, T, R, Req> ResponseFuture<S, T, R, Req>
where
    S: Service<R::Sent> + Clone + Send + Sync + 'static,
    T: Clone,
    R: Resend<Req> + Clone,
{
    // Always inlined, so that what was picked is not copied on the way.
    #[inline(always)]
    #[expect(clippy::too_many_arguments, reason = "all that is known of a call")]
    pub(crate) fn new(
        balancer: &Balancer<S, T, R>,
        sent: R::Sent,
        kept: R::Kept,
        tried: Option<Tried>,
        key: Option<HashKey>,
        subset: Option<Arc<str>>,
        left: Left,
        picked: Result<(Picked, S), Nothing>,
    ) -> Self {
        let step = match picked {
            Ok((picked, service)) => Step::Ready { service, picked: Some(picked) },
            Err(nothing) => Step::Refused { nothing },
        };
        let call = Call {
            shared: balancer.shared.clone(),
            track: balancer.track.clone(),
            resend: balancer.resend.clone(),
            kept,
            sent: Some(sent),
            tried,
            key,
            subset,
            detour: (!left.is_empty()).then(|| Box::new(Detour::new(left))),
        };
        Self { step, call }
    }
}

impl<S, E, T, R, K, Q> Call<S, E, T, R, K, Q>
where
    S: Clone + Send + Sync + 'static,
{
    fn detour(&mut self) -> &mut Detour<E> {
        Detour::of(&mut self.detour)
    }

    fn pick(&mut self) -> Result<(Picked, S), Nothing> {
        let left = &mut Detour::of(&mut self.detour).left;
        let (tried, subset) = (self.tried.as_ref(), self.subset.as_deref());
        let mut elsewhere = Elsewhere { left, tried, key: self.key, subset };
        self.shared.pick_from_latest(&mut self.shared.rng(), &mut elsewhere)
    }

    /// Picks an endpoint that this call has not left, and leaves `picked` if there is one.
    fn pick_instead_of(&mut self, picked: &Picked) -> Option<(Picked, S)> {
        let left = &mut self.detour().left;
        if left.is_full() {
            return None;
        }
        left.add(picked.node());
        self.pick().ok()
    }

    fn refusal(&self, nothing: Nothing) -> Error<E> {
        let retry = match nothing {
            Nothing::Unfit => Retry::After(MAKE_AGAIN),
            Nothing::Empty | Nothing::Stale => Retry::Unknown,
        };
        self.shared.refusal(retry).into()
    }
}

impl<S, E, T, R, K, Q> Call<S, E, T, R, K, Q>
where
    S: Service<Q, Error = E> + Clone + Send + Sync + 'static,
    T: Track<S::Response, E, Picked>,
    R: JudgeUnsent<E>,
{
    fn tell_unreachable(&self, picked: &Picked) {
        let watch = self.shared.health.watch();
        watch.tell(|observer, name| observer.unreachable(name, picked.id()));
    }

    /// The endpoint's service broke before the request was handed to it.
    fn broken(&mut self, error: E, picked: Picked) -> Result<(Picked, S), E> {
        let next = self.next(&picked);
        match self.resend.unsent(&error) {
            Unsent::Rejected(_) => picked.unsent(),
            Unsent::No | Unsent::NoConnection => {
                self.tell_unreachable(&picked);
                self.shared.discard(picked.node());
                picked.finish(Outcome::Failure);
            }
        }
        next.ok_or(error)
    }

    fn next(&mut self, picked: &Picked) -> Option<(Picked, S)> {
        let most = self.shared.max_picks;
        if self.detour().picks >= most {
            return None;
        }
        let next = self.pick_instead_of(picked)?;
        self.detour().picks += 1;
        Some(next)
    }

    /// The endpoint's service has answered. An error that left the request unsent leads to another
    /// endpoint, if there is one.
    fn answered(
        &mut self,
        result: Result<S::Response, E>,
        picked: Picked,
        again: impl FnOnce(&R, &mut K) -> Option<Q>,
    ) -> Result<Result<T::Response, E>, (Picked, S)> {
        let error = match result {
            Ok(response) => return Ok(self.track.track(Ok(response), picked)),
            Err(error) => error,
        };
        let unsent = self.resend.unsent(&error);
        if unsent == Unsent::No {
            return Ok(self.track.track(Err(error), picked));
        }
        if unsent == Unsent::NoConnection {
            self.tell_unreachable(&picked);
        }
        let next = match again(&self.resend, &mut self.kept) {
            Some(sent) => {
                self.sent = Some(sent);
                self.next(&picked)
            }
            None => None,
        };
        match unsent {
            Unsent::Rejected(after) => {
                self.refuse(after, error);
                match next {
                    Some(next) => {
                        picked.unsent();
                        Err(next)
                    }
                    None => {
                        let refused = self.detour().refused.take();
                        let (_, error) = refused.expect("set just above");
                        Ok(self.track.track(Err(error), picked))
                    }
                }
            }
            Unsent::No | Unsent::NoConnection => match next {
                Some(next) => {
                    picked.finish(Outcome::Failure);
                    Err(next)
                }
                None => Ok(self.track.track(Err(error), picked)),
            },
        }
    }

    /// Keeps the refusal that ends first; one that does not know its end comes last.
    fn refuse(&mut self, after: Option<Duration>, error: E) {
        let refused = &mut self.detour().refused;
        let sooner = match &*refused {
            None => true,
            Some((kept, _)) => after.unwrap_or(Duration::MAX) < kept.unwrap_or(Duration::MAX),
        };
        if sooner {
            *refused = Some((after, error));
        }
    }
}

impl<S, T, R, Req> Future for ResponseFuture<S, T, R, Req>
where
    S: Service<R::Sent> + Clone + Send + Sync + 'static,
    T: Track<S::Response, S::Error, Picked>,
    R: Resend<Req> + JudgeUnsent<S::Error>,
{
    type Output = Result<T::Response, Error<S::Error>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let call = this.call;
        loop {
            let next = match this.step.as_mut().project() {
                StepProj::Ready { service, picked } => match service.poll_ready(cx) {
                    Poll::Ready(Ok(())) => {
                        let sent = call.sent.take().expect("a request waits to be sent");
                        let future = service.call(sent);
                        Step::Calling { future, picked: picked.take() }
                    }
                    Poll::Ready(Err(error)) => {
                        let picked = picked.take().expect("taken with the step alone");
                        match call.broken(error, picked) {
                            Ok((picked, service)) => Step::Ready { service, picked: Some(picked) },
                            Err(error) => {
                                this.step.set(Step::Done);
                                return Poll::Ready(Err(Error::Inner(error)));
                            }
                        }
                    }
                    Poll::Pending => {
                        if call.detour().unready >= UNREADY_PICKS {
                            return Poll::Pending;
                        }
                        call.detour().unready += 1;
                        let current = picked.as_ref().expect("taken with the step alone");
                        let Some((next, service)) = call.pick_instead_of(current) else {
                            call.detour().unready = UNREADY_PICKS;
                            return Poll::Pending;
                        };
                        if let Some(unready) = picked.take() {
                            unready.unsent();
                        }
                        Step::Ready { service, picked: Some(next) }
                    }
                },
                StepProj::Calling { future, picked } => {
                    let result = ready!(future.poll(cx));
                    let picked = picked.take().expect("taken with the step alone");
                    match call.answered(result, picked, |resend, kept| resend.again(kept)) {
                        Ok(result) => {
                            this.step.set(Step::Done);
                            return Poll::Ready(result.map_err(Error::Inner));
                        }
                        Err((picked, service)) => Step::Ready { service, picked: Some(picked) },
                    }
                }
                StepProj::Refused { nothing: Nothing::Empty } if !call.shared.wait.is_zero() => {
                    Step::Wait {
                        sleep: Box::pin(tokio::time::sleep(call.shared.wait)),
                        waiter: Waiter::new(call.shared.waiting.clone()),
                    }
                }
                StepProj::Refused { nothing } => {
                    let nothing = std::mem::replace(nothing, Nothing::Empty);
                    this.step.set(Step::Done);
                    return Poll::Ready(Err(call.refusal(nothing)));
                }
                StepProj::Wait { sleep, waiter } => {
                    if waiter.poll(cx, || call.shared.has_endpoints()).is_pending() {
                        ready!(sleep.as_mut().poll(cx));
                        this.step.set(Step::Done);
                        return Poll::Ready(Err(call.refusal(Nothing::Empty)));
                    }
                    match call.pick() {
                        Ok((picked, service)) => Step::Ready { service, picked: Some(picked) },
                        // They came and went. The wait goes on where it was.
                        Err(Nothing::Empty) => continue,
                        Err(nothing) => Step::Refused { nothing },
                    }
                }
                StepProj::Done => panic!("polled after it was ready"),
            };
            this.step.set(next);
        }
    }
}

impl<S, T, R, Req> fmt::Debug for ResponseFuture<S, T, R, Req>
where
    S: Service<R::Sent>,
    R: Resend<Req>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let step = match &self.step {
            Step::Wait { .. } => "waiting for an endpoint",
            Step::Ready { .. } => "waiting for readiness",
            Step::Calling { .. } => "calling",
            Step::Refused { .. } => "refused",
            Step::Done => "done",
        };
        f.debug_struct("ResponseFuture").field("step", &step).finish_non_exhaustive()
    }
}
