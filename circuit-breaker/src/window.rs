//! What is remembered of the calls of one generation.
//!
//! Every word in here carries the [`Tag`] of the generation that wrote it, and a write first compares
//! the tag: a call that was admitted in an older generation cannot change what a newer one counts,
//! however long it was delayed between its decision and its write.

mod consecutive;

pub(crate) use consecutive::Streak;

use crate::state::Word;

/// The low bits of a generation.
///
/// 16 bits suffice because a tag only has to tell apart the generations that one delayed write can
/// meet: a thread would have to stall between two instructions for exactly 65,536 changes of state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tag(pub(crate) u16);

impl Tag {
    pub(crate) const fn of(word: Word) -> Self {
        Self(word.generation() as u16)
    }
}
