//! The layer and the service.

use std::{
    mem,
    task::{Context, Poll},
    time::Duration,
};

use seawall_core::Error;
use tower_layer::Layer;
use tower_service::Service;

use super::{Head, LearnFuture, Learned};

/// Learns the limit of the peer behind a service, and keeps it; all services that it makes share what
/// was learned. See [`learn`](super).
///
/// It goes around HTTP clients: a `reqwest::Client`, a tonic channel, anything whose responses have
/// headers.
#[derive(Clone, Debug)]
pub struct LearnLayer {
    learned: Learned,
    patience: Duration,
}

impl LearnLayer {
    /// Refuses calls that the peer would refuse.
    pub fn new(learned: Learned) -> Self {
        Self { learned, patience: Duration::ZERO }
    }

    /// Lets a call wait until the peer would take it, at most so long. Zero unless set.
    #[must_use]
    pub fn wait_up_to(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }
}

impl<S> Layer<S> for LearnLayer {
    type Service = LearnService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        LearnService { inner, learned: self.learned.clone(), patience: self.patience }
    }
}

/// Lets calls through to a service as its peer would. Made by a [`LearnLayer`].
///
/// It is ready when the service inside is. What that one reserved for a call that is then refused, or
/// has to wait, is given back: the instance is replaced by a clone.
#[derive(Clone, Debug)]
pub struct LearnService<S> {
    inner: S,
    learned: Learned,
    patience: Duration,
}

impl<S> LearnService<S> {
    /// The service inside.
    pub fn inner(&self) -> &S {
        &self.inner
    }
}

impl<S, Req> Service<Req> for LearnService<S>
where
    S: Service<Req, Response: Head> + Clone,
{
    type Response = S::Response;
    type Error = Error<S::Error>;
    type Future = LearnFuture<S, Req>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx).map_err(Error::Inner)
    }

    fn call(&mut self, request: Req) -> Self::Future {
        match self.learned.ask() {
            Ok(asked) => LearnFuture::calling(self.inner.call(request), asked),
            Err(rejection) if self.patience.is_zero() => {
                self.inner = self.inner.clone();
                LearnFuture::rejected(rejection)
            }
            Err(_) => {
                let inner = self.inner.clone();
                drop(mem::replace(&mut self.inner, inner.clone()));
                LearnFuture::waiting(self.learned.ask_within(self.patience), inner, request)
            }
        }
    }
}
