//! The task behind a watch.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
    time::Duration,
};

use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::{Instant, sleep, sleep_until},
};

use super::{
    EmptyAnswers, Query, Shared,
    cursor::{Cursor, Step},
    decode::{self, Skipped},
    http::Answer,
};
use crate::{Publisher, RegisterError};

/// Wake-ups in a row that are not slowed down, and how often one more is granted.
const BURST: u32 = 8;
const REFILL: Duration = Duration::from_millis(100);
/// How long a query waits when others wait for its place.
const TURN: Duration = Duration::from_millis(500);

/// Bounds the queries that wait at Consul.
pub(super) struct Turns {
    places: Semaphore,
    count: usize,
}

impl Turns {
    pub(super) fn new(count: usize) -> Self {
        let count = count.min(Semaphore::MAX_PERMITS);
        Self { places: Semaphore::new(count), count }
    }

    /// A place, in the order of asking, and how long it may be kept, of `wait` at most.
    async fn take(
        &self,
        watched: usize,
        wait: Duration,
    ) -> (Option<SemaphorePermit<'_>>, Duration) {
        let place = self.places.acquire().await.ok();
        (place, if watched > self.count { wait.min(TURN) } else { wait })
    }
}

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

/// Follows `service` until nobody watches it any more, which aborts this.
pub(super) async fn follow(
    shared: Arc<Shared>,
    service: String,
    query: Query,
    publisher: Publisher,
) {
    let mut follower = Follower {
        policy: shared.settings.empty_answers,
        service,
        query,
        publisher,
        cursor: Cursor::default(),
        doubted: false,
        held: None,
        applied: None,
        skipped: Vec::new(),
    };
    let mut wake_ups = WakeUps { full: Instant::now() };
    let mut rng = fastrand::Rng::new();
    let mut failures = 0;
    loop {
        wake_ups.take().await;
        let wait = follower.wait(shared.settings.wait);
        let (place, wait) = shared.turns.take(shared.hub.len(), wait).await;
        let index = follower.cursor.index();
        let answer = shared.http.instances(&follower.service, &follower.query, index, wait).await;
        drop(place);
        let read = answer.and_then(|answer| {
            follower.answered(&answer).map_err(|error| shared.http.garbled(error))
        });
        match read {
            Ok(()) => {
                if failures > 0 {
                    tracing::info!(service = follower.service, "watch answers again");
                }
                failures = 0;
            }
            Err(error) => {
                failures += 1;
                follower.failed(&error, failures == 1);
                sleep(shared.settings.backoff.wait(failures, &mut rng)).await;
            }
        }
    }
}

struct Follower {
    policy: EmptyAnswers,
    service: String,
    query: Query,
    publisher: Publisher,
    cursor: Cursor,
    /// Something happened after which an empty answer cannot be trusted.
    doubted: bool,
    /// When the first answer was held back; it counts from when Consul answers again.
    held: Option<Instant>,
    /// The answer that the published set was read from.
    applied: Option<u64>,
    /// Those that were warned of.
    skipped: Vec<Skipped>,
}

impl Follower {
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
        let hash = hash(&answer.body);
        if step == Step::Same && self.applied.is_some() && !self.doubted
            || self.applied == Some(hash)
        {
            // Nothing changed, which is told without reading all of it.
            self.trust();
            self.publisher.fresh();
            return Ok(());
        }
        let read = decode::instances(&answer.body, self.query.weights())?;
        if read.skipped != self.skipped {
            for Skipped { id, why } in &read.skipped {
                tracing::warn!(service = self.service, id, why, "instance is skipped");
            }
            self.skipped = read.skipped;
        }
        if read.endpoints.is_empty() && self.holds() {
            self.publisher
                .stale("consul knows no instance since it lost its index or its connection");
            return Ok(());
        }
        self.publisher.publish(read.endpoints);
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
        if !self.doubted || self.publisher.current().is_empty() {
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

    fn failed(&mut self, error: &RegisterError, first: bool) {
        let line = error.line();
        if first {
            tracing::warn!(service = self.service, error = line, "watch keeps its last answer");
        } else {
            tracing::debug!(service = self.service, error = line, "watch failed again");
        }
        self.publisher.stale(line);
        self.cursor.start_over();
        self.doubted = true;
        self.held = None;
    }
}

fn hash(body: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    body.hash(&mut hasher);
    hasher.finish()
}
