//! Words that many instances of one answer share.

use std::{collections::HashSet, sync::Arc};

use foldhash::fast::RandomState;

/// Keeps each word of an answer once: tags, zones and the keys of metadata are the same on most
/// instances.
#[derive(Default)]
pub(super) struct Words(HashSet<Arc<str>, RandomState>);

impl Words {
    pub(super) fn shared(&mut self, word: &str) -> Arc<str> {
        if let Some(known) = self.0.get(word) {
            return Arc::clone(known);
        }
        let word: Arc<str> = word.into();
        self.0.insert(Arc::clone(&word));
        word
    }
}
