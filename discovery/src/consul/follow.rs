//! The task behind a watch.

use std::{sync::Arc, time::Duration};

use tokio::{
    select,
    time::{Instant, sleep, sleep_until},
};

use super::{
    EmptyAnswers, HealthAnswer, Query, Shared,
    cursor::{Cursor, Step},
    http::Answer,
};
use crate::RegisterError;

/// Wake-ups in a row that are not slowed down, and how often one more is granted.
const BURST: u32 = 8;
const REFILL: Duration = Duration::from_millis(100);

/// A token bucket: a service that changes without pause is polled at a steady rate.
struct WakeUps {
    /// When the bucket will be full again.
    full: Instant,
}

impl WakeUps {
    async fn take(&mut self) {
        let now = Instant::now();
        self.full = self.full.max(now) + REFILL;
        sleep_until(self.full - REFILL * BURST).await;
    }
}

/// What is followed: where the answers come from, what they mean and who is told.
pub(super) trait Subject: Send + 'static {
    /// What an answer holds.
    type Set;

    /// What logs call it.
    fn name(&self) -> &str;
    fn path(&self) -> Vec<&str>;
    fn query(&self) -> &Query;
    fn read(&mut self, body: &[u8]) -> Result<Self::Set, serde_json::Error>;
    fn is_empty(set: &Self::Set) -> bool;
    /// Whether the set that was told last holds anything.
    fn holds_any(&self) -> bool;
    fn publish(&self, set: Self::Set);
    fn fresh(&self);
    fn stale(&self, why: String);
}

/// Follows `subject` until nobody watches it any more, which aborts this.
pub(super) async fn follow<S: Subject>(shared: Arc<Shared>, subject: S) {
    let mut follower = Follower::new(shared.settings.empty_answers, subject);
    let mut wake_ups = WakeUps { full: Instant::now() };
    let mut rng = fastrand::Rng::new();
    let mut failures = 0;
    let _watched = shared.turns.watched();
    let mut place = shared.http.route.current();
    loop {
        wake_ups.take().await;
        let wait = follower.wait(shared.settings.wait);
        let (turn, wait) = shared.turns.take(wait).await;
        let now = shared.http.route.current();
        if now != place {
            place = now;
            follower.start_over();
        }
        let answer = {
            let (subject, index) = (&follower.subject, follower.cursor.index());
            let (agent, path) = (shared.http.at(place), subject.path());
            select! {
                answer = agent.watch(&path, subject.query(), index, wait) => answer,
                // Somebody found out that this agent is dead, or that a better one is back.
                () = shared.http.route.left(place) => {
                    drop(turn);
                    part(&shared, &mut rng).await;
                    continue;
                }
            }
        };
        drop(turn);
        let read = answer.and_then(|answer| {
            let agent = shared.http.at(place);
            follower.answered(&answer).map_err(|error| agent.garbled(error))
        });
        match read {
            Ok(()) => {
                if failures > 0 {
                    tracing::info!(service = follower.subject.name(), "watch answers again");
                }
                failures = 0;
                part(&shared, &mut rng).await;
            }
            Err(error) => {
                failures += 1;
                follower.failed(&error, failures == 1);
                shared.consider(place, &error).await;
                sleep(shared.settings.backoff.wait(failures, &mut rng)).await;
            }
        }
    }
}

/// Keeps watches that returned at once from asking again at once.
async fn part(shared: &Shared, rng: &mut fastrand::Rng) {
    let wait = shared.herd.returned(Instant::now(), rng);
    if !wait.is_zero() {
        sleep(wait).await;
    }
}

struct Follower<S> {
    policy: EmptyAnswers,
    subject: S,
    cursor: Cursor,
    /// Something happened after which an empty answer cannot be trusted.
    doubted: bool,
    /// When the first answer was held back; it counts from when Consul answers again.
    held: Option<Instant>,
    /// The answer that the published set was read from.
    applied: Option<u64>,
}

impl<S: Subject> Follower<S> {
    fn new(policy: EmptyAnswers, subject: S) -> Self {
        let cursor = Cursor::default();
        Self { policy, subject, cursor, doubted: false, held: None, applied: None }
    }

    /// How long the next query may wait: no longer than an empty answer is held back.
    fn wait(&self, wait: Duration) -> Duration {
        match (self.held, self.policy) {
            (Some(since), EmptyAnswers::HoldFor(grace)) if self.cursor.index().is_some() => {
                let left = grace.saturating_sub(since.elapsed());
                wait.min(left.max(Duration::from_millis(10)))
            }
            _ => wait,
        }
    }

    fn answered(&mut self, answer: &Answer) -> Result<(), serde_json::Error> {
        let step = self.cursor.advance(answer.index);
        self.doubted |= step == Step::Lost;
        let hash = HealthAnswer::fingerprint(&answer.body);
        if step == Step::Same && self.applied.is_some() && !self.doubted
            || self.applied == Some(hash)
        {
            // Nothing changed, which is told without reading all of it.
            self.trust();
            self.subject.fresh();
            return Ok(());
        }
        let set = self.subject.read(&answer.body)?;
        if S::is_empty(&set) && self.holds() {
            let why = "consul knows no instance since it lost its index or its connection";
            self.subject.stale(why.to_owned());
            return Ok(());
        }
        self.subject.publish(set);
        self.trust();
        self.applied = Some(hash);
        Ok(())
    }

    fn trust(&mut self) {
        self.doubted = false;
        self.held = None;
    }

    /// Whether an empty answer is held back now.
    fn holds(&mut self) -> bool {
        if !self.doubted || !self.subject.holds_any() {
            return false;
        }
        match self.policy {
            EmptyAnswers::Apply => false,
            EmptyAnswers::HoldFor(grace) => {
                self.held.get_or_insert_with(Instant::now).elapsed() < grace
            }
            EmptyAnswers::HoldForever => true,
        }
    }

    /// The history that the next answer belongs to is another one.
    fn start_over(&mut self) {
        self.cursor.start_over();
        self.doubted = true;
        self.held = None;
    }

    fn failed(&mut self, error: &RegisterError, first: bool) {
        let (service, line) = (self.subject.name(), error.line());
        if first {
            tracing::warn!(service, error = line, "watch keeps its last answer");
        } else {
            tracing::debug!(service, error = line, "watch failed again");
        }
        self.subject.stale(line);
        self.start_over();
    }
}
