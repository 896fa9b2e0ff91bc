//! Snapshots as server-sent events.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::response::sse::Event;
use futures_core::Stream;
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::Shown;

/// Twice a second looks alive, and costs a client next to nothing.
const PERIOD: Duration = Duration::from_millis(500);

/// All clients, at once and then in each period.
pub(super) struct Events {
    shown: Shown,
    ticks: Interval,
}

impl Events {
    pub(super) fn new(shown: Shown) -> Self {
        let mut ticks = interval(PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { shown, ticks }
    }
}

impl Stream for Events {
    type Item = Result<Event, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        ready!(self.ticks.poll_tick(cx));
        Poll::Ready(Some(Ok(Event::default().data(self.shown.json()))))
    }
}
