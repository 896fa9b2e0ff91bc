//! Who waits, in the order in which they came.

use std::task::Waker;

/// A list of places, each of which can be left at any time.
///
/// # Cost
///
/// Every step takes the same time, however many wait. The memory is that of as many as ever waited
/// at once.
#[derive(Debug)]
pub(crate) struct Queue {
    places: Vec<Place>,
    /// The first of the places that nobody has, linked by `Free`.
    free: Option<u32>,
    first: Option<u32>,
    last: Option<u32>,
}

/// Where somebody waits. Whoever holds one gives it up once.
#[derive(Debug)]
pub(crate) struct Ticket(u32);

#[derive(Debug)]
enum Place {
    Free {
        next: Option<u32>,
    },
    Waiting {
        waker: Waker,
        before: Option<u32>,
        after: Option<u32>,
    },
    /// Its turn has come, and it has yet to notice.
    Called,
}

impl Queue {
    pub(crate) const fn new() -> Self {
        Self { places: Vec::new(), free: None, first: None, last: None }
    }

    /// Waits behind all others.
    pub(crate) fn join(&mut self, waker: Waker) -> Ticket {
        let place = Place::Waiting { waker, before: self.last, after: None };
        let index = match self.free {
            Some(index) => {
                if let Place::Free { next } = self.places[index as usize] {
                    self.free = next;
                }
                self.places[index as usize] = place;
                index
            }
            None => {
                self.places.push(place);
                u32::try_from(self.places.len() - 1).expect("a queue is shorter than its bound")
            }
        };
        match self.last {
            Some(last) => self.set_after(last, Some(index)),
            None => self.first = Some(index),
        }
        self.last = Some(index);
        Ticket(index)
    }

    /// Calls the one that has waited longest.
    pub(crate) fn call_first(&mut self) -> Option<Waker> {
        let index = self.first?;
        let waker = self.unlink(index)?;
        self.places[index as usize] = Place::Called;
        Some(waker)
    }

    /// Whether the turn of `ticket` has come. Else `waker` is told when it does.
    pub(crate) fn is_called(&mut self, ticket: &Ticket, waker: &Waker) -> bool {
        match &mut self.places[ticket.0 as usize] {
            Place::Waiting { waker: known, .. } => {
                known.clone_from(waker);
                false
            }
            Place::Called => true,
            Place::Free { .. } => false,
        }
    }

    /// Gives the place up, and says whether its turn had come.
    pub(crate) fn leave(&mut self, ticket: Ticket) -> bool {
        let index = ticket.0;
        let called = self.unlink(index).is_none();
        self.places[index as usize] = Place::Free { next: self.free };
        self.free = Some(index);
        called
    }

    /// Takes a place out of the order; `None` when it was out of it already.
    fn unlink(&mut self, index: u32) -> Option<Waker> {
        let place = std::mem::replace(&mut self.places[index as usize], Place::Called);
        let Place::Waiting { waker, before, after } = place else { return None };
        match before {
            Some(before) => self.set_after(before, after),
            None => self.first = after,
        }
        match after {
            Some(after) => self.set_before(after, before),
            None => self.last = before,
        }
        Some(waker)
    }

    fn set_after(&mut self, index: u32, link: Option<u32>) {
        if let Place::Waiting { after, .. } = &mut self.places[index as usize] {
            *after = link;
        }
    }

    fn set_before(&mut self, index: u32, link: Option<u32>) {
        if let Place::Waiting { before, .. } = &mut self.places[index as usize] {
            *before = link;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::VecDeque,
        sync::{Arc, Mutex},
        task::Wake,
    };

    use proptest::prelude::*;

    use super::*;

    /// Writes its number down when it is woken.
    struct Named(u32, Arc<Mutex<Vec<u32>>>);

    impl Wake for Named {
        fn wake(self: Arc<Self>) {
            self.1.lock().unwrap().push(self.0);
        }
    }

    proptest! {
        #[test]
        fn whoever_has_waited_longest_is_called_and_anybody_may_leave(
            steps in proptest::collection::vec((0..4_u8, any::<u16>()), 0..200),
        ) {
            let (mut queue, mut waiting) = (Queue::new(), VecDeque::new());
            let woken = Arc::new(Mutex::new(Vec::new()));
            let (mut tickets, mut called) = (Vec::new(), Vec::new());
            let mut most = 0;
            for (name, (kind, pick)) in (0..).zip(steps) {
                match kind {
                    0 | 1 => {
                        let waker = Waker::from(Arc::new(Named(name, woken.clone())));
                        tickets.push((name, queue.join(waker)));
                        waiting.push_back(name);
                        most = most.max(tickets.len());
                    }
                    2 => {
                        let first = waiting.pop_front();
                        match queue.call_first() {
                            Some(waker) => {
                                waker.wake();
                                prop_assert_eq!(woken.lock().unwrap().pop(), first);
                                called.extend(first);
                            }
                            None => prop_assert_eq!(first, None),
                        }
                    }
                    _ if tickets.is_empty() => {}
                    _ => {
                        let (name, ticket) = tickets.swap_remove(usize::from(pick) % tickets.len());
                        let turn = called.contains(&name);
                        prop_assert_eq!(queue.is_called(&ticket, Waker::noop()), turn);
                        prop_assert_eq!(queue.leave(ticket), turn);
                        waiting.retain(|other| *other != name);
                    }
                }
                prop_assert!(queue.places.len() <= most);
            }
        }
    }
}
