//! A response whose first frame has been waited for.
//!
//! An attempt is committed when its body begins: an error, or trailers that tell of one, before the
//! first frame may still be mended by another attempt, and nothing after it.

use std::{
    fmt,
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll},
};

use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

pin_project! {
    /// A body of which the first frame may have been read ahead.
    #[must_use = "a body does nothing until it is polled"]
    pub struct FirstFrame<B: Body> {
        first: First<B::Data, B::Error>,
        #[pin]
        rest: B,
    }
}

enum First<D, E> {
    /// Not read ahead, or handed on.
    Gone,
    Frame(Result<Frame<D>, E>),
    End,
}

/// How a body begins.
pub(crate) enum Beginning<'a> {
    /// It is not known, or with data.
    Data,
    /// With its end, and these trailers if there are any.
    End(Option<&'a HeaderMap>),
    /// It fails.
    Error,
}

impl<B: Body> FirstFrame<B> {
    /// Reads nothing ahead.
    pub(crate) fn unread(body: B) -> Self {
        Self { first: First::Gone, rest: body }
    }

    /// Waits for the first frame.
    ///
    /// Dropping the future drops the body, and with it the call.
    pub(crate) async fn read(mut body: B) -> Self
    where
        B: Unpin,
    {
        if body.is_end_stream() {
            return Self::unread(body);
        }
        let first = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await;
        Self { first: first.map_or(First::End, First::Frame), rest: body }
    }

    pub(crate) fn beginning(&self) -> Beginning<'_> {
        match &self.first {
            First::Gone => Beginning::Data,
            First::End => Beginning::End(None),
            First::Frame(Err(_)) => Beginning::Error,
            First::Frame(Ok(frame)) => match frame.trailers_ref() {
                Some(trailers) => Beginning::End(Some(trailers)),
                None => Beginning::Data,
            },
        }
    }
}

impl<B: Body> Body for FirstFrame<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let this = self.project();
        match std::mem::replace(this.first, First::Gone) {
            First::Gone => this.rest.poll_frame(cx),
            First::Frame(frame) => Poll::Ready(Some(frame)),
            First::End => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self.first {
            First::Frame(_) => false,
            First::End => true,
            First::Gone => self.rest.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        use bytes::Buf;
        let First::Frame(Ok(frame)) = &self.first else {
            return self.rest.size_hint();
        };
        let ahead = frame.data_ref().map_or(0, |data| data.remaining() as u64);
        let rest = self.rest.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower().saturating_add(ahead));
        if let Some(upper) = rest.upper().and_then(|upper| upper.checked_add(ahead)) {
            hint.set_upper(upper);
        }
        hint
    }
}

impl<B: Body + fmt::Debug> fmt::Debug for FirstFrame<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FirstFrame").field("rest", &self.rest).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use bytes::Bytes;
    use http_body_util::{BodyExt, Full, StreamBody};

    use super::*;

    fn frames(frames: Vec<Frame<Bytes>>) -> impl Body<Data = Bytes, Error = Infallible> + Unpin {
        StreamBody::new(futures::stream::iter(frames.into_iter().map(Ok)))
    }

    #[tokio::test]
    async fn nothing_is_lost_by_reading_ahead() {
        let data = |text: &'static str| Frame::data(Bytes::from_static(text.as_bytes()));
        let body = FirstFrame::read(frames(vec![data("ab"), data("c")])).await;
        assert!(matches!(body.beginning(), Beginning::Data));
        assert_eq!(body.collect().await.unwrap().to_bytes(), "abc");
    }

    #[tokio::test]
    async fn the_length_counts_what_was_read_ahead() {
        let body = FirstFrame::read(Full::new(Bytes::from_static(b"abc"))).await;
        assert_eq!(body.size_hint().exact(), Some(3));
        assert!(!body.is_end_stream());
    }

    #[tokio::test]
    async fn trailers_without_data_are_seen_and_handed_on() {
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", "14".parse().unwrap());
        let body = FirstFrame::read(frames(vec![Frame::trailers(trailers.clone())])).await;
        assert!(matches!(body.beginning(), Beginning::End(Some(t)) if *t == trailers));
        assert_eq!(body.collect().await.unwrap().trailers(), Some(&trailers));
    }

    #[tokio::test]
    async fn an_empty_body_ends() {
        let body = FirstFrame::read(frames(vec![])).await;
        assert!(matches!(body.beginning(), Beginning::End(None)));
        assert!(body.is_end_stream());
    }
}
