//! Each client to a part of the endpoints.

use seawall_core::{ConfigError, EndpointId};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Connects each of many clients to a few of many endpoints, so that every endpoint has about as
/// many clients as every other, and no client has thousands of connections.
///
/// Clients are told apart by numbers from 0, without gaps: the ordinal of a pod, or the number of a
/// task. The policy works within the subset: ejection, panic and weights go by it alone.
/// Endpoints that leave the subset are disconnected; snapshots show those outside of it as drained.
///
/// A subset is too small when the clients' loads differ so much that a few of them overload their
/// endpoints: 20 to 100 endpoints suffice for most. Without need of one, do not set it.
///
/// # Algorithm
///
/// Google's deterministic subsetting ("Site Reliability Engineering", chapter 20, 2016): as many
/// clients as there are subsets make a round, in which each endpoint is given to exactly one of
/// them; each round shuffles the endpoints anew. It differs in two points:
///
/// - the shuffle orders the endpoints by a hash of id and round, so that a change of one endpoint
///   moves a subset by about one, unless it changes the number of subsets;
/// - what is left over after an even division is spread over the subsets, so that no endpoint stays
///   without a client in any round; a subset has from `size` to less than twice as many endpoints.
///
/// Weights have no part in it.
///
/// # Cost
///
/// Linear in the set, at each change.
///
/// # Examples
///
/// ```
/// use seawall_core::Endpoint;
/// use seawall_load_balance::{Config, EndpointSet, Picker, Subset};
///
/// let address: seawall_core::Address = "10.0.0.1:80".parse()?;
/// let endpoint = |number: usize| Endpoint::new(number.to_string(), address.clone());
/// let set: EndpointSet = (0..300).map(endpoint).collect();
/// let config = Config::builder().subset(Subset::new(17, 30)).build()?;
/// let picker = Picker::with_config(set, config);
/// let used = picker.snapshot().endpoints.iter().filter(|endpoint| !endpoint.drained).count();
/// assert_eq!(used, 30);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Subset {
    client: u32,
    size: u32,
}

impl Subset {
    /// At least `size` endpoints, 1 or more, for the client with this number.
    pub const fn new(client: u32, size: u32) -> Self {
        Self { client, size }
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        if self.size == 0 {
            return Err(ConfigError::new("size", self.size, "1 or more"));
        }
        Ok(())
    }

    /// For each id, in their order, whether its endpoint is in the subset.
    pub(crate) fn of<'a>(&self, ids: impl ExactSizeIterator<Item = &'a EndpointId>) -> Vec<bool> {
        let len = ids.len();
        let subsets = len / self.size as usize;
        if subsets <= 1 {
            return vec![true; len];
        }
        let (round, own) = (self.client as usize / subsets, self.client as usize % subsets);
        let mut order: Vec<(u64, u32)> = ids
            .enumerate()
            .map(|(at, id)| (xxh3_64_with_seed(id.as_str().as_bytes(), round as u64), at as u32))
            .collect();
        let (from, to) = (own * len / subsets, (own + 1) * len / subsets);
        // Only the ends of the subset need to be in order. Equal hashes are ordered by id.
        order.select_nth_unstable(from);
        let rest = &mut order[from..];
        if to < len {
            rest.select_nth_unstable(to - from);
        }
        let mut chosen = vec![false; len];
        rest[..to - from].iter().for_each(|(_, at)| chosen[*at as usize] = true);
        chosen
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ids(count: usize) -> Vec<EndpointId> {
        (0..count).map(|number| format!("e{number:04}").into()).collect()
    }

    fn chosen(ids: &[EndpointId], client: u32, size: u32) -> Vec<bool> {
        Subset::new(client, size).of(ids.iter())
    }

    proptest! {
        #[test]
        fn a_round_of_clients_gives_each_endpoint_to_one(
            count in 1..200_usize, size in 1..40_u32, round in 0..5_u32,
        ) {
            let ids = ids(count);
            let subsets = (count as u32 / size).max(1);
            let mut clients = vec![0; count];
            for client in round * subsets..(round + 1) * subsets {
                let chosen = chosen(&ids, client, size);
                let found = chosen.iter().filter(|chosen| **chosen).count() as u32;
                prop_assert!(found >= size.min(count as u32), "{found} of {size}");
                prop_assert!(found < 2 * size || subsets == 1, "{found} of {size}");
                (0..count).for_each(|at| clients[at] += usize::from(chosen[at]));
            }
            prop_assert!(clients.iter().all(|clients| *clients == 1), "{clients:?}");
        }
    }

    #[test]
    fn the_shares_of_300_clients_are_even() {
        // The figures of the book: 300 clients, 300 endpoints, subsets of 10 percent.
        let ids = ids(300);
        let mut clients = vec![0; 300];
        for client in 0..300 {
            let chosen = chosen(&ids, client, 30);
            (0..300).for_each(|at| clients[at] += u32::from(chosen[at]));
        }
        assert!(clients.iter().all(|clients| *clients == 30), "{clients:?}");
    }

    #[test]
    fn rounds_differ() {
        let ids = ids(100);
        let (first, second) = (chosen(&ids, 0, 10), chosen(&ids, 10, 10));
        let shared = (0..100).filter(|at| first[*at] && second[*at]).count();
        assert!(shared < 6, "{shared} of 10 are shared");
    }

    #[test]
    fn a_change_of_one_moves_few() {
        let before = ids(105);
        let mut after = before.clone();
        after.remove(50);
        for client in 0..30 {
            let (old, new) = (chosen(&before, client, 10), chosen(&after, client, 10));
            let old: Vec<_> = (0..105).filter(|at| old[*at]).map(|at| &before[at]).collect();
            let kept = (0..104).filter(|at| new[*at] && old.contains(&&after[*at])).count();
            assert!(kept + 3 >= old.len(), "client {client} kept {kept} of {}", old.len());
        }
    }
}
