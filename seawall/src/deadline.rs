//! A response whose body ends with the call's deadline.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use seawall_core::BoxError;
use tokio::time::{Instant, Sleep, sleep_until};

/// When a call has to have ended, and how much time it had.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline {
    pub(crate) at: Instant,
    pub(crate) limit: Duration,
}

impl Deadline {
    pub(crate) fn after(limit: Duration) -> Option<Self> {
        // A time beyond the clock's end is no deadline.
        Some(Self { at: Instant::now().checked_add(limit)?, limit })
    }

    /// What is left; zero when it has passed.
    pub(crate) fn left(&self) -> Duration {
        self.at.saturating_duration_since(Instant::now())
    }
}

pin_project! {
    /// A body that fails when the deadline of its call passes, and lets go of the call then.
    #[must_use = "a body does nothing until it is polled"]
    pub struct DeadlineBody<B> {
        // Gone once the time is over.
        #[pin]
        inner: Option<B>,
        #[pin]
        timer: Option<Sleep>,
        limit: Duration,
        expired: fn(Duration) -> BoxError,
    }
}

impl<B> DeadlineBody<B> {
    /// Ends as `body` does, or at the deadline with what `expired` makes of the limit.
    pub(crate) fn new(
        body: B,
        deadline: Option<Deadline>,
        expired: fn(Duration) -> BoxError,
    ) -> Self {
        Self {
            inner: Some(body),
            timer: deadline.map(|deadline| sleep_until(deadline.at)),
            limit: deadline.map_or(Duration::ZERO, |deadline| deadline.limit),
            expired,
        }
    }
}

impl<B> DeadlineBody<B> {
    /// The body, as long as there is time.
    pub(crate) fn inner(&self) -> Option<&B> {
        self.inner.as_ref()
    }
}

impl<B> Body for DeadlineBody<B>
where
    B: Body,
    B::Error: Into<BoxError>,
{
    type Data = B::Data;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, BoxError>>> {
        let mut this = self.project();
        let Some(inner) = this.inner.as_mut().as_pin_mut() else {
            return Poll::Ready(None);
        };
        let over = match inner.poll_frame(cx) {
            // A server that never pauses is not to outlive the deadline; one that ends may.
            Poll::Ready(Some(Ok(frame))) if frame.is_data() => {
                let timer = this.timer.as_ref().as_pin_ref();
                if timer.is_none_or(|timer| Instant::now() < timer.deadline()) {
                    return Poll::Ready(Some(Ok(frame)));
                }
                true
            }
            Poll::Ready(frame) => {
                return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
            }
            Poll::Pending => this.timer.as_pin_mut().is_some_and(|timer| timer.poll(cx).is_ready()),
        };
        if !over {
            return Poll::Pending;
        }
        this.inner.set(None);
        Poll::Ready(Some(Err((this.expired)(*this.limit))))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.as_ref().map_or_else(SizeHint::default, Body::size_hint)
    }
}

impl<B: fmt::Debug> fmt::Debug for DeadlineBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeadlineBody").field("inner", &self.inner).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures::{StreamExt, stream};
    use http_body_util::{BodyExt, StreamBody};

    use super::*;

    fn body(
        wait: Duration,
        limit: Option<Duration>,
    ) -> impl Body<Data = Bytes, Error = BoxError> + Unpin {
        let frames = stream::iter(["a", "b", "c"]).then(move |text| async move {
            tokio::time::sleep(wait).await;
            Ok::<_, BoxError>(Frame::data(Bytes::from_static(text.as_bytes())))
        });
        let deadline = limit.and_then(Deadline::after);
        let expired = |limit| format!("not within {limit:?}").into();
        Box::pin(DeadlineBody::new(StreamBody::new(frames), deadline, expired))
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn a_body_fails_at_the_deadline_and_then_ends() {
        let begun = Instant::now();
        let mut body = body(SECOND, Some(2500 * Duration::from_millis(1)));
        for _ in 0..2 {
            assert!(body.frame().await.unwrap().is_ok());
        }
        let error = body.frame().await.unwrap().unwrap_err();
        assert_eq!(error.to_string(), "not within 2.5s");
        assert!(begun.elapsed() < 2600 * Duration::from_millis(1), "{:?}", begun.elapsed());
        assert!(body.is_end_stream() && body.frame().await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_never_pauses_fails_too() {
        let mut body = body(Duration::ZERO, Some(SECOND));
        assert!(body.frame().await.unwrap().is_ok());
        tokio::time::advance(SECOND).await;
        body.frame().await.unwrap().unwrap_err();
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_in_time_and_one_without_a_deadline_are_whole() {
        for limit in [Some(4 * SECOND), Some(Duration::MAX), None] {
            let whole = body(SECOND, limit).collect().await.unwrap().to_bytes();
            assert_eq!(whole, "abc", "{limit:?}");
        }
    }
}
