//! Which of several agents is asked.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use tokio::{sync::watch, time::sleep};

use super::Shared;
use crate::RegisterError;

/// The first agent, and the next one in turn when that is dead.
#[derive(Debug)]
pub(super) struct Route {
    count: usize,
    position: watch::Sender<Position>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Position {
    current: usize,
    /// A task looks for the return of those before.
    looking: bool,
}

impl Route {
    pub(super) fn new(count: usize) -> Self {
        Self { count, position: watch::Sender::new(Position::default()) }
    }

    /// The agent to ask now.
    pub(super) fn current(&self) -> usize {
        self.position.borrow().current
    }

    /// Whether there is another agent to ask.
    pub(super) fn branches(&self) -> bool {
        self.count > 1
    }

    /// All agents, the current one first.
    pub(super) fn all(&self) -> impl Iterator<Item = usize> + use<> {
        let (first, count) = (self.current(), self.count);
        (0..count).map(move |step| (first + step) % count)
    }

    /// Waits until another agent than `place` is to be asked.
    pub(super) async fn left(&self, place: usize) {
        let mut position = self.position.subscribe();
        // The sender is here, so this is no error.
        let _ = position.wait_for(|position| position.current != place).await;
    }

    /// Turns from `place` to the next, unless somebody did already. Returns whether it turned, and
    /// whether a task has to look for the return of those before.
    fn leave(&self, place: usize) -> (bool, bool) {
        let mut looks = false;
        let turned = self.position.send_if_modified(|position| {
            let turns = position.current == place && self.branches();
            if turns {
                position.current = (place + 1) % self.count;
                looks = !std::mem::replace(&mut position.looking, position.current > 0);
                looks &= position.looking;
            }
            turns
        });
        (turned, looks)
    }

    fn turn_to(&self, place: usize) {
        self.position.send_modify(|position| position.current = place);
    }

    /// Whether the task that looks is at its end.
    fn is_home(&self) -> bool {
        let mut home = false;
        self.position.send_if_modified(|position| {
            home = position.current == 0;
            position.looking = !home;
            false
        });
        home
    }
}

impl Shared {
    /// Leaves the agent at `place` to the next if `error` means that it cannot be asked at all.
    pub(super) async fn consider(self: &Arc<Self>, place: usize, error: &RegisterError) {
        if !self.http.route.branches() {
            return;
        }
        let dead = match error {
            RegisterError::Unreachable { .. } => true,
            // It may be one service, or one datacenter, that it cannot serve.
            RegisterError::Unavailable { .. } => self.http.at(place).leader().await.is_err(),
            _ => false,
        };
        if dead {
            self.leave(place, error);
        }
    }

    fn leave(self: &Arc<Self>, place: usize, error: &RegisterError) {
        let (turned, looks) = self.http.route.leave(place);
        if turned {
            let now = self.http.at(self.http.route.current()).name();
            tracing::warn!(error = error.line(), now, "another agent is asked");
        }
        if looks {
            let every = self.settings.return_after;
            tokio::spawn(look_for_return(Arc::downgrade(self), every));
        }
    }
}

async fn look_for_return(shared: Weak<Shared>, every: Duration) {
    loop {
        sleep(every).await;
        let Some(shared) = shared.upgrade() else { return };
        for place in 0..shared.http.route.current() {
            if shared.http.at(place).leader().await.is_ok() {
                shared.http.route.turn_to(place);
                let now = shared.http.at(place).name();
                tracing::info!(now, "an earlier agent answers again and is asked");
                break;
            }
        }
        if shared.http.route.is_home() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_dead_agent_is_left_once_and_only_one_task_looks_for_its_return() {
        let route = Route::new(3);
        assert_eq!(route.leave(1), (false, false), "it is not the one that is asked");
        assert_eq!(route.leave(0), (true, true));
        assert_eq!(route.leave(0), (false, false));
        assert_eq!((route.current(), route.all().collect::<Vec<_>>()), (1, vec![1, 2, 0]));
        assert_eq!(route.leave(1), (true, false));
        assert!(!route.is_home());
        route.turn_to(0);
        assert!(route.is_home());
        assert_eq!(route.leave(0), (true, true), "and the next time again");
        // All are dead: the first is tried again like any other.
        assert_eq!((route.leave(1), route.leave(2)), ((true, false), (true, false)));
        assert_eq!(route.current(), 0);
        assert_eq!(Route::new(1).leave(0), (false, false));
    }
}
