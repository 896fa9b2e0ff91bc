//! What is known of a peer's limit: pure, with the time as an argument.
//!
//! # Algorithm
//!
//! A response says what was left when the peer decided on that call, and it may come after responses
//! that were decided later. So what is left now is what it says less every call that overlapped with
//! its own: those that were sent before it came back and had not come back when it was sent. All
//! others were decided before it and are counted in it. That is never too much, however responses
//! overtake each other.
//!
//! When the time of the reset has come there is as much as the peer's limit, less what is in flight;
//! where it does not tell its limit, as much as the most that it ever said was left.

use std::time::Duration;

use seawall_core::Instant;

use super::Told;

/// How long nothing is sent where nothing is left and no reset is told.
const UNTOLD_RESET: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub(super) struct Peer {
    /// What is left until when; nothing until the peer has told something.
    left: Option<(u64, Instant)>,
    /// What there is after a reset, and for how long.
    limit: u64,
    window: Duration,
    /// Asked to stay away until then.
    away: Option<Instant>,
    /// How many calls were sent, and how many of them came back or were given up.
    sent: u64,
    ended: u64,
}

/// A call that was sent: how many had come back before.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    ended: u64,
}

impl Peer {
    /// Sends a call, or says how long there is nothing left for it.
    pub(super) fn send(&mut self, now: Instant) -> Result<Sent, Duration> {
        self.look(now)?;
        if let Some((left, _)) = &mut self.left {
            *left -= 1;
        }
        self.sent += 1;
        Ok(Sent { ended: self.ended })
    }

    /// What is left and until when, where that is known; or how long there is nothing.
    pub(super) fn look(&mut self, now: Instant) -> Result<Option<(u64, Instant)>, Duration> {
        match self.away {
            Some(until) if now < until => return Err(until.saturating_since(now)),
            _ => self.away = None,
        }
        if let Some((left, until)) = &mut self.left {
            if now >= *until {
                // At least one goes, or calls that hang would hold up all others for ever.
                *left = self.limit.saturating_sub(self.sent - self.ended).max(1);
                *until = now.saturating_add(self.window);
            }
            if *left == 0 {
                return Err(until.saturating_since(now));
            }
        }
        Ok(self.left)
    }

    /// A call that was sent has come back, or never will.
    pub(super) fn end(&mut self) {
        self.ended += 1;
    }

    /// What a call that comes back tells, which is believed for `trust` at most.
    pub(super) fn learn(&mut self, sent: Sent, told: &Told, trust: Duration, now: Instant) {
        if let Some(wait) = told.retry_after {
            let until = now.saturating_add(wait.min(trust));
            self.away = Some(self.away.map_or(until, |away| away.max(until)));
        }
        if let Some(remaining) = told.remaining {
            let overlapping = (self.sent - sent.ended).saturating_sub(1);
            let left = remaining.saturating_sub(overlapping);
            let reset = told.reset_after.or(told.window).unwrap_or(UNTOLD_RESET).min(trust);
            self.limit = told.limit.unwrap_or(self.limit.max(remaining.saturating_add(1))).max(1);
            self.window = told.window.unwrap_or(self.window.max(reset)).min(trust);
            self.left = Some((left, now.saturating_add(reset)));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TRUST: Duration = Duration::from_secs(300);
    const SECOND: Duration = Duration::from_secs(1);

    fn told(remaining: u64, reset: Duration) -> Told {
        Told { remaining: Some(remaining), reset_after: Some(reset), ..Told::default() }
    }

    #[test]
    fn nothing_is_limited_until_something_is_told() {
        let mut peer = Peer::default();
        for _ in 0..1_000 {
            assert!(peer.send(Instant::from_nanos(1)).is_ok());
        }
    }

    #[test]
    fn what_is_left_is_sent_and_then_nothing_until_the_reset() {
        let (mut peer, now) = (Peer::default(), Instant::from_nanos(1));
        let sent = peer.send(now).unwrap();
        peer.learn(sent, &told(2, SECOND), TRUST, now);
        peer.end();
        assert!(peer.send(now).is_ok() && peer.send(now).is_ok());
        assert_eq!(peer.send(now).unwrap_err(), SECOND);
        peer.end();
        peer.end();
        // The most that was ever left, and the one that was told of it.
        let reset = now.saturating_add(SECOND);
        for _ in 0..3 {
            assert!(peer.send(reset).is_ok());
        }
        assert_eq!(peer.send(reset).unwrap_err(), SECOND);
    }

    #[test]
    fn an_answer_that_was_overtaken_does_not_give_back_what_is_gone() {
        let (mut peer, now) = (Peer::default(), Instant::from_nanos(1));
        let (first, second) = (peer.send(now).unwrap(), peer.send(now).unwrap());
        peer.learn(second, &told(0, SECOND), TRUST, now);
        peer.end();
        peer.learn(first, &told(1, SECOND), TRUST, now);
        peer.end();
        assert_eq!(peer.send(now).unwrap_err(), SECOND);
    }

    #[test]
    fn a_peer_that_asks_to_be_left_alone_is() {
        let (mut peer, now) = (Peer::default(), Instant::from_nanos(1));
        let sent = peer.send(now).unwrap();
        let refusal = Told { retry_after: Some(SECOND * 5), ..Told::default() };
        peer.learn(sent, &refusal, TRUST, now);
        peer.end();
        assert_eq!(peer.send(now).unwrap_err(), SECOND * 5);
        assert!(peer.send(now.saturating_add(SECOND * 5)).is_ok());
    }

    #[test]
    fn calls_that_hang_do_not_hold_up_all_others() {
        let (mut peer, now) = (Peer::default(), Instant::from_nanos(1));
        let sent = peer.send(now).unwrap();
        for _ in 0..10 {
            peer.send(now).unwrap();
        }
        peer.learn(sent, &Told { limit: Some(3), ..told(1, SECOND) }, TRUST, now);
        assert_eq!(peer.send(now).unwrap_err(), SECOND);
        assert!(peer.send(now.saturating_add(SECOND)).is_ok());
    }

    proptest! {
        #[test]
        fn whatever_a_peer_says_no_wait_is_longer_than_it_is_trusted(
            steps in proptest::collection::vec(
                (any::<Option<u64>>(), any::<Option<u64>>(), any::<Option<u64>>(),
                 any::<Option<u64>>(), any::<Option<u64>>(), 0..u64::MAX / 100),
                1..50,
            ),
        ) {
            let (mut peer, mut now) = (Peer::default(), 1_u64);
            for (remaining, reset, limit, window, retry, step) in steps {
                now = now.saturating_add(step);
                let at = Instant::from_nanos(now);
                let told = Told {
                    remaining,
                    reset_after: reset.map(Duration::from_secs),
                    limit,
                    window: window.map(Duration::from_secs),
                    retry_after: retry.map(Duration::from_secs),
                };
                match peer.send(at) {
                    Ok(sent) => {
                        peer.learn(sent, &told, TRUST, at);
                        peer.end();
                    }
                    Err(wait) => prop_assert!(wait <= TRUST, "{wait:?}"),
                }
            }
        }

        /// The peer limits by a fixed window; answers come back in any order.
        #[test]
        fn a_peer_is_never_sent_more_than_it_said_was_left(
            limit in 1..8_u64,
            steps in proptest::collection::vec((0..3_u32, any::<usize>()), 1..200),
        ) {
            let (mut peer, mut used) = (Peer::default(), 0);
            let now = Instant::from_nanos(1);
            let mut in_flight = Vec::new();
            let mut has_learned = false;
            for (step, pick) in steps {
                if step == 0 && !in_flight.is_empty() {
                    let (sent, told) = in_flight.swap_remove(pick % in_flight.len());
                    peer.learn(sent, &told, TRUST, now);
                    peer.end();
                    has_learned = true;
                // Until the first answer it may send one.
                } else if (has_learned || in_flight.is_empty())
                    && let Ok(sent) = peer.send(now)
                {
                    used += 1;
                    prop_assert!(used <= limit, "{used} calls");
                    let left = Told { limit: Some(limit), ..told(limit - used, SECOND) };
                    in_flight.push((sent, left));
                }
            }
        }
    }
}
