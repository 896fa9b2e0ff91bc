//! Where a watch stands in the history of a service.
//!
//! # Algorithm
//!
//! The rules that [Consul's documentation][rules] gives for blocking queries: wait beyond the index
//! of the last answer, never beyond 0, and start over when it goes backwards. Beyond these, a watch
//! also starts over after a failure: an agent that came back without its data would otherwise hold
//! a query for an index that it reaches in days.
//!
//! [rules]: https://developer.hashicorp.com/consul/api-docs/features/blocking

/// The index that the next query waits beyond.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Cursor(Option<u64>);

/// What the index of an answer says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing changed while the query waited.
    Same,
    /// The history went on, or was met for the first time.
    Forward,
    /// The history is another one; the answer to the next query says what it holds.
    Lost,
}

impl Cursor {
    /// The index to wait beyond; without one, ask for what is there now.
    pub(super) fn index(self) -> Option<u64> {
        self.0
    }

    /// Takes the index of an answer, 0 if it had none.
    pub(super) fn advance(&mut self, answered: u64) -> Step {
        // A query beyond 0 is answered at once, for ever; one beyond 1 always waits for a change.
        let answered = answered.max(1);
        let step = match self.0 {
            Some(index) if answered < index => Step::Lost,
            Some(index) if answered == index => Step::Same,
            _ => Step::Forward,
        };
        self.0 = (step != Step::Lost).then_some(answered);
        step
    }

    /// The next query asks for what is there now.
    pub(super) fn start_over(&mut self) {
        self.0 = None;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_index_that_goes_backwards_starts_over() {
        let mut cursor = Cursor::default();
        assert_eq!(cursor.index(), None);
        assert_eq!((cursor.advance(7), cursor.index()), (Step::Forward, Some(7)));
        assert_eq!((cursor.advance(7), cursor.index()), (Step::Same, Some(7)));
        assert_eq!((cursor.advance(6), cursor.index()), (Step::Lost, None));
        assert_eq!((cursor.advance(6), cursor.index()), (Step::Forward, Some(6)));
    }

    proptest! {
        #[test]
        fn a_query_never_waits_beyond_zero_nor_beyond_more_than_was_answered(
            answers in proptest::collection::vec(prop_oneof![Just(0), 0..5u64, any::<u64>()], 0..20)
        ) {
            let mut cursor = Cursor::default();
            for answered in answers {
                let before = cursor.index();
                let step = cursor.advance(answered);
                match cursor.index() {
                    Some(index) => prop_assert_eq!(index, answered.max(1)),
                    None => prop_assert!(before > Some(answered) && step == Step::Lost),
                }
            }
        }
    }
}
