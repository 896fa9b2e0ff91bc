//! The connections of one endpoint, and how many calls it has.

mod future;
mod track;

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};

use arc_swap::ArcSwap;
use seawall_core::Error;
use seawall_rate_limit::concurrency::{ConcurrencyLimit, Config, Permit};
use tower_service::Service;

pub(crate) use self::{future::PoolFuture, track::WithHeld};
use crate::policy::Bounds;

/// Services of one endpoint, of which each has a connection: another one is made when all are busy,
/// and one is replaced when it has made its calls.
pub(crate) struct Pool<S> {
    shared: Arc<Shared<S>>,
}

struct Shared<S> {
    bounds: ArcSwap<Bounds>,
    limit: ConcurrencyLimit,
    slots: Mutex<Vec<Slot<S>>>,
    make: Box<dyn Fn() -> Option<S> + Send + Sync>,
}

struct Slot<S> {
    service: S,
    under_way: Arc<AtomicU32>,
    calls: u32,
}

impl<S: Clone> Pool<S> {
    /// Begins with `first`; `make` makes further ones, where it can.
    pub(crate) fn new(
        name: &str,
        bounds: Bounds,
        first: S,
        make: impl Fn() -> Option<S> + Send + Sync + 'static,
    ) -> Self {
        let limit = ConcurrencyLimit::of(config(bounds)).named(name);
        Self {
            shared: Arc::new(Shared {
                bounds: ArcSwap::from_pointee(bounds),
                limit,
                slots: Mutex::new(vec![Slot::new(first)]),
                make: Box::new(make),
            }),
        }
    }

    /// Goes by other bounds from the next call on. Channels that are too many are drained.
    pub(crate) fn follow(&self, bounds: Bounds) {
        self.shared.limit.reconfigure(config(bounds));
        self.shared.bounds.store(Arc::new(bounds));
        self.slots().truncate(bounds.channels as usize);
    }

    /// The service for one call, and the count of its calls under way.
    fn pick(&self, bounds: &Bounds) -> Option<(S, Arc<AtomicU32>)> {
        let mut slots = self.slots();
        // Relaxed: a count, which decides between services that are equally right.
        let load = |slot: &Slot<S>| slot.under_way.load(Relaxed);
        let least = slots.iter().map(load).enumerate().min_by_key(|(_, load)| *load);
        let at = match least {
            Some((at, load)) if load < bounds.streams => at,
            least => {
                if (slots.len() as u32) < bounds.channels
                    && let Some(service) = (self.shared.make)()
                {
                    slots.push(Slot::new(service));
                    slots.len() - 1
                } else {
                    least?.0
                }
            }
        };
        let slot = &mut slots[at];
        slot.calls = slot.calls.saturating_add(1);
        let picked = (slot.service.clone(), slot.under_way.clone());
        picked.1.fetch_add(1, Relaxed);
        if bounds.calls_per_channel.is_some_and(|most| slot.calls >= most.get()) {
            self.replace(&mut slots, at);
        }
        Some(picked)
    }

    /// Takes out a service that has made its calls. Those under way go on, and end its connection.
    fn replace(&self, slots: &mut Vec<Slot<S>>, at: usize) {
        if slots.len() > 1 {
            slots.swap_remove(at);
        } else if let Some(service) = (self.shared.make)() {
            slots[at] = Slot::new(service);
        }
    }

    fn slots(&self) -> MutexGuard<'_, Vec<Slot<S>>> {
        self.shared.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S> Slot<S> {
    fn new(service: S) -> Self {
        Self { service, under_way: Arc::default(), calls: 0 }
    }
}

fn config(bounds: Bounds) -> Config {
    let config = Config::builder(bounds.calls.unwrap_or(u32::MAX).min(1_000_000));
    let config = match bounds.pending {
        0 => config,
        // A call waits for as long as its own time-outs let it.
        pending => config.queue(pending, Duration::MAX),
    };
    config.build().expect("the policy was checked")
}

/// What a call holds until its body has ended.
#[allow(unnameable_types, reason = "a part of the type of a body, which nobody needs to name")]
pub struct Held {
    under_way: Option<Arc<AtomicU32>>,
    permit: Option<Permit>,
}

impl Held {
    fn nothing() -> Self {
        Self { under_way: None, permit: None }
    }
}

impl seawall_core::Guard for Held {
    fn finish(self, _: seawall_core::Outcome) {
        // Dropped here, which gives back what it holds.
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(under_way) = &self.under_way {
            under_way.fetch_sub(1, Relaxed);
        }
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held").field("permit", &self.permit).finish_non_exhaustive()
    }
}

impl<S> Clone for Pool<S> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone() }
    }
}

impl<S> fmt::Debug for Pool<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("limit", &self.shared.limit).finish_non_exhaustive()
    }
}

impl<S, Req> Service<Req> for Pool<S>
where
    S: Service<Req> + Clone,
{
    type Response = (S::Response, Held);
    type Error = Error<S::Error>;
    type Future = PoolFuture<S, Req>;

    /// Always ready: a call waits for its turn in its future, where it can be refused.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Req) -> PoolFuture<S, Req> {
        let bounds = **self.shared.bounds.load();
        let acquire = bounds.calls.map(|_| self.shared.limit.acquire());
        PoolFuture::new(self.clone(), bounds, acquire, request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A pool whose services are numbers, counted from 0.
    fn pool(bounds: Bounds) -> Pool<u32> {
        let made = AtomicU32::new(1);
        Pool::new("a", bounds, 0, move || Some(made.fetch_add(1, Relaxed)))
    }

    fn wide() -> Bounds {
        Bounds { channels: 1, streams: 2, calls: None, pending: 0, calls_per_channel: None }
    }

    fn picks(pool: &Pool<u32>, bounds: &Bounds, times: u32) -> Vec<u32> {
        (0..times).map(|_| pool.pick(bounds).unwrap().0).collect()
    }

    #[test]
    fn another_channel_is_opened_when_all_are_busy_and_no_more_than_may_be() {
        let bounds = Bounds { channels: 3, ..wide() };
        let pool = pool(bounds);
        assert_eq!(picks(&pool, &bounds, 8), [0, 0, 1, 1, 2, 2, 0, 1]);
    }

    #[test]
    fn a_channel_is_replaced_when_it_has_made_its_calls() {
        let bounds = Bounds { calls_per_channel: 3.try_into().ok(), streams: 100, ..wide() };
        let pool = pool(bounds);
        assert_eq!(picks(&pool, &bounds, 8), [0, 0, 0, 1, 1, 1, 2, 2]);
    }

    #[test]
    fn fewer_channels_stay_when_the_bounds_shrink() {
        let bounds = Bounds { channels: 3, ..wide() };
        let pool = pool(bounds);
        picks(&pool, &bounds, 6);
        pool.follow(wide());
        assert_eq!(pool.slots().len(), 1);
        assert_eq!(picks(&pool, &wide(), 2), [0, 0]);
    }
}
