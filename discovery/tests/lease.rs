//! When a lease talks to its registry and what it says, on paused time.

#![allow(clippy::unwrap_used)] // A helper of tests is no test to the lint.

use std::{
    collections::HashSet,
    future::pending,
    sync::{Arc, Mutex},
    time::Duration,
};

use seawall_core::Health;
use seawall_discovery::{Agent, Lease, LeaseState, RegisterError, Registration};
use tokio::time::{Instant, sleep, timeout};

const TTL: Duration = Duration::from_secs(9);
const BEAT: Duration = Duration::from_secs(3);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    Register(Health, u16),
    Heartbeat(Health),
    Change(Health, Health),
    Deregister,
}

/// What the registry does with the next calls.
#[derive(Clone, Copy, Debug)]
enum Mood {
    Well,
    Lost,
    Down,
    Denied,
    Hung,
}

struct Shared {
    mood: Mood,
    latency: Duration,
    calls: Vec<(Duration, Call)>,
    start: Instant,
    busy: bool,
}

/// A registry that notes every call.
#[derive(Clone)]
struct Noted(Arc<Mutex<Shared>>);

/// Says that a call is over, also when it is abandoned.
struct Busy(Noted);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.0.lock().unwrap().busy = false;
    }
}

impl Noted {
    fn new() -> Self {
        let (calls, start) = (Vec::new(), Instant::now());
        let latency = Duration::ZERO;
        Self(Arc::new(Mutex::new(Shared { mood: Mood::Well, latency, calls, start, busy: false })))
    }

    fn set(&self, mood: Mood) {
        self.0.lock().unwrap().mood = mood;
    }

    fn set_latency(&self, latency: Duration) {
        self.0.lock().unwrap().latency = latency;
    }

    /// The calls since the last look, with the time of each.
    fn calls(&self) -> Vec<(Duration, Call)> {
        std::mem::take(&mut self.0.lock().unwrap().calls)
    }

    async fn call(&self, call: Call) -> Result<(), RegisterError> {
        let (mood, latency) = {
            let mut shared = self.0.lock().unwrap();
            assert!(!shared.busy, "{call:?} beside another call");
            shared.busy = true;
            let at = shared.start.elapsed();
            shared.calls.push((at, call));
            (shared.mood, shared.latency)
        };
        let _busy = Busy(self.clone());
        sleep(latency).await;
        let (registry, message) = ("noted".to_owned(), String::new());
        match (mood, call) {
            (Mood::Lost, Call::Heartbeat(_) | Call::Change(..)) => {
                self.set(Mood::Well);
                Err(RegisterError::Unknown { registry, message })
            }
            (Mood::Well | Mood::Lost, _) => Ok(()),
            (Mood::Down, _) => Err(RegisterError::Unreachable { registry, source: "down".into() }),
            (Mood::Denied, _) => Err(RegisterError::Denied { registry, message }),
            (Mood::Hung, _) => pending().await,
        }
    }
}

impl Agent for Noted {
    async fn register(&self, of: &Registration, health: Health) -> Result<(), RegisterError> {
        self.call(Call::Register(health, of.weight())).await
    }

    async fn heartbeat(&self, _: &Registration, health: Health) -> Result<(), RegisterError> {
        self.call(Call::Heartbeat(health)).await
    }

    async fn change_health(
        &self,
        _: &Registration,
        before: Health,
        after: Health,
    ) -> Result<(), RegisterError> {
        self.call(Call::Change(before, after)).await
    }

    async fn deregister(&self, _: &str) -> Result<(), RegisterError> {
        self.call(Call::Deregister).await
    }
}

fn registration() -> Registration {
    Registration::builder("orders", "h:1".parse().unwrap()).ttl(TTL).build().unwrap()
}

async fn keep(agent: &Noted) -> Lease {
    Lease::keep(agent.clone(), registration()).await.unwrap()
}

const PASS: Call = Call::Heartbeat(Health::Passing);
const REGISTER: Call = Call::Register(Health::Passing, 1);

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[tokio::test(start_paused = true)]
async fn the_first_heartbeat_is_sent_at_once_and_the_next_every_third_of_the_ttl() {
    let agent = Noted::new();
    // However slow the registry is.
    agent.set_latency(Duration::from_millis(500));
    let _lease = keep(&agent).await;
    sleep(secs(8)).await;
    let registered = Duration::from_millis(500);
    let beats = [0, 3, 6].map(|at| (registered + secs(at), PASS));
    assert_eq!(agent.calls(), [&[(Duration::ZERO, REGISTER)][..], &beats].concat());
}

#[tokio::test(start_paused = true)]
async fn a_registration_that_is_refused_gives_no_lease_and_sends_nothing_more() {
    let agent = Noted::new();
    agent.set(Mood::Down);
    Lease::keep(agent.clone(), registration()).await.unwrap_err();
    sleep(TTL * 3).await;
    assert_eq!(agent.calls().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_the_registry_lost_is_registered_in_the_same_breath() {
    let agent = Noted::new();
    let lease = keep(&agent).await;
    sleep(secs(1)).await;
    lease.set_health(Health::Warning);
    lease.set_weight(5).unwrap();
    sleep(secs(1)).await;
    agent.calls();
    agent.set(Mood::Lost);
    sleep(secs(3)).await;
    let expected = [
        (secs(4), Call::Heartbeat(Health::Warning)),
        (secs(4), Call::Register(Health::Warning, 5)),
    ];
    assert_eq!(agent.calls(), expected);
    assert!(lease.state().is_registered());
}

#[tokio::test(start_paused = true)]
async fn a_denied_heartbeat_shows_and_is_neither_hurried_nor_given_up() {
    let agent = Noted::new();
    let lease = keep(&agent).await;
    sleep(secs(1)).await;
    agent.calls();
    agent.set(Mood::Denied);
    sleep(secs(9)).await;
    assert_eq!(agent.calls(), [3, 6, 9].map(|at| (secs(at), PASS)), "no registration between");
    let LeaseState::Failing { why, .. } = lease.state() else { panic!("{:?}", lease.state()) };
    assert!(matches!(*why, RegisterError::Denied { .. }));
    // The token was changed.
    agent.set(Mood::Well);
    sleep(secs(3)).await;
    assert!(lease.state().is_registered());
}

#[tokio::test(start_paused = true)]
async fn while_the_registry_is_down_no_heartbeat_is_left_out_and_the_first_failure_is_remembered() {
    let agent = Noted::new();
    let lease = keep(&agent).await;
    sleep(secs(1)).await;
    agent.calls();
    agent.set(Mood::Down);
    sleep(secs(60)).await;
    let calls = agent.calls();
    assert!(calls.len() < 120, "{} calls in a minute", calls.len());
    for pair in calls.windows(2) {
        assert!(pair[1].0 - pair[0].0 <= BEAT, "{pair:?}");
    }
    let LeaseState::Failing { since, .. } = lease.state() else { panic!("{:?}", lease.state()) };
    assert_eq!(since.elapsed(), secs(58));
    agent.set(Mood::Well);
    sleep(BEAT).await;
    assert!(lease.state().is_registered());
}

#[tokio::test(start_paused = true)]
async fn a_change_whose_answer_never_came_is_told_anew_as_a_whole() {
    let agent = Noted::new();
    let lease = keep(&agent).await;
    sleep(secs(1)).await;
    agent.calls();
    agent.set(Mood::Down);
    lease.set_health(Health::Maintenance);
    sleep(Duration::from_millis(1)).await;
    // Nobody knows whether the registry took it before it went down.
    lease.set_health(Health::Passing);
    agent.set(Mood::Well);
    sleep(BEAT).await;
    let calls: Vec<_> = agent.calls().into_iter().map(|(_, call)| call).collect();
    assert_eq!(calls[0], Call::Change(Health::Passing, Health::Maintenance));
    assert!(calls.contains(&REGISTER), "{calls:?}");
}

#[tokio::test(start_paused = true)]
async fn a_heartbeat_under_way_comes_to_its_end_before_the_deregistration() {
    let agent = Noted::new();
    let lease = keep(&agent).await;
    sleep(secs(1)).await;
    agent.calls();
    agent.set_latency(secs(1));
    sleep(Duration::from_millis(2_500)).await;
    // The heartbeat of the third second is under way until the fourth.
    lease.shutdown().await.unwrap();
    sleep(TTL * 3).await;
    assert_eq!(agent.calls(), [(secs(3), PASS), (secs(4), Call::Deregister)]);
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_ends_does_not_register_what_the_registry_lost() {
    for abandon in [true, false] {
        let agent = Noted::new();
        let lease = keep(&agent).await;
        sleep(secs(1)).await;
        agent.calls();
        agent.set(Mood::Lost);
        agent.set_latency(secs(1));
        sleep(Duration::from_millis(2_500)).await;
        // The heartbeat that finds out is under way.
        if abandon {
            lease.abandon();
        } else {
            drop(lease);
        }
        sleep(TTL).await;
        let calls: Vec<_> = agent.calls().into_iter().map(|(_, call)| call).collect();
        let expected = if abandon { vec![PASS] } else { vec![PASS, Call::Deregister] };
        assert_eq!(calls, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_is_bounded_whatever_hangs() {
    for mood in [Mood::Hung, Mood::Down] {
        let agent = Noted::new();
        let lease = keep(&agent).await;
        sleep(secs(1)).await;
        agent.set(mood);
        sleep(BEAT).await;
        let start = Instant::now();
        lease.shutdown().await.unwrap_err();
        assert_eq!(start.elapsed(), lease.registration().shutdown_timeout(), "{mood:?}");
        lease.shutdown().await.unwrap_err();
        assert!(matches!(lease.state(), LeaseState::Ended { deregistered: false }));
        agent.calls();
        sleep(TTL * 3).await;
        assert_eq!(agent.calls(), [], "{mood:?}: nothing follows the end");
    }
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_is_dropped_deregisters_and_one_that_is_abandoned_does_not() {
    let agent = Noted::new();
    drop(keep(&agent).await);
    sleep(TTL).await;
    let calls: Vec<_> = agent.calls().into_iter().map(|(_, call)| call).collect();
    assert_eq!(calls, [REGISTER, Call::Deregister]);
    keep(&agent).await.abandon();
    sleep(TTL).await;
    let calls: Vec<_> = agent.calls().into_iter().map(|(_, call)| call).collect();
    assert_eq!(calls, [REGISTER]);
}

/// A registry behind a network that delays, loses questions, loses answers, and delivers questions
/// after those who asked have given up; and that now and then loses its data.
#[derive(Clone)]
struct Bad {
    known: Arc<Mutex<HashSet<String>>>,
    rng: Arc<Mutex<fastrand::Rng>>,
}

impl Bad {
    const TIMEOUT: Duration = Duration::from_millis(300);
    /// How long a question may be under way after its asker gave up.
    const LATE: u64 = 200;

    async fn exchange(
        &self,
        act: impl FnOnce(&mut HashSet<String>) -> bool + Send + 'static,
    ) -> Result<(), RegisterError> {
        let (lost, there, back, loses) = {
            let mut rng = self.rng.lock().unwrap();
            let most = Self::TIMEOUT.as_millis() as u64 + Self::LATE;
            let there = if rng.u8(..) < 50 { rng.u64(..most) } else { rng.u64(..5) };
            let back = if rng.u8(..) < 25 { 1_000 } else { rng.u64(..5) };
            (rng.u8(..) < 25, there, back, rng.u8(..) < 10)
        };
        let known = Arc::clone(&self.known);
        // In a task, for a question goes its way whether or not somebody still waits for it.
        let question = tokio::spawn(async move {
            sleep(Duration::from_millis(there)).await;
            if lost {
                pending::<()>().await;
            }
            let found = {
                let mut known = known.lock().unwrap();
                if loses {
                    known.clear();
                }
                act(&mut known)
            };
            sleep(Duration::from_millis(back)).await;
            found
        });
        let registry = "bad".to_owned();
        match timeout(Self::TIMEOUT, question).await {
            Ok(Ok(true)) => Ok(()),
            Ok(_) => Err(RegisterError::Unknown { registry, message: String::new() }),
            Err(_) => Err(RegisterError::Unreachable { registry, source: "time-out".into() }),
        }
    }
}

impl Agent for Bad {
    async fn register(&self, of: &Registration, _: Health) -> Result<(), RegisterError> {
        let id = of.id().to_owned();
        let insert = move |known: &mut HashSet<String>| {
            known.insert(id);
            true
        };
        self.exchange(insert).await
    }

    async fn heartbeat(&self, of: &Registration, _: Health) -> Result<(), RegisterError> {
        let id = of.id().to_owned();
        self.exchange(move |known| known.contains(&id)).await
    }

    async fn change_health(
        &self,
        of: &Registration,
        _: Health,
        after: Health,
    ) -> Result<(), RegisterError> {
        self.heartbeat(of, after).await
    }

    async fn deregister(&self, id: &str) -> Result<(), RegisterError> {
        let id = id.to_owned();
        self.exchange(move |known| known.remove(&id)).await
    }
}

#[tokio::test(start_paused = true)]
async fn no_order_of_heartbeat_change_loss_and_end_leaves_a_ghost() {
    let mut confirmed = 0;
    for seed in 0..1_000 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let agent = Bad { known: Arc::default(), rng: Arc::new(Mutex::new(rng.fork())) };
        let registration = Registration::builder("orders", "h:1".parse().unwrap());
        let registration = registration.ttl(secs(1)).build().unwrap();
        let Ok(lease) = Lease::keep(agent.clone(), registration).await else { continue };
        for _ in 0..rng.usize(..6) {
            sleep(Duration::from_millis(rng.u64(..700))).await;
            match rng.u8(..4) {
                0 => lease.set_weight(rng.u16(1..)).unwrap(),
                1 => lease.set_health(Health::Warning),
                2 => lease.set_health(Health::Passing),
                _ => agent.known.lock().unwrap().clear(),
            }
        }
        let mut states = lease.states();
        if rng.bool() {
            let _ = lease.shutdown().await;
        }
        drop(lease);
        let ended = states.wait_for(|state| matches!(state, LeaseState::Ended { .. })).await;
        if matches!(*ended.unwrap(), LeaseState::Ended { deregistered: true }) {
            confirmed += 1;
            for after in [0, 500, 5_000] {
                sleep(Duration::from_millis(after)).await;
                assert!(agent.known.lock().unwrap().is_empty(), "seed {seed}, {after} ms later");
            }
        }
    }
    assert!(confirmed > 700, "{confirmed} ends were confirmed");
}
