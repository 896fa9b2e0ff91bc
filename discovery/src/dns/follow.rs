//! Asking again and again.

use std::{sync::Arc, time::Duration};

use seawall_core::Endpoint;
use tokio::{
    sync::broadcast::{self, error::RecvError},
    time::{Instant, sleep_until, timeout},
};

use super::{answer::Answer, config::Settings};
use crate::Publisher;

/// Tells when somebody wants `service` to be asked for now.
pub(super) struct Wishes {
    service: Arc<str>,
    all: broadcast::Receiver<Arc<str>>,
}

impl Wishes {
    pub(super) fn new(service: Arc<str>, all: broadcast::Receiver<Arc<str>>) -> Self {
        Self { service, all }
    }

    async fn next(&mut self) {
        loop {
            match self.all.recv().await {
                Ok(service) if service != self.service => {}
                // Of those that were missed, one may have been for this service.
                Ok(_) | Err(RecvError::Lagged(_)) => return,
                Err(RecvError::Closed) => std::future::pending().await,
            }
        }
    }
}

pub(super) async fn follow(
    settings: Settings,
    mut wishes: Wishes,
    publisher: Publisher,
    ask: impl AsyncFn(&[Endpoint]) -> Answer,
) {
    let mut rng = fastrand::Rng::new();
    let mut failures = 0;
    let mut nobody_since = None;
    loop {
        let asked = Instant::now();
        let last = publisher.current();
        let answer = timeout(settings.timeout, ask(&last)).await;
        let answer = answer.unwrap_or_else(|_| Answer::Failed("no answer in time".into()));
        let wait = match answer {
            Answer::Endpoints { endpoints, ttl, missing } => {
                (failures, nobody_since) = (0, None);
                match missing {
                    None => drop(publisher.publish(endpoints)),
                    Some(why) => publisher.publish_stale(endpoints, why),
                }
                ttl.clamp(settings.ttl_min, settings.ttl_max)
            }
            Answer::Nobody(why) => {
                failures = 0;
                let since = *nobody_since.get_or_insert(asked);
                let left = settings.empty_grace.saturating_sub(since.elapsed());
                if left.is_zero() || last.is_empty() {
                    publisher.publish(Vec::new());
                    settings.ttl_max
                } else {
                    publisher.stale(why);
                    left.clamp(settings.ttl_min, settings.ttl_max)
                }
            }
            Answer::Failed(why) => {
                failures += 1;
                publisher.stale(why);
                settings.backoff.wait(failures, &mut rng).max(settings.ttl_min)
            }
        };
        tokio::select! {
            () = sleep_until(later(asked, wait)) => {}
            () = wishes.next() => sleep_until(later(asked, settings.ttl_min)).await,
        }
    }
}

/// Far enough to be never, where the sum does not fit.
fn later(from: Instant, wait: Duration) -> Instant {
    const NEVER: Duration = Duration::from_secs(365 * 24 * 3600);
    from + wait.min(NEVER)
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    };

    use tokio::time::sleep;

    use super::*;
    use crate::{Dns, Watch};

    const SECOND: Duration = Duration::from_secs(1);

    /// A follower whose answers the test sets.
    struct Scripted {
        answer: Arc<Mutex<fn() -> Answer>>,
        asked: Arc<AtomicUsize>,
        wishes: broadcast::Sender<Arc<str>>,
        watch: Watch,
    }

    fn found(ttl: u64) -> Answer {
        let endpoints = vec![Endpoint::new("a", "h:1".parse().unwrap())];
        Answer::Endpoints { endpoints, ttl: Duration::from_secs(ttl), missing: None }
    }

    fn nobody() -> Answer {
        Answer::Nobody("no such name".into())
    }

    fn scripted(first: fn() -> Answer) -> Scripted {
        let (answer, asked) = (Arc::new(Mutex::new(first)), Arc::new(AtomicUsize::new(0)));
        let publisher = Publisher::new();
        let watch = publisher.subscribe();
        let settings = Dns::builder().ttl_min(2 * SECOND).ttl_max(20 * SECOND).settings();
        let (wishes, all) = broadcast::channel(16);
        let script = (Arc::clone(&answer), Arc::clone(&asked));
        let ask = async move |_: &[Endpoint]| {
            script.1.fetch_add(1, Relaxed);
            let answer = *script.0.lock().unwrap();
            answer()
        };
        tokio::spawn(follow(settings, Wishes::new("s".into(), all), publisher, ask));
        Scripted { answer, asked, wishes, watch }
    }

    impl Scripted {
        async fn after(&self, seconds: u64) -> (usize, bool) {
            sleep(Duration::from_secs(seconds)).await;
            (self.watch.current().len(), self.watch.state().is_fresh())
        }

        fn answers(&self, answer: fn() -> Answer) {
            *self.answer.lock().unwrap() = answer;
        }

        fn asked(&self) -> usize {
            self.asked.swap(0, Relaxed)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn it_asks_again_after_the_ttl_within_its_bounds() {
        for (ttl, period) in [(0, 2), (5, 5), (3_600, 20)] {
            let dns = match ttl {
                0 => scripted(|| found(0)),
                5 => scripted(|| found(5)),
                _ => scripted(|| found(3_600)),
            };
            dns.after(period * 10 - 1).await;
            assert_eq!(dns.asked(), 10, "ttl {ttl}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_wish_is_asked_at_once_but_not_sooner_than_the_shortest_ttl() {
        let dns = scripted(|| found(20));
        dns.after(5).await;
        assert_eq!(dns.asked(), 1);
        dns.wishes.send("another".into()).unwrap();
        dns.after(1).await;
        assert_eq!(dns.asked(), 0);
        for _ in 0..100 {
            dns.wishes.send("s".into()).unwrap();
            sleep(SECOND / 100).await;
        }
        assert_eq!(dns.asked(), 1, "at once, and then not within 2 s");
        dns.after(2).await;
        assert_eq!(dns.asked(), 1, "for the ninety-nine others");
    }

    #[tokio::test(start_paused = true)]
    async fn that_there_is_nobody_is_believed_after_the_grace_and_a_failure_never() {
        let dns = scripted(|| found(2));
        assert_eq!(dns.after(1).await, (1, true));
        dns.answers(|| Answer::Failed("SERVFAIL".into()));
        assert_eq!(dns.after(3_600).await, (1, false));
        assert!(dns.asked() < 3_600 / 2, "it backs off");
        dns.answers(|| found(2));
        assert_eq!(dns.after(25).await, (1, true));
        dns.answers(nobody);
        assert_eq!(dns.after(28).await, (1, false));
        assert!(dns.watch.state().to_string().ends_with("no such name"));
        assert_eq!(dns.after(10).await, (0, true));
        dns.answers(|| found(2));
        assert_eq!(dns.after(21).await, (1, true));
    }

    #[tokio::test(start_paused = true)]
    async fn that_there_was_never_anybody_is_believed_at_once() {
        let dns = scripted(nobody);
        assert_eq!(dns.after(1).await, (0, true));
    }

    #[tokio::test(start_paused = true)]
    async fn part_of_an_answer_is_used_and_called_stale() {
        let dns = scripted(|| Answer::Endpoints {
            endpoints: vec![Endpoint::new("a", "h:1".parse().unwrap())],
            ttl: SECOND,
            missing: Some("AAAA: SERVFAIL".into()),
        });
        assert_eq!(dns.after(1).await, (1, false));
    }
}
