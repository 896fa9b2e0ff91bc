//! A tracked body tells its guard once, whatever the body does and wherever the reader stops.

#![cfg(feature = "http")]
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod support;

use std::{
    collections::VecDeque,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use proptest::{collection::vec, prelude::*};
use seawall_core::{
    Outcome,
    http::{BodyEnd, ClassifyEnd, TrackedBody, Verdict},
};
use support::{Answered, Dropped, Recorder, Told};

/// What a body does at one poll.
#[derive(Clone, Debug, PartialEq)]
enum Step {
    Pending,
    Data(usize),
    Trailers,
    Error,
}

#[derive(Clone, Debug)]
struct Scripted {
    steps: VecDeque<Step>,
    /// Says that it is at its end when it is, rather than only answering `None`.
    knows_its_end: bool,
}

impl Body for Scripted {
    type Data = Bytes;
    type Error = u8;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, u8>>> {
        match self.steps.pop_front() {
            Some(Step::Pending) => Poll::Pending,
            Some(Step::Data(len)) => Poll::Ready(Some(Ok(Frame::data(vec![7; len].into())))),
            Some(Step::Trailers) => Poll::Ready(Some(Ok(Frame::trailers(HeaderMap::new())))),
            Some(Step::Error) => Poll::Ready(Some(Err(9))),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.knows_its_end && self.steps.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.steps.len() as u64)
    }
}

/// A different answer for each end, so that the guard's outcome names it.
#[derive(Clone, Copy, Debug)]
struct Ends<const HEAD: bool>;

impl<const HEAD: bool> ClassifyEnd for Ends<HEAD> {
    const ANSWERED_BY_HEAD: bool = HEAD;

    fn end(self, end: BodyEnd<'_>) -> Option<Outcome> {
        match end {
            BodyEnd::Complete => Some(Outcome::Success),
            BodyEnd::Error => Some(Outcome::Failure),
            BodyEnd::Trailers(_) => Some(Outcome::Ignored),
            _ => None,
        }
    }

    fn sanitize(trailers: &mut HeaderMap) {
        trailers.insert("x-sanitized", http::HeaderValue::from_static("1"));
    }
}

/// What the guard must hear of a body that is polled `polls` times and then dropped.
fn expected(body: &Scripted, polls: usize, by_head: bool) -> Vec<Told> {
    let mut told = Vec::new();
    let mut steps = body.steps.iter();
    let at_end = |steps: &std::collections::vec_deque::Iter<'_, Step>| {
        body.knows_its_end && steps.len() == 0
    };
    let answer = |told: &mut Vec<Told>| {
        if told.is_empty() {
            told.push(Answered);
        }
    };
    if by_head {
        answer(&mut told);
    }
    let mut end = at_end(&steps).then_some(Told::Finished(Outcome::Success));
    for _ in 0..polls {
        if end.is_some() {
            break;
        }
        match steps.next() {
            Some(Step::Pending) => {}
            Some(Step::Data(_)) => {
                answer(&mut told);
                end = at_end(&steps).then_some(Told::Finished(Outcome::Success));
            }
            Some(Step::Trailers) => end = Some(Told::Finished(Outcome::Ignored)),
            Some(Step::Error) => end = Some(Told::Finished(Outcome::Failure)),
            None => end = Some(Told::Finished(Outcome::Success)),
        }
    }
    if matches!(end, Some(Told::Finished(Outcome::Success | Outcome::Ignored))) {
        answer(&mut told);
    }
    told.push(end.unwrap_or(Dropped));
    told
}

fn check<const HEAD: bool>(script: &Scripted, polls: usize) {
    let recorder = Recorder::default();
    let mut tracked =
        TrackedBody::new(script.clone(), recorder.admit(), Verdict::AtEnd(Ends::<HEAD>));
    let mut plain = script.clone();
    for _ in 0..polls {
        assert_eq!(tracked.is_end_stream(), plain.is_end_stream());
        assert_eq!(tracked.size_hint().exact(), plain.size_hint().exact());
        let mut cx = Context::from_waker(Waker::noop());
        let seen = Pin::new(&mut tracked).poll_frame(&mut cx);
        let sent = Pin::new(&mut plain).poll_frame(&mut cx);
        match (seen, sent) {
            (Poll::Pending, Poll::Pending) => {}
            (Poll::Ready(None), Poll::Ready(None)) => {}
            (Poll::Ready(Some(Err(seen))), Poll::Ready(Some(Err(sent)))) => assert_eq!(seen, sent),
            (Poll::Ready(Some(Ok(seen))), Poll::Ready(Some(Ok(sent)))) => match seen.into_data() {
                Ok(data) => assert_eq!(data, sent.into_data().unwrap()),
                Err(seen) => {
                    assert!(sent.is_trailers());
                    assert!(seen.into_trailers().unwrap().contains_key("x-sanitized"));
                }
            },
            (seen, sent) => panic!("saw {seen:?}, was sent {sent:?}"),
        }
    }
    drop(tracked);
    recorder.assert_told(&expected(script, polls, HEAD));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2_000) })]

    #[test]
    fn the_guard_hears_one_outcome_and_the_reader_sees_the_body_unchanged(
        steps in vec(
            prop_oneof![
                2 => Just(Step::Pending),
                4 => (0..4_usize).prop_map(Step::Data),
                1 => Just(Step::Trailers),
                1 => Just(Step::Error),
            ],
            0..8,
        ),
        knows_its_end: bool,
        polls in 0..12_usize,
    ) {
        let script = Scripted { steps: steps.into(), knows_its_end };
        check::<true>(&script, polls);
        check::<false>(&script, polls);
    }
}

#[test]
fn a_verdict_that_is_known_is_told_before_the_body_is_read() {
    let recorder = Recorder::default();
    let script = Scripted { steps: VecDeque::from([Step::Error]), knows_its_end: false };
    let verdict = Verdict::<Ends<true>>::Now(Outcome::Ignored);
    let mut body = TrackedBody::new(script, recorder.admit(), verdict);
    recorder.assert_told(&[Answered, support::IGNORED]);
    let _ = Pin::new(&mut body).poll_frame(&mut Context::from_waker(Waker::noop()));
    drop(body);
    recorder.assert_told(&[Answered, support::IGNORED]);
}
