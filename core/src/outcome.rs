//! How a call ended, and who is told.

/// How a call ended, as far as the callee's health is concerned.
///
/// A call that its caller dropped has none of these: its [`Guard`] is dropped instead, and the
/// policy of whoever made the guard decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// The callee answered as it should, be it with "not found".
    Success,
    /// The callee failed, or nothing came back from it.
    Failure,
    /// Says nothing about the callee, such as a refusal by a layer of ours.
    Ignored,
}

/// The right to make one call, held until the call has ended.
///
/// Breakers, balancers and concurrency limiters each hand out one. Whoever follows the call tells
/// it the outcome, exactly once; dropping it untold means that the caller abandoned the call.
pub trait Guard {
    /// The callee has answered: the head of an HTTP response, or the first frame of a gRPC one.
    ///
    /// Latency ends here; the call itself may go on in its body. Called at most once, before
    /// [`finish`](Self::finish), and not at all when the call fails before an answer.
    fn answered(&mut self) {}

    /// The call has ended.
    fn finish(self, outcome: Outcome);
}

/// Tells both, the first one first.
impl<A: Guard, B: Guard> Guard for (A, B) {
    fn answered(&mut self) {
        self.0.answered();
        self.1.answered();
    }

    fn finish(self, outcome: Outcome) {
        self.0.finish(outcome);
        self.1.finish(outcome);
    }
}

/// `None` is a call that nobody watches.
impl<G: Guard> Guard for Option<G> {
    fn answered(&mut self) {
        if let Some(guard) = self {
            guard.answered();
        }
    }

    fn finish(self, outcome: Outcome) {
        if let Some(guard) = self {
            guard.finish(outcome);
        }
    }
}
