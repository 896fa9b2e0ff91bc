//! Which endpoint a key belongs to, prepared for one snapshot.

use seawall_core::EndpointId;

use super::{maglev::Maglev, rendezvous::Rendezvous, ring::Ring};
use crate::{HashKey, Policy, hash::Places};

/// An endpoint, as far as placement goes by it.
pub(crate) trait Placed {
    fn id(&self) -> &EndpointId;

    fn weight(&self) -> u16;

    /// Whether both surely have one id, without a look at it.
    fn is_same(&self, other: &Self) -> bool;
}

/// Which endpoint a key belongs to, for the policies that go by it.
pub(crate) enum Placement {
    None,
    Ring(Ring),
    Maglev(Maglev),
    Rendezvous(Rendezvous),
}

impl Placement {
    /// Of no endpoints.
    pub(crate) fn new(policy: &Policy) -> Self {
        let Policy::ConsistentHash(hash) = policy else { return Self::None };
        match &hash.places {
            Places::Ring(ring) => Self::Ring(Ring::new(ring, hash.seed)),
            Places::Maglev(maglev) => Self::Maglev(Maglev::new(maglev, hash.seed)),
            Places::Rendezvous => Self::Rendezvous(Rendezvous::new(hash.seed)),
        }
    }

    /// That of the endpoints `new`, where this is that of `old`; both are ordered by id.
    pub(crate) fn after<P: Placed>(&self, old: &[P], new: &[P]) -> Self {
        match self {
            Self::None => Self::None,
            Self::Ring(ring) => Self::Ring(ring.after(old, new)),
            Self::Maglev(maglev) => Self::Maglev(maglev.after(old, new)),
            Self::Rendezvous(rendezvous) => Self::Rendezvous(rendezvous.after(old, new)),
        }
    }

    /// The key's own endpoint if it fits, else the next that does, among about `most`.
    #[inline]
    pub(crate) fn best(
        &self,
        key: HashKey,
        most: usize,
        fits: impl FnMut(usize) -> bool,
    ) -> Option<usize> {
        match self {
            Self::Rendezvous(rendezvous) => rendezvous.best(key, fits),
            _ => self.find(key, most, fits),
        }
    }

    /// Asks `takes` for one endpoint after the other, beginning with the key's own, up to `most`
    /// times, and returns the first that does, without asking another.
    #[inline]
    pub(crate) fn find(
        &self,
        key: HashKey,
        most: usize,
        takes: impl FnMut(usize) -> bool,
    ) -> Option<usize> {
        match self {
            Self::None => None,
            Self::Ring(ring) => ring.find(key, most, takes),
            Self::Maglev(maglev) => maglev.find(key, most, takes),
            Self::Rendezvous(rendezvous) => rendezvous.find(key, takes),
        }
    }

    /// Whether it shows the endpoints as they are; a table in the making does not.
    pub(crate) fn is_settled(&self) -> bool {
        match self {
            Self::Maglev(maglev) => maglev.is_settled(),
            Self::None | Self::Ring(_) | Self::Rendezvous(_) => true,
        }
    }
}

/// What became of an endpoint, by its places in the old list and in the new one.
pub(crate) enum Fate {
    Kept { old: usize, new: usize },
    Gone { old: usize },
    Came { new: usize },
}

/// Tells the fate of each endpoint of two lists that are ordered by id.
pub(crate) fn compare<P: Placed>(old: &[P], new: &[P], mut tell: impl FnMut(Fate)) {
    let (mut o, mut n) = (0, 0);
    while o < old.len() && n < new.len() {
        let order = if old[o].is_same(&new[n]) {
            std::cmp::Ordering::Equal
        } else {
            old[o].id().cmp(new[n].id())
        };
        match order {
            std::cmp::Ordering::Equal => {
                tell(Fate::Kept { old: o, new: n });
                o += 1;
                n += 1;
            }
            std::cmp::Ordering::Less => {
                tell(Fate::Gone { old: o });
                o += 1;
            }
            std::cmp::Ordering::Greater => {
                tell(Fate::Came { new: n });
                n += 1;
            }
        }
    }
    (o..old.len()).for_each(|old| tell(Fate::Gone { old }));
    (n..new.len()).for_each(|new| tell(Fate::Came { new }));
}

/// The place of `key` among `len` equal parts of all keys.
#[inline]
pub(crate) fn part(key: HashKey, len: usize) -> usize {
    ((u128::from(key.hash()) * len as u128) >> 64) as usize
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// An endpoint that is nothing but its id and weight.
    #[derive(Clone, Debug, PartialEq)]
    pub(crate) struct Name(pub(crate) EndpointId, pub(crate) u16);

    impl Placed for Name {
        fn id(&self) -> &EndpointId {
            &self.0
        }
        fn weight(&self) -> u16 {
            self.1
        }
        fn is_same(&self, other: &Self) -> bool {
            std::ptr::eq(self.0.as_str(), other.0.as_str())
        }
    }

    /// Endpoints with these numbers for ids, in the order of their ids.
    pub(crate) fn names(numbers: impl IntoIterator<Item = usize>) -> Vec<Name> {
        let name = |number| Name(format!("e{number:06}").into(), 1);
        let mut names: Vec<_> = numbers.into_iter().map(name).collect();
        names.sort_by(|a, b| a.0.cmp(&b.0));
        names
    }

    pub(crate) fn keys(count: u64) -> impl Iterator<Item = HashKey> + Clone {
        (0..count).map(|number| HashKey::of(number.to_le_bytes()))
    }

    #[test]
    fn every_endpoint_has_one_fate() {
        let (old, new) = (names([1, 2, 4, 6, 9]), names([0, 2, 3, 6, 7, 8]));
        let mut fates = Vec::new();
        compare(&old, &new, |fate| {
            fates.push(match fate {
                Fate::Kept { old: o, new: n } => {
                    assert_eq!(old[o].0, new[n].0);
                    ('=', n)
                }
                Fate::Gone { old } => ('-', old),
                Fate::Came { new } => ('+', new),
            });
        });
        let expected = "+0 -0 =1 +2 -2 =3 +4 +5 -4".split(' ');
        let mut found: Vec<_> = fates.iter().map(|(kind, at)| format!("{kind}{at}")).collect();
        let mut expected: Vec<_> = expected.map(str::to_owned).collect();
        found.sort();
        expected.sort();
        assert_eq!(found, expected);
    }
}
