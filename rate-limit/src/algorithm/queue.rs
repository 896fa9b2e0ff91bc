//! Those who wait for a window, in turn.
//!
//! A call that has to wait gets the first instant at which it may pass after all who wait already:
//! computed, not tried, because a refusal is exact. It sleeps until then by itself; there is nobody
//! to wake, and nobody to hand over to. As long as anyone's instant is still to come, nobody passes
//! before: a newcomer cannot steal, and a large cost is not starved by small ones.
//!
//! Two states tell what is what: `passed` has what passed until now, `tail` also what is to pass. A
//! booking that is given back leaves `tail` unknown until it is asked for again.

use std::collections::VecDeque;

use seawall_core::Instant;

use super::{Algorithm, Booked, Share};
use crate::{
    Allowed, Rejected,
    sync::{Mutex, lock},
};

/// How many instants are booked at most. Beyond that, the memory of those who wait is not what
/// bounds the queue, because a reservation that is dropped stays in it.
const AHEAD_MAX: usize = 1 << 16;

/// The queue of a limiter, with its state.
#[derive(Debug)]
pub struct Queue<A: Algorithm> {
    algorithm: A,
    passed: A::State,
    tail: Option<A::State>,
    /// First to pass first, no two at the same instant, none without cells at the end.
    ahead: VecDeque<Ahead>,
}

#[derive(Clone, Copy, Debug)]
struct Ahead {
    ready: Instant,
    cells: u32,
}

impl<A: Algorithm> Queue<A> {
    /// Lets those pass whose time has come.
    fn settle(&mut self, now: Instant) {
        while let Some(&Ahead { ready, cells }) = self.ahead.front()
            && ready <= now
        {
            self.algorithm.charge(&mut self.passed, ready, cells);
            self.ahead.pop_front();
            if self.ahead.is_empty() {
                self.tail = None;
            }
        }
    }

    /// The state after all who wait, and the instant at which the last of them passes; none when
    /// nobody does.
    fn tail(&mut self) -> Option<(&A, &mut A::State, Instant)> {
        let Self { algorithm, passed, tail, ahead } = self;
        let last = ahead.back()?.ready;
        let tail = tail.get_or_insert_with(|| {
            let mut state = passed.clone();
            for &Ahead { ready, cells } in &*ahead {
                algorithm.charge(&mut state, ready, cells);
            }
            state
        });
        Some((algorithm, tail, last))
    }

    fn look(&mut self, now: Instant, cost: u32, spare: u32) -> Result<Allowed, Rejected> {
        self.settle(now);
        let Some((algorithm, state, last)) = self.tail() else {
            return self.algorithm.look(&self.passed, now, cost, spare);
        };
        let delay = last.as_nanos().saturating_sub(now.as_nanos());
        match algorithm.look(state, last, cost, spare) {
            Ok(allowed) if cost == 0 => Ok(allowed.behind(delay)),
            Ok(allowed) => Err(Rejected::until(allowed, delay)),
            Err(rejected) => Err(rejected.behind(delay)),
        }
    }

    fn take(&mut self, now: Instant, cost: u32, spare: u32) -> Result<Allowed, Rejected> {
        self.settle(now);
        if self.ahead.is_empty() {
            self.algorithm.take(&mut self.passed, now, cost, spare)
        } else {
            // Passes nothing, because somebody is in front.
            self.look(now, cost, spare)
        }
    }

    fn book(&mut self, now: Instant, cost: u32, patience_nanos: u64) -> Result<Booked, Rejected> {
        let rejected = match self.take(now, cost, 0) {
            Ok(_) => return Ok(Booked::now(now, cost)),
            Err(rejected) => rejected,
        };
        let Some(wait_nanos) = rejected.wait_nanos().filter(|&wait| wait <= patience_nanos) else {
            return Err(rejected);
        };
        let ready = now.as_nanos().checked_add(wait_nanos).map(Instant::from_nanos);
        let Some(ready) = ready.filter(|_| self.ahead.len() < AHEAD_MAX) else {
            return Err(rejected);
        };
        if let Some(tail) = &mut self.tail {
            self.algorithm.charge(tail, ready, cost);
        }
        match self.ahead.back_mut() {
            Some(last) if last.ready == ready => last.cells = last.cells.saturating_add(cost),
            _ => self.ahead.push_back(Ahead { ready, cells: cost }),
        }
        Ok(Booked { waits: true, ..Booked::now(ready, cost) })
    }

    fn unbook(&mut self, now: Instant, booked: &Booked) {
        self.settle(now);
        let at = self.ahead.binary_search_by_key(&booked.ready, |ahead| ahead.ready);
        let Some(ahead) = at.ok().and_then(|at| self.ahead.get_mut(at)) else {
            // It has passed, and what has passed is used.
            return;
        };
        ahead.cells = ahead.cells.saturating_sub(booked.cells);
        self.tail = None;
        while self.ahead.back().is_some_and(|last| last.cells == 0) {
            self.ahead.pop_back();
        }
    }
}

impl<A: Algorithm> Share<A> for Mutex<Queue<A>> {
    fn new(algorithm: A) -> Self {
        let passed = algorithm.rest();
        Self::new(Queue { algorithm, passed, tail: None, ahead: VecDeque::new() })
    }

    fn algorithm(&self) -> A {
        lock(self).algorithm.clone()
    }

    fn look(&self, now: Instant, cost: u32, spare: u32) -> Result<Allowed, Rejected> {
        lock(self).look(now, cost, spare)
    }

    fn take(&self, now: Instant, cost: u32, spare: u32) -> Result<Allowed, Rejected> {
        lock(self).take(now, cost, spare)
    }

    fn take_at_most(&self, now: Instant, cost: u32) -> u32 {
        let mut queue = lock(self);
        let left = queue.look(now, 0, 0).map_or(0, |allowed| allowed.remaining());
        let cost = cost.min(left);
        queue.take(now, cost, 0).map_or(0, |_| cost)
    }

    fn book(&self, now: Instant, cost: u32, patience_nanos: u64) -> Result<Booked, Rejected> {
        lock(self).book(now, cost, patience_nanos)
    }

    fn unbook(&self, now: Instant, booked: &Booked) {
        if now < booked.ready {
            lock(self).unbook(now, booked);
        }
    }

    fn adopt(&self, now: Instant, algorithm: A) {
        let mut queue = lock(self);
        queue.settle(now);
        let Queue { algorithm: before, passed, tail, .. } = &mut *queue;
        algorithm.adopt(before, passed, now);
        *tail = None;
        *before = algorithm;
    }
}
