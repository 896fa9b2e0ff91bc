//! The balancer as a tower service.

use std::task::{Context, Poll};

use seawall_core::{Error, Track};
use tower_service::Service;

use crate::{Balancer, JudgeUnsent, PickContext, Picked, Resend, ResponseFuture, elsewhere::Left};

impl<S, T, R, Req> Service<Req> for Balancer<S, T, R>
where
    S: Service<R::Sent> + Clone + Send + Sync + 'static,
    T: Track<S::Response, S::Error, Picked> + Clone,
    R: Resend<Req> + JudgeUnsent<S::Error> + Clone,
{
    type Response = T::Response;
    type Error = Error<S::Error>;
    type Future = ResponseFuture<S, T, R, Req>;

    /// Always ready: an endpoint is picked, and waited for, in the call.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let tried = self.resend.tried(&request);
        let key = self.resend.key(&request);
        let subset = self.resend.subset(&request);
        let (sent, kept) = self.resend.first(request);
        let mut left = Left::default();
        let context = PickContext { key, tried: tried.as_ref(), subset: subset.as_deref() };
        let picked = self.pick_with(&mut left, context);
        ResponseFuture::new(self, sent, kept, tried, key, subset, left, picked)
    }
}
