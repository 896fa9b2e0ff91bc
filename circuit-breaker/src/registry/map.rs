//! A bounded map of breakers, which evicts those that nobody misses.

use std::{borrow::Borrow, collections::HashMap, hash::Hash};

use crate::{CircuitBreaker, Mode, State};

pub(super) struct Map<K> {
    places: HashMap<K, usize>,
    slots: Vec<Slot<K>>,
    /// Where the search for somebody to evict goes on.
    hand: usize,
    capacity: usize,
}

struct Slot<K> {
    key: K,
    breaker: CircuitBreaker,
    /// Asked for since the hand last came by.
    used: bool,
}

/// How many slots one insertion looks at: a full map of open breakers costs a newcomer no more.
const LOOKS: usize = 128;

impl<K> Map<K> {
    pub(super) fn new(capacity: usize) -> Self {
        Self { places: HashMap::new(), slots: Vec::new(), hand: 0, capacity }
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }
}

impl<K: Clone> Map<K> {
    pub(super) fn list(&self) -> Vec<(K, CircuitBreaker)> {
        self.slots.iter().map(|slot| (slot.key.clone(), slot.breaker.clone())).collect()
    }
}

impl<K: Hash + Eq + Clone> Map<K> {
    pub(super) fn find<Q>(&mut self, key: &Q) -> Option<CircuitBreaker>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let slot = &mut self.slots[*self.places.get(key)?];
        slot.used = true;
        Some(slot.breaker.clone())
    }

    /// The breaker of `key`: the one that is there, else `breaker`; `None` when it finds no place.
    pub(super) fn insert(&mut self, key: K, breaker: CircuitBreaker) -> Option<CircuitBreaker> {
        if let Some(there) = self.find(&key) {
            return Some(there);
        }
        // New ones have not been missed yet: without a second request they go first.
        let slot = Slot { key: key.clone(), breaker: breaker.clone(), used: false };
        if self.slots.len() < self.capacity {
            self.places.insert(key, self.slots.len());
            self.slots.push(slot);
        } else {
            let place = self.evict()?;
            let old = std::mem::replace(&mut self.slots[place], slot);
            self.places.remove(&old.key);
            self.places.insert(key, place);
        }
        Some(breaker)
    }

    pub(super) fn remove<Q>(&mut self, key: &Q) -> Option<CircuitBreaker>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let place = self.places.remove(key)?;
        let slot = self.slots.swap_remove(place);
        if let Some(moved) = self.slots.get(place) {
            self.places.insert(moved.key.clone(), place);
        }
        Some(slot.breaker)
    }

    /// The place of a breaker that may go.
    fn evict(&mut self) -> Option<usize> {
        let mut second_best = None;
        for _ in 0..LOOKS.min(2 * self.slots.len()) {
            let place = self.hand % self.slots.len();
            self.hand = place + 1;
            let slot = &mut self.slots[place];
            let idle = slot.breaker.state() == State::Closed
                && matches!(slot.breaker.mode(), Mode::Automatic | Mode::Shadow)
                && !slot.breaker.is_shared_beyond(1);
            if idle {
                if !std::mem::take(&mut slot.used) {
                    return Some(place);
                }
                second_best.get_or_insert(place);
            }
        }
        second_best
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Config;

    fn breaker() -> CircuitBreaker {
        CircuitBreaker::new(Config::builder().consecutive_failures(1).build().unwrap())
    }

    fn keys(map: &Map<u32>) -> Vec<u32> {
        let mut keys: Vec<_> = map.list().into_iter().map(|(key, _)| key).collect();
        keys.sort_unstable();
        keys
    }

    #[test]
    fn a_newcomer_takes_the_place_of_one_that_was_not_asked_for_again() {
        let mut map = Map::new(3);
        (0..3).for_each(|key| drop(map.insert(key, breaker())));
        drop(map.find(&0));
        drop(map.find(&2));
        drop(map.insert(3, breaker()));
        assert_eq!(keys(&map), [0, 2, 3]);
        assert!(map.find(&1).is_none());
    }

    #[test]
    fn open_breakers_and_those_in_use_stay() {
        let mut map = Map::new(2);
        let open = map.insert(0, breaker()).unwrap();
        open.admit().unwrap().failure();
        drop(open);
        let in_use = map.insert(1, breaker()).unwrap();
        assert!(map.insert(2, breaker()).is_none());
        drop(in_use);
        assert!(map.insert(2, breaker()).is_some());
        assert_eq!(keys(&map), [0, 2]);
    }

    #[test]
    fn a_removed_key_leaves_the_others_where_they_can_be_found() {
        let mut map = Map::new(9);
        (0..5).for_each(|key| drop(map.insert(key, breaker())));
        assert!(map.remove(&1).is_some());
        assert!(map.remove(&4).is_some());
        assert!(map.remove(&4).is_none());
        assert!([0, 2, 3].iter().all(|key| map.find(key).is_some()));
        assert_eq!(keys(&map), [0, 2, 3]);
    }
}
