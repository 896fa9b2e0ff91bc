//! Any interleaving of attempts against the obvious model: a body held as a `Vec`.

#![cfg(feature = "http")]
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

#[path = "support/attempt.rs"]
mod attempt;

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, atomic::Ordering::SeqCst},
};

use attempt::{Attempt, End, Script, Scripted, Step, byte, release, trailers};
use http::HeaderMap;
use http_body::Body;
use proptest::{collection::vec, prelude::*};
use seawall_core::http::Replay;

/// What a test does to a replayed body.
#[derive(Clone, Debug)]
enum Op {
    Open,
    Poll(usize),
    Stick(usize),
    Drop(usize),
    Release,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..6_usize).prop_map(Step::Data),
        2 => Just(Step::Wait),
        1 => Just(Step::Yield),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        1 => Just(Op::Open),
        8 => (0..3_usize).prop_map(Op::Poll),
        1 => (0..3_usize).prop_map(Op::Stick),
        1 => (0..3_usize).prop_map(Op::Drop),
        2 => Just(Op::Release),
    ]
}

/// The obvious model: the body is a `Vec`, and what matters is how far the furthest attempt came.
struct Model {
    whole: Vec<u8>,
    trailers: Option<HeaderMap>,
    fails: bool,
    limit: usize,
    taken: usize,
    failed: bool,
}

impl Model {
    fn replayable(&self) -> bool {
        self.taken <= self.limit && !self.failed
    }

    fn check(&mut self, attempt: &Attempt) {
        assert_eq!(attempt.sent[..], self.whole[..attempt.sent.len()], "bytes in order");
        self.taken = self.taken.max(attempt.sent.len());
        let lost = self.taken > self.limit && attempt.sent.len() < self.taken;
        match attempt.end {
            Some(End::Complete) => {
                assert!(!self.fails);
                assert_eq!(attempt.sent, self.whole);
                assert_eq!(attempt.trailers, self.trailers);
            }
            Some(End::Lost) => assert!(lost || self.failed, "lost what is kept"),
            Some(End::Broken) => {
                assert!(self.fails);
                assert!(!self.failed, "the source's error is told once");
                self.failed = true;
            }
            None => {}
        }
        let done = attempt.end.is_some() || attempt.trailers.is_some();
        if attempt.body.is_end_stream() && attempt.end.as_ref().is_none_or(|e| *e == End::Complete)
        {
            assert_eq!(attempt.sent, self.whole, "at the end before all is sent");
            assert_eq!(attempt.trailers, self.trailers, "at the end before the trailers");
        }
        if !done && !lost && !self.failed {
            let rest = (self.whole.len() - attempt.sent.len()) as u64;
            let hint = attempt.body.size_hint();
            assert!(hint.lower() <= rest, "{hint:?}, {rest} to come");
            assert!(hint.upper().is_none_or(|upper| upper >= rest), "{hint:?}, {rest} to come");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2_000) })]

    #[test]
    fn an_attempt_sends_the_whole_body_or_fails_and_never_hangs(
        steps in vec(step(), 0..10),
        last in prop_oneof![Just(None), Just(Some(Step::Trailers)), Just(Some(Step::Error))],
        limit in 0..40_usize,
        sized: bool,
        ops in vec(op(), 0..40),
    ) {
        let steps: VecDeque<Step> = steps.into_iter().chain(last.clone()).collect();
        let script = Arc::new(Mutex::new(Script { steps, sent: 0, waker: None }));
        let whole: Vec<u8> = (0..script.lock().unwrap().rest()).map(byte).collect();
        let mut model = Model {
            whole,
            trailers: (last == Some(Step::Trailers)).then(trailers),
            fails: last == Some(Step::Error),
            limit,
            taken: 0,
            failed: false,
        };
        let replay = Replay::with_limit(Scripted { script: script.clone(), sized }, limit);
        let mut attempts: Vec<Attempt> = Vec::new();

        for op in ops {
            match op {
                Op::Open => {
                    let body = replay.attempt();
                    prop_assert_eq!(body.is_some(), model.replayable());
                    prop_assert_eq!(replay.is_replayable(), model.replayable());
                    attempts.extend(body.map(Attempt::new));
                }
                Op::Poll(i) => {
                    if let Some(attempt) = attempts.get_mut(i)
                        && attempt.end.is_none()
                        && !attempt.stuck
                    {
                        attempt.poll();
                        model.check(attempt);
                    }
                }
                Op::Stick(i) => attempts.get_mut(i).into_iter().for_each(|a| a.stuck = true),
                Op::Drop(i) if i < attempts.len() => drop(attempts.remove(i)),
                Op::Drop(_) => {}
                Op::Release => release(&script),
            }
        }

        // From here on each attempt is polled only when it was woken, as a runtime does it.
        loop {
            let runnable = attempts
                .iter_mut()
                .find(|a| a.end.is_none() && !a.stuck && a.woken.0.load(SeqCst));
            if let Some(attempt) = runnable {
                attempt.poll();
                model.check(attempt);
            } else if script.lock().unwrap().steps.front() == Some(&Step::Wait) {
                release(&script);
                if script.lock().unwrap().waker.is_none()
                    && attempts.iter().all(|a| a.end.is_some() || a.stuck)
                {
                    break;
                }
            } else {
                break;
            }
        }
        for attempt in attempts.iter().filter(|a| !a.stuck) {
            prop_assert!(attempt.end.is_some(), "hangs after {} bytes", attempt.sent.len());
        }
    }
}
