//! The future of a call that may have to wait for its turn.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use pin_project_lite::pin_project;
use seawall_core::{Error, Reason, Rejection};
use seawall_rate_limit::concurrency::{Acquire, Permit};
use tower_service::Service;

use super::{Held, Pool};
use crate::policy::Bounds;

pin_project! {
    /// Waits for its turn, then for a connection, then for the answer.
    #[must_use = "futures do nothing unless polled"]
    pub(crate) struct PoolFuture<S, Req>
    where
        S: Service<Req>,
    {
        pool: Pool<S>,
        bounds: Bounds,
        request: Option<Req>,
        held: Option<Held>,
        #[pin]
        state: State<S, S::Future>,
    }
}

pin_project! {
    #[project = Now]
    enum State<S, F> {
        Waiting { #[pin] acquire: Acquire },
        Picking { permit: Option<Permit> },
        Readying { service: S },
        Calling { #[pin] call: F },
    }
}

impl<S: Service<Req>, Req> PoolFuture<S, Req> {
    pub(super) fn new(
        pool: Pool<S>,
        bounds: Bounds,
        acquire: Option<Acquire>,
        request: Req,
    ) -> Self {
        let state = match acquire {
            Some(acquire) => State::Waiting { acquire },
            None => State::Picking { permit: None },
        };
        Self { pool, bounds, request: Some(request), held: None, state }
    }
}

impl<S, Req> Future for PoolFuture<S, Req>
where
    S: Service<Req> + Clone,
{
    type Output = Result<(S::Response, Held), Error<S::Error>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let next = match this.state.as_mut().project() {
                Now::Waiting { acquire } => match ready!(acquire.poll(cx)) {
                    Ok(permit) => State::Picking { permit: Some(permit) },
                    Err(rejection) => return Poll::Ready(Err(Error::Rejected(rejection))),
                },
                Now::Picking { permit } => {
                    let Some((service, under_way)) = this.pool.pick(this.bounds) else {
                        // There always is one.
                        let rejection = Rejection::new(Reason::Overloaded);
                        return Poll::Ready(Err(Error::Rejected(rejection)));
                    };
                    let permit = permit.take();
                    *this.held = Some(Held { under_way: Some(under_way), permit });
                    State::Readying { service }
                }
                Now::Readying { service } => {
                    ready!(service.poll_ready(cx)).map_err(Error::Inner)?;
                    let request = this.request.take().expect("it is called once");
                    State::Calling { call: service.call(request) }
                }
                Now::Calling { call } => {
                    let response = ready!(call.poll(cx)).map_err(Error::Inner)?;
                    let held = this.held.take().unwrap_or_else(Held::nothing);
                    return Poll::Ready(Ok((response, held)));
                }
            };
            this.state.set(next);
        }
    }
}
