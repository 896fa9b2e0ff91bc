//! The body of a response that may come from a fallback.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::stale::Recorder;

pin_project! {
    /// A body from a server, which may be taken down for later calls, or one that a fallback gives.
    #[must_use = "a body does nothing until it is polled"]
    pub struct AnswerBody<B> {
        #[pin]
        sent: Option<B>,
        recorder: Option<Box<Recorder>>,
        // A response is good only with these.
        wants: fn(Option<&HeaderMap>) -> bool,
        data: Option<Bytes>,
        trailers: Option<HeaderMap>,
    }
}

impl<B> AnswerBody<B> {
    /// What a server sends.
    pub(crate) fn sent(body: B) -> Self {
        Self { sent: Some(body), recorder: None, wants: |_| false, data: None, trailers: None }
    }

    /// What a server sends, to be taken down if it ends in trailers that `wants` accepts.
    pub(crate) fn recorded(
        body: B,
        recorder: Box<Recorder>,
        wants: fn(Option<&HeaderMap>) -> bool,
    ) -> Self {
        Self { recorder: Some(recorder), wants, ..Self::sent(body) }
    }

    /// What a fallback gives.
    pub(crate) fn given(data: Bytes, trailers: Option<HeaderMap>) -> Self {
        let data = Some(data).filter(|data| !data.is_empty());
        Self { sent: None, recorder: None, wants: |_| false, data, trailers }
    }
}

impl<B: Body<Data = Bytes>> Body for AnswerBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let mut this = self.project();
        let Some(mut sent) = this.sent.as_mut().as_pin_mut() else {
            let data = this.data.take().map(Frame::data);
            let frame = data.or_else(|| this.trailers.take().map(Frame::trailers));
            return Poll::Ready(frame.map(Ok));
        };
        let polled = sent.as_mut().poll_frame(cx);
        let Poll::Ready(frame) = &polled else { return Poll::Pending };
        let Some(mut recorder) = this.recorder.take() else { return polled };
        match frame {
            Some(Err(_)) => {}
            Some(Ok(frame)) => match (frame.data_ref(), frame.trailers_ref()) {
                (Some(data), _) if !recorder.data(data) => {}
                // A body of a known length is not asked again after its last frame.
                (Some(_), _) if sent.is_end_stream() && (this.wants)(None) => recorder.end(None),
                (Some(_), _) => *this.recorder = Some(recorder),
                (None, Some(trailers)) if (this.wants)(Some(trailers)) => {
                    recorder.end(Some(trailers.clone()));
                }
                (None, _) => {}
            },
            None if (this.wants)(None) => recorder.end(None),
            None => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        match &self.sent {
            Some(body) => body.is_end_stream(),
            None => self.data.is_none() && self.trailers.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.sent {
            Some(body) => body.size_hint(),
            None => SizeHint::with_exact(self.data.as_ref().map_or(0, |data| data.len() as u64)),
        }
    }
}

impl<B: fmt::Debug> fmt::Debug for AnswerBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AnswerBody").field("sent", &self.sent).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http::StatusCode;
    use http_body_util::{BodyExt, Full, StreamBody};
    use seawall_core::Clock;

    use super::{
        super::stale::{Key, Responses},
        *,
    };
    use crate::policy::Stale;

    type Sent = Full<Bytes>;

    fn recorder(responses: &Responses) -> Box<Recorder> {
        Recorder::new(responses, StatusCode::OK, &HeaderMap::new(), || Some(Key::default()))
    }

    #[tokio::test]
    async fn a_given_body_is_data_then_trailers() {
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", "0".parse().unwrap());
        let body = AnswerBody::<Sent>::given("ab".into(), Some(trailers.clone()));
        assert_eq!(body.size_hint().exact(), Some(2));
        let whole = body.collect().await.unwrap();
        assert_eq!(whole.trailers(), Some(&trailers));
        assert_eq!(whole.to_bytes(), "ab");
        assert!(AnswerBody::<Sent>::given(Bytes::new(), None).is_end_stream());
    }

    #[tokio::test]
    async fn a_body_that_is_whole_is_kept_and_one_that_is_dropped_is_not() {
        let responses = Responses::new(&Stale::new(), &Clock::fast(), None);
        let mut body = AnswerBody::recorded(Sent::from("abc"), recorder(&responses), |_| true);
        drop(AnswerBody::recorded(Sent::from("abc"), recorder(&responses), |_| true));
        assert!(responses.find(&[]).is_none());
        // One frame, as a reader does that knows the length.
        body.frame().await.unwrap().unwrap();
        assert_eq!(responses.find(&[]).unwrap().0.body, "abc");
    }

    #[tokio::test]
    async fn a_body_that_needs_trailers_is_not_kept_without() {
        let ok: fn(Option<&HeaderMap>) -> bool =
            |trailers| trailers.is_some_and(|trailers| trailers["grpc-status"] == "0");
        let frames = |status: Option<&str>| {
            let data = Frame::data(Bytes::from_static(b"abc"));
            let trailers = status.map(|status| {
                let mut trailers = HeaderMap::new();
                trailers.insert("grpc-status", status.parse().unwrap());
                Frame::trailers(trailers)
            });
            let frames = [Some(data), trailers].into_iter().flatten().map(Ok::<_, Infallible>);
            StreamBody::new(futures::stream::iter(frames))
        };
        for (status, kept) in [(None, false), (Some("14"), false), (Some("0"), true)] {
            let responses = Responses::new(&Stale::new(), &Clock::fast(), None);
            let body = AnswerBody::recorded(frames(status), recorder(&responses), ok);
            body.collect().await.unwrap();
            assert_eq!(responses.find(&[]).is_some(), kept, "{status:?}");
        }
    }
}
