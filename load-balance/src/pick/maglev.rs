//! Maglev's table.

mod builder;
mod table;

use std::sync::{Arc, OnceLock};

pub(crate) use self::table::is_prime;
use self::{
    builder::{Builder, Job},
    table::{Table, cells_for},
};
use super::place::{Fate, Placed, compare, part};
use crate::HashKey;

/// Tables of up to so many cells are made at once, in a few milliseconds.
const AT_ONCE: u32 = 65_537;

/// An endpoint of an old table that is no more.
const GONE: u32 = u32::MAX;

/// The table of the endpoints, or, while it is made, what stands in for it.
pub(crate) struct Maglev {
    cells: Option<u32>,
    seed: u64,
    builder: Arc<Builder>,
    /// The table of these endpoints, once it is ready.
    own: Arc<OnceLock<Arc<Table>>>,
    /// The table of earlier endpoints.
    old: Option<Old>,
    len: usize,
}

#[derive(Clone)]
struct Old {
    table: Arc<Table>,
    /// For each endpoint of the table, its place in the list now.
    places: Arc<[u32]>,
}

impl Maglev {
    pub(crate) fn new(config: &crate::Maglev, seed: u64) -> Self {
        let own = Arc::new(OnceLock::from(Arc::new(Table::empty())));
        Self { cells: config.cells, seed, builder: Arc::default(), own, old: None, len: 0 }
    }

    pub(crate) fn after<P: Placed>(&self, old: &[P], new: &[P]) -> Self {
        let mut moved = vec![GONE; old.len()];
        let mut same = old.len() == new.len();
        compare(old, new, |fate| match fate {
            Fate::Kept { old: before, new: after } => {
                moved[before] = after as u32;
                same &= old[before].weight() == new[after].weight();
            }
            Fate::Gone { .. } | Fate::Came { .. } => same = false,
        });
        let mut next = Self {
            cells: self.cells,
            seed: self.seed,
            builder: self.builder.clone(),
            own: self.own.clone(),
            old: None,
            len: new.len(),
        };
        if same {
            next.old = self.old.clone();
            return next;
        }
        next.own = Arc::default();
        let cells = cells_for(self.cells, new.len());
        let job = Job {
            names: new.iter().map(|endpoint| (endpoint.id().clone(), endpoint.weight())).collect(),
            cells,
            seed: self.seed,
            made: next.own.clone(),
        };
        if cells <= AT_ONCE || new.is_empty() {
            self.builder.forget();
            job.run();
            return next;
        }
        next.old = self.last_for(&moved, new);
        self.builder.submit(job);
        next
    }

    /// The latest table there is, as far as it serves the endpoints `new`; `moved` has their places
    /// by those of the endpoints of this table.
    fn last_for<P: Placed>(&self, moved: &[u32], new: &[P]) -> Option<Old> {
        let (table, places) = match (self.own.get(), self.builder.latest()) {
            (Some(own), _) => (own.clone(), moved.to_vec()),
            (None, Some(latest)) => {
                let places = latest.places_in(new);
                (latest, places)
            }
            (None, None) => {
                let old = self.old.as_ref()?;
                let now = |place: &u32| moved.get(*place as usize).copied().unwrap_or(GONE);
                (old.table.clone(), old.places.iter().map(now).collect())
            }
        };
        // A table of a few would send them the calls of all.
        let served = places.iter().filter(|place| **place != GONE).count();
        (served * 2 >= new.len()).then(|| Old { table, places: places.into() })
    }

    #[inline]
    pub(crate) fn find(
        &self,
        key: HashKey,
        most: usize,
        mut takes: impl FnMut(usize) -> bool,
    ) -> Option<usize> {
        let Some(own) = self.own.get() else { return self.find_meanwhile(key, most, takes) };
        let cells = &own.cells;
        if cells.is_empty() {
            return None;
        }
        let first = part(key, cells.len());
        let place = cells[first] as usize;
        if takes(place) {
            return Some(place);
        }
        let rest = cells[first + 1..].iter().chain(&cells[..first]);
        rest.take(most).map(|place| *place as usize).find(|place| takes(*place))
    }

    #[cold]
    fn find_meanwhile(
        &self,
        key: HashKey,
        most: usize,
        mut takes: impl FnMut(usize) -> bool,
    ) -> Option<usize> {
        if let Some(old) = &self.old {
            let cells = &old.table.cells;
            let (before, from) = cells.split_at(part(key, cells.len()));
            let places = from.iter().chain(before).map(|name| old.places[*name as usize]);
            let served = places.filter(|place| *place != GONE).take(most);
            return served.map(|place| place as usize).find(|place| takes(*place));
        }
        let first = part(key, self.len);
        (first..self.len).chain(0..first).take(most).find(|place| takes(*place))
    }

    pub(crate) fn is_settled(&self) -> bool {
        self.own.get().is_some()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::pick::place::tests::{Name, keys, names};

    fn settled(maglev: &Maglev) {
        while !maglev.is_settled() {
            std::thread::yield_now();
        }
    }

    fn owners(maglev: &Maglev, names: &[Name], keys: impl Iterator<Item = HashKey>) -> Vec<Name> {
        keys.map(|key| names[maglev.find(key, 1, |_| true).unwrap()].clone()).collect()
    }

    fn maglev(cells: u32) -> Maglev {
        Maglev::new(&crate::Maglev::new().with_cells(cells), 0)
    }

    #[test]
    fn a_small_table_is_there_at_once() {
        let names = names(0..100);
        let maglev = maglev(65_537).after(&[], &names);
        assert!(maglev.is_settled());
        let met: BTreeSet<_> =
            keys(10_000).map(|key| maglev.find(key, 1, |_| true).unwrap()).collect();
        assert_eq!(met.len(), 100);
    }

    #[test]
    fn nothing_is_found_among_nobody() {
        let maglev = maglev(65_537);
        assert!(keys(10).all(|key| maglev.find(key, 9, |_| true).is_none()));
        let gone = maglev.after(&[], &names(0..3)).after(&names(0..3), &[]);
        assert!(keys(10).all(|key| gone.find(key, 9, |_| true).is_none()));
    }

    #[test]
    fn the_walk_meets_every_endpoint() {
        let names = names(0..20);
        let maglev = maglev(65_537).after(&[], &names);
        for key in keys(20) {
            let mut met = BTreeSet::new();
            maglev.find(key, usize::MAX, |place| {
                met.insert(place);
                false
            });
            assert_eq!(met.len(), 20);
        }
    }

    /// A maglev whose table will not be ready before the test ends.
    fn unready(before: &Maglev, old: &[Name], new: &[Name]) -> Maglev {
        before.builder.pause();
        let after = before.after(old, new);
        assert!(!after.is_settled());
        after
    }

    #[test]
    fn a_large_table_is_made_aside_while_the_old_one_serves_those_that_are_left() {
        let (all, changed) = (names(0..100), names((0..101).filter(|number| *number != 42)));
        let before = maglev(655_373).after(&[], &all);
        settled(&before);
        let old = owners(&before, &all, keys(10_000));
        let after = unready(&before, &all, &changed);
        let new = owners(&after, &changed, keys(10_000));
        for (old, new) in old.iter().zip(&new) {
            assert!(old == new || old.0.as_str() == "e000042", "{old:?} to {new:?}");
            assert!(!["e000042", "e000100"].contains(&new.0.as_str()));
        }
    }

    #[test]
    fn a_change_of_nothing_that_counts_keeps_the_table() {
        let all = names(0..10);
        let before = maglev(65_537).after(&[], &all);
        let after = before.after(&all, &all.clone());
        assert!(Arc::ptr_eq(&before.own, &after.own));
    }

    #[test]
    fn a_first_table_and_one_that_knows_hardly_anybody_are_not_waited_for() {
        let (few, many) = (names(0..10), names(5..100));
        let first = unready(&maglev(655_373), &[], &many);
        assert_eq!(
            owners(&first, &many, keys(5000))
                .iter()
                .map(|name| &name.0)
                .collect::<BTreeSet<_>>()
                .len(),
            95
        );
        let small = maglev(655_373).after(&[], &few);
        settled(&small);
        let after = unready(&small, &few, &many);
        assert_eq!(owners(&after, &many, keys(5000)), owners(&first, &many, keys(5000)));
    }

    #[test]
    fn a_row_of_changes_ends_in_the_table_of_the_last() {
        let mut current = maglev(655_373);
        let mut before = Vec::new();
        for count in [10, 50, 49, 90, 91] {
            let after = names(0..count);
            current = current.after(&before, &after);
            before = after;
        }
        settled(&current);
        let fresh = maglev(655_373).after(&[], &before);
        settled(&fresh);
        assert_eq!(owners(&current, &before, keys(2000)), owners(&fresh, &before, keys(2000)));
    }
}
