//! The last good responses of a client.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, StatusCode, header};
use seawall_core::{Clock, Instant};

use crate::policy::Stale;

/// What tells requests apart, whether the policy says so or not: who asks, and for what form.
const USUAL: [HeaderName; 5] = [
    header::AUTHORIZATION,
    header::COOKIE,
    header::ACCEPT,
    header::ACCEPT_ENCODING,
    header::ACCEPT_LANGUAGE,
];

/// What a header map costs besides its texts, and an entry besides its body: about.
const OVERHEAD_BYTES: usize = 256;

/// A whole response.
#[derive(Clone, Debug)]
pub(crate) struct Whole {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) trailers: Option<HeaderMap>,
}

impl Whole {
    fn size(&self) -> usize {
        let headers = |map: &HeaderMap| {
            map.iter().map(|(name, value)| name.as_str().len() + value.len()).sum::<usize>()
        };
        let trailers = self.trailers.as_ref().map_or(0, headers);
        OVERHEAD_BYTES + headers(&self.headers) + trailers + self.body.len()
    }
}

/// Responses by the requests that they answered, the settings of one route around them.
#[derive(Clone, Debug)]
pub(crate) struct Responses {
    settings: Arc<Settings>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Settings {
    max_age: Duration,
    max_bytes: usize,
    vary: Vec<HeaderName>,
}

#[derive(Debug)]
struct Shared {
    kept: Mutex<Kept>,
    /// Of responses that are being received. Relaxed: a gauge, which bounds memory and orders nothing.
    receiving: AtomicUsize,
    clock: Clock,
}

/// Oldest first by their numbers.
#[derive(Debug, Default)]
struct Kept {
    by_key: HashMap<Arc<[u8]>, Entry>,
    by_age: BTreeMap<u64, Arc<[u8]>>,
    last: u64,
    bytes: usize,
}

#[derive(Debug)]
struct Entry {
    number: u64,
    at: Instant,
    whole: Whole,
    size: usize,
}

impl Responses {
    /// With what `before` keeps, whatever its settings.
    pub(crate) fn new(policy: &Stale, clock: &Clock, before: Option<&Self>) -> Self {
        // A policy whose names are none was refused before.
        let own = policy.vary.iter().filter_map(|name| name.parse().ok());
        let settings = Settings {
            max_age: policy.max_age,
            max_bytes: policy.max_bytes,
            vary: USUAL.into_iter().chain(own).collect(),
        };
        let shared = match before {
            Some(before) => before.shared.clone(),
            None => Arc::new(Shared {
                kept: Mutex::default(),
                receiving: AtomicUsize::new(0),
                clock: clock.clone(),
            }),
        };
        Self { settings: Arc::new(settings), shared }
    }

    /// The response to the same request, and how old it is.
    pub(super) fn find(&self, key: &[u8]) -> Option<(Whole, Duration)> {
        let now = self.shared.clock.now();
        let kept = self.lock();
        let entry = kept.by_key.get(key)?;
        let age = now.saturating_since(entry.at);
        (age <= self.settings.max_age).then(|| (entry.whole.clone(), age))
    }

    /// The headers that tell requests apart.
    pub(crate) fn vary(&self) -> &[HeaderName] {
        &self.settings.vary
    }

    /// How long what identifies a request may be.
    pub(crate) fn longest_key(&self) -> usize {
        self.most()
    }

    fn keep(&self, key: Vec<u8>, whole: Whole) {
        let size = key.len() + whole.size();
        if size > self.most() {
            return;
        }
        let at = self.shared.clock.now();
        let key: Arc<[u8]> = key.into();
        let mut kept = self.lock();
        kept.remove(&key);
        kept.last += 1;
        let number = kept.last;
        kept.bytes += size;
        kept.by_age.insert(number, key.clone());
        kept.by_key.insert(key, Entry { number, at, whole, size });
        // Half of the memory is for those that are being received.
        while kept.bytes > self.settings.max_bytes / 2 {
            let Some((_, oldest)) = kept.by_age.pop_first() else { return };
            kept.remove(&oldest);
        }
    }

    /// How large one response may be.
    fn most(&self) -> usize {
        self.settings.max_bytes / 8
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.shared.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn remove(&mut self, key: &[u8]) {
        if let Some(entry) = self.by_key.remove(key) {
            self.by_age.remove(&entry.number);
            self.bytes -= entry.size;
        }
    }
}

/// What identifies a request: each part with its length, so that no two requests share one.
#[derive(Default)]
pub(crate) struct Key(Vec<u8>);

impl Key {
    #[must_use]
    pub(crate) fn with(mut self, part: &[u8]) -> Self {
        self.0.extend_from_slice(&part.len().to_le_bytes());
        self.0.extend_from_slice(part);
        self
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    #[must_use]
    pub(crate) fn with_headers(mut self, headers: &HeaderMap, names: &[HeaderName]) -> Self {
        for name in names {
            let values = headers.get_all(name);
            // Their number, so that a value is never taken for one of the next header.
            self = self.with(&values.iter().count().to_le_bytes());
            for value in values {
                self = self.with(value.as_bytes());
            }
        }
        self
    }
}

/// Takes down a response while its body passes by, and keeps it once it is whole.
pub(crate) struct Recorder {
    responses: Responses,
    key: Box<dyn FnOnce() -> Option<Key> + Send + Sync>,
    status: StatusCode,
    headers: HeaderMap,
    body: BytesMut,
    reserved: usize,
}

impl Recorder {
    /// `key` is asked when the response is whole, and the request with it.
    pub(crate) fn new(
        responses: &Responses,
        status: StatusCode,
        headers: &HeaderMap,
        key: impl FnOnce() -> Option<Key> + Send + Sync + 'static,
    ) -> Box<Self> {
        Box::new(Self {
            responses: responses.clone(),
            key: Box::new(key),
            status,
            headers: headers.clone(),
            body: BytesMut::new(),
            reserved: 0,
        })
    }

    /// Takes down a part of the body; `false` when there is no memory for it.
    pub(super) fn data(&mut self, data: &[u8]) -> bool {
        let receiving = &self.responses.shared.receiving;
        self.reserved += data.len();
        let all = receiving.fetch_add(data.len(), Relaxed) + data.len();
        if self.reserved > self.responses.most() || all > self.responses.settings.max_bytes / 2 {
            return false;
        }
        self.body.extend_from_slice(data);
        true
    }

    pub(crate) fn end(mut self, trailers: Option<HeaderMap>) {
        let key = std::mem::replace(&mut self.key, Box::new(|| None));
        if let Some(Key(key)) = key() {
            let headers = std::mem::take(&mut self.headers);
            // A copy of its own: no larger than the body, and no part of a buffer of the transport.
            let body = Bytes::copy_from_slice(&self.body);
            self.responses.keep(key, Whole { status: self.status, headers, body, trailers });
        }
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.responses.shared.receiving.fetch_sub(self.reserved, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn responses(stale: &Stale) -> Responses {
        Responses::new(stale, &Clock::fast(), None)
    }

    fn whole(body: &'static [u8]) -> Whole {
        let body = Bytes::from_static(body);
        Whole { status: StatusCode::OK, headers: HeaderMap::new(), body, trailers: None }
    }

    #[test]
    fn the_oldest_give_way_and_what_is_too_large_is_not_kept() {
        let responses = responses(&Stale::new().max_bytes(8192));
        static LARGE: [u8; 700] = [0; 700];
        for n in 0..10_u8 {
            responses.keep(vec![n], whole(&LARGE));
            assert!(responses.lock().bytes <= 4096);
        }
        let found = (0..10_u8).filter(|n| responses.find(&[*n]).is_some()).collect::<Vec<_>>();
        assert_eq!(found, [6, 7, 8, 9], "957 bytes each with their overhead");
        static TOO_LARGE: [u8; 1024] = [0; 1024];
        responses.keep(vec![99], whole(&TOO_LARGE));
        assert!(responses.find(&[99]).is_none());
        responses.keep(vec![9], whole(b"new"));
        assert_eq!(responses.find(&[9]).unwrap().0.body, "new");
        let kept = responses.lock();
        assert_eq!(kept.by_age.len(), kept.by_key.len());
    }

    #[test]
    fn what_is_too_old_is_not_given() {
        let (clock, time) = Clock::manual();
        let stale = Stale::new().max_age(Duration::from_secs(10));
        let responses = Responses::new(&stale, &clock, None);
        responses.keep(vec![1], whole(b"a"));
        time.advance(Duration::from_secs(10));
        assert_eq!(responses.find(&[1]).unwrap().1, Duration::from_secs(10));
        time.advance(Duration::from_nanos(1));
        assert!(responses.find(&[1]).is_none());
    }

    #[test]
    fn what_is_being_received_is_bounded_and_given_back() {
        let responses = responses(&Stale::new().max_bytes(8192));
        let recorder = || {
            Recorder::new(&responses, StatusCode::OK, &HeaderMap::new(), || Some(Key::default()))
        };
        let mut many: Vec<_> = (0..5).map(|_| recorder()).collect();
        let taken: Vec<_> = many.iter_mut().map(|recorder| recorder.data(&[0; 1000])).collect();
        assert_eq!(taken, [true, true, true, true, false]);
        assert!(!many[0].data(&[0; 100]), "more than an eighth");
        drop(many);
        assert_eq!(responses.shared.receiving.load(Relaxed), 0);
        let mut one = recorder();
        assert!(one.data(b"ab") && one.data(b"c"));
        one.end(None);
        assert_eq!(responses.find(&[]).unwrap().0.body, "abc");
    }

    #[test]
    fn no_two_requests_share_a_key() {
        let key = |parts: &[&str]| {
            parts.iter().fold(Key::default(), |key, part| key.with(part.as_bytes())).0
        };
        assert_ne!(key(&["ab", "c"]), key(&["a", "bc"]));
        assert_ne!(key(&["a", ""]), key(&["a"]));
    }
}
