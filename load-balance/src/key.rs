//! What keeps calls together: the hash of a key, and where it comes from.

#[cfg(feature = "http")]
mod cookie;
#[cfg(feature = "http")]
mod from;

#[cfg(feature = "http")]
pub(crate) use self::cookie::cookie;
#[cfg(feature = "http")]
pub use self::from::{KeyFrom, KeyedRequest};
use crate::{JudgeUnsent, Resend, Tried, Unsent};

/// The hash of what keeps calls together, such as the id of a user.
///
/// [`Policy::ConsistentHash`](crate::Policy::ConsistentHash) sends calls of one key to one endpoint.
/// Give it to a pick in a [`PickContext`](crate::PickContext), to a service through
/// [`hash_key`](crate::BalancerBuilder::hash_key), or put it into the extensions of a request.
///
/// The hash of the same bytes is the same in every process, on every platform, and in every release.
///
/// # Examples
///
/// ```
/// use seawall_load_balance::HashKey;
///
/// assert_eq!(HashKey::of("user-7"), HashKey::of(b"user-7"));
/// assert_ne!(HashKey::of("user-7"), HashKey::of("user-8"));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HashKey(u64);

impl HashKey {
    /// The key with these bytes, by XXH3 with 64 bits.
    pub fn of(key: impl AsRef<[u8]>) -> Self {
        Self(xxhash_rust::xxh3::xxh3_64(key.as_ref()))
    }

    /// The key with these bytes as ketama hashes it, by MD5: for
    /// [`Ring::ketama`](crate::Ring::ketama), in step with other programs.
    pub fn ketama(key: impl AsRef<[u8]>) -> Self {
        let digest = md5::compute(key.as_ref()).0;
        let word = |at: usize| {
            let bytes = [digest[at], digest[at + 1], digest[at + 2], digest[at + 3]];
            u64::from(u32::from_le_bytes(bytes))
        };
        Self(word(0) << 32 | word(4))
    }

    /// A key that is hashed already. Its bits must be evenly spread: a ring goes by the upper half.
    pub const fn from_hash(hash: u64) -> Self {
        Self(hash)
    }

    /// Its hash.
    pub const fn hash(self) -> u64 {
        self.0
    }

    /// A number from 0 to 1 that does not follow from its place on a ring or in a table.
    pub(crate) fn fraction(self) -> f64 {
        let mixed = xxhash_rust::xxh3::xxh3_64(&self.0.to_le_bytes());
        (mixed >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// Finds the key of a request.
///
/// Implemented for `KeyFrom` (feature `http`) and for functions from a request to a key.
pub trait KeySource<Req> {
    /// The key, if the request has one.
    fn key(&self, request: &Req) -> Option<HashKey>;
}

impl<Req, F: Fn(&Req) -> Option<HashKey>> KeySource<Req> for F {
    fn key(&self, request: &Req) -> Option<HashKey> {
        self(request)
    }
}

/// Keeps requests as `R` does, and finds their keys with `K`; a request in which `K` finds none may
/// still carry one as `R` knows. Made by [`hash_key`](crate::BalancerBuilder::hash_key).
#[derive(Clone, Copy, Debug, Default)]
pub struct Keyed<R, K> {
    resend: R,
    source: K,
}

impl<R, K> Keyed<R, K> {
    /// Keeps as `resend` does, with keys as `source` finds them.
    pub fn new(resend: R, source: K) -> Self {
        Self { resend, source }
    }
}

impl<Req, R: Resend<Req>, K: KeySource<Req>> Resend<Req> for Keyed<R, K> {
    type Kept = R::Kept;
    type Sent = R::Sent;

    fn first(&self, request: Req) -> (Self::Sent, Self::Kept) {
        self.resend.first(request)
    }

    fn again(&self, kept: &mut Self::Kept) -> Option<Self::Sent> {
        self.resend.again(kept)
    }

    fn tried(&self, request: &Req) -> Option<Tried> {
        self.resend.tried(request)
    }

    fn key(&self, request: &Req) -> Option<HashKey> {
        self.source.key(request).or_else(|| self.resend.key(request))
    }

    fn subset(&self, request: &Req) -> Option<std::sync::Arc<str>> {
        self.resend.subset(request)
    }
}

impl<E, R: JudgeUnsent<E>, K> JudgeUnsent<E> for Keyed<R, K> {
    fn unsent(&self, error: &E) -> Unsent {
        self.resend.unsent(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_of_a_key_never_changes() {
        // Computed with Python's xxhash, a binding to the reference implementation.
        assert_eq!(HashKey::of("user-7").hash(), 0xb1de_7a36_4def_053e);
        // MD5 of the empty input is d41d8cd98f00b204e9800998ecf8427e (RFC 1321).
        assert_eq!(HashKey::ketama("").hash(), 0xd98c_1dd4_04b2_008f);
    }

    #[test]
    fn fractions_are_even() {
        let below = |limit: f64| {
            let keys = (0..10_000_u32).map(|number| HashKey::of(number.to_le_bytes()));
            keys.filter(|key| key.fraction() < limit).count()
        };
        for tenths in 1..10 {
            let count = below(f64::from(tenths) / 10.0);
            assert!(count.abs_diff(tenths as usize * 1000) < 300, "{count} below {tenths}/10");
        }
    }
}
