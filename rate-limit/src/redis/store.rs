//! Asks Redis, many questions at once.
//!
//! Questions about keys of one lane go out together: those that gathered while the last ones were
//! out, and those that are runnable now, because whoever sends yields once before. There is no timer
//! in that, so that a question that is alone goes out at once. A task does the sending; it ends when
//! there is nothing to send, and with the last handle.

use std::{fmt, mem, sync::Arc, time::Duration};

use futures_util::StreamExt;

use tokio::{
    sync::oneshot,
    task::{AbortHandle, yield_now},
    time::Instant,
};

use super::{
    ask::{Answer, Ask, Failure},
    batch::Batch,
    link::Link,
    plan::Plan,
    slot::{SLOTS, slot},
};
use crate::sync::{Mutex, lock};

/// So many questions go out together at most, so that none keeps Redis from others for long.
const TOGETHER_MAX: usize = 4_096;

/// Asks Redis for decisions, within a time.
pub(crate) struct Store {
    lanes: Box<[Arc<Lane>]>,
    timeout: Duration,
}

/// What all keys of one lane have in common.
struct Lane {
    link: Arc<dyn Link>,
    prefix: Arc<str>,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    questions: Vec<Question>,
    /// Who sends them; none while there is nothing to send.
    sender: Option<AbortHandle>,
}

/// A question that waits for its answer.
pub(super) struct Question {
    pub(super) key: Arc<[u8]>,
    pub(super) plan: Plan,
    pub(super) ask: Ask,
    pub(super) deadline: Instant,
    pub(super) tell: Option<oneshot::Sender<Result<Answer, Failure>>>,
}

impl Question {
    pub(super) fn tell(&mut self, answer: Result<Answer, Failure>) {
        if let Some(tell) = self.tell.take() {
            // Whoever asked may be gone.
            let _ = tell.send(answer);
        }
    }

    fn is_open(&self) -> bool {
        self.tell.as_ref().is_some_and(|tell| !tell.is_closed())
    }

    /// Fails it when it is too late.
    fn expire(&mut self, now: Instant) {
        if self.deadline <= now {
            self.tell(Err(Failure::TimedOut));
        }
    }
}

impl Store {
    pub(crate) fn new(link: Arc<dyn Link>, prefix: Arc<str>, timeout: Duration) -> Self {
        let lane = || {
            let (link, prefix) = (link.clone(), prefix.clone());
            Arc::new(Lane { link, prefix, waiting: Mutex::default() })
        };
        Self { lanes: (0..link.lanes()).map(|_| lane()).collect(), timeout }
    }

    /// Asks about `key`, which is decided by `plan`.
    ///
    /// # Errors
    ///
    /// When there is no answer in time or at all.
    ///
    /// # Cancel safety
    ///
    /// Dropped before the question is sent, nothing is asked; afterwards Redis decides all the same.
    pub(crate) async fn ask(
        &self,
        key: Arc<[u8]>,
        plan: Plan,
        ask: Ask,
    ) -> Result<Answer, Failure> {
        let (tell, told) = oneshot::channel();
        let lane = &self.lanes[usize::from(slot(&key)) * self.lanes.len() / SLOTS];
        let deadline = Instant::now() + self.timeout;
        lane.push(Question { key, plan, ask, deadline, tell: Some(tell) });
        // The sender is gone with its runtime.
        told.await.unwrap_or(Err(Failure::TimedOut))
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        for lane in &self.lanes {
            if let Some(sender) = lock(&lane.waiting).sender.take() {
                sender.abort();
            }
        }
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

impl Lane {
    fn push(self: &Arc<Self>, question: Question) {
        let mut waiting = lock(&self.waiting);
        waiting.questions.push(question);
        if waiting.sender.is_none() {
            // Lives until the questions are answered.
            let sending = Sending { lane: self.clone(), is_done: false };
            waiting.sender = Some(tokio::spawn(sending.run()).abort_handle());
        }
    }

    /// What is to be asked now; none ends the sending.
    fn take(&self) -> Option<Vec<Question>> {
        let mut waiting = lock(&self.waiting);
        if waiting.questions.is_empty() {
            waiting.sender = None;
            return None;
        }
        if waiting.questions.len() <= TOGETHER_MAX {
            return Some(mem::take(&mut waiting.questions));
        }
        let later = waiting.questions.split_off(TOGETHER_MAX);
        Some(mem::replace(&mut waiting.questions, later))
    }

    /// Fails those who wait for their turn for too long.
    fn expire(&self, now: Instant) {
        let mut waiting = lock(&self.waiting);
        // Those who asked first are first.
        let late = waiting.questions.iter().take_while(|question| question.deadline <= now).count();
        for mut question in waiting.questions.drain(..late) {
            question.expire(now);
        }
    }
}

/// Sends what a lane has. Dropped with its runtime, it leaves the lane to the next sender.
struct Sending {
    lane: Arc<Lane>,
    is_done: bool,
}

impl Sending {
    async fn run(mut self) {
        loop {
            // Whoever is runnable now asks before this goes on.
            yield_now().await;
            let Some(mut questions) = self.lane.take() else {
                self.is_done = true;
                return;
            };
            questions.retain(Question::is_open);
            if !questions.is_empty() {
                self.send(Batch::new(questions)).await;
            }
        }
    }

    async fn send(&self, mut batch: Batch) {
        let mut replies = self.lane.link.send(batch.calls(&self.lane.prefix));
        while let Some(deadline) = batch.deadline() {
            match tokio::time::timeout_at(deadline, replies.next()).await {
                Ok(Some(replies)) => batch.tell(replies),
                Ok(None) => return,
                Err(_) => {
                    let now = Instant::now();
                    batch.each_open(|question| question.expire(now));
                    self.lane.expire(now);
                }
            }
        }
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        if !self.is_done {
            let mut waiting = lock(&self.lane.waiting);
            waiting.sender = None;
            // Those who wait learn it by the drop of their senders.
            waiting.questions.clear();
        }
    }
}
