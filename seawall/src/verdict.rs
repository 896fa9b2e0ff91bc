//! What became of an attempt, as far as another one is concerned.

use std::time::Duration;

use seawall_core::{Reason, Rejection, Retry};

use crate::policy::{Policy, RetryOn};

/// What an attempt that ran out of its time counts as.
pub(crate) const TIMED_OUT: &[RetryOn] =
    &[RetryOn::ServerError, RetryOn::GatewayError, RetryOn::DeadlineExceeded];
/// What an attempt that left nothing at any server counts as.
pub(crate) const UNSENT: &[RetryOn] = &[RetryOn::ConnectFailure];
/// What a connection that broke counts as.
pub(crate) const RESET: &[RetryOn] = &[RetryOn::ServerError, RetryOn::Reset];

/// The longest pause that a server may ask for before a retry. Longer ones are the caller's to wait.
const MOST_PATIENCE: Duration = Duration::from_secs(60);

/// The ways in which an attempt failed, and what its server says of another one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Verdict {
    failures: &'static [RetryOn],
    pushback: Retry,
    /// A layer of ours refused before anything was sent.
    refused: bool,
    /// A breaker did.
    open: bool,
    /// The HTTP status of an answer that is none of success.
    status: Option<u16>,
}

impl Verdict {
    /// Nothing that another attempt could mend.
    pub(crate) const FINAL: Self = Self::failed(&[]);

    pub(crate) const fn failed(failures: &'static [RetryOn]) -> Self {
        Self { failures, pushback: Retry::Unknown, refused: false, open: false, status: None }
    }

    /// The server answered with this HTTP status.
    pub(crate) const fn with_status(self, status: u16) -> Self {
        Self { status: Some(status), ..self }
    }

    /// Whether the server, or who stands before it, had no room for the call; `None` where nothing was
    /// asked of it.
    pub(crate) fn is_overload(&self) -> Option<bool> {
        let took_on = |f: &RetryOn| {
            matches!(f, RetryOn::ServerError | RetryOn::Internal | RetryOn::Cancelled)
        };
        let overload = self.status == Some(429) || !self.failures.iter().all(took_on);
        (!self.refused).then_some(overload)
    }

    /// The server says this of another attempt.
    pub(crate) const fn pushed_back(self, pushback: Retry) -> Self {
        Self { pushback, ..self }
    }

    /// What a refusal by a layer inside counts as. An empty set was waited for already, and what is
    /// left of a deadline does not grow.
    pub(crate) fn rejected(rejection: &Rejection) -> Self {
        let failures = match rejection.reason() {
            Reason::CircuitOpen | Reason::Overloaded => UNSENT,
            _ => &[],
        };
        let open = rejection.reason() == Reason::CircuitOpen;
        Self { refused: true, open, ..Self::failed(failures) }
    }

    /// Whether the attempt did what it should, as far as a retry is concerned.
    pub(crate) fn is_final(&self) -> bool {
        self.failures.is_empty()
    }

    /// Whether it costs no budget to try again.
    pub(crate) fn is_refusal(&self) -> bool {
        self.refused
    }

    /// The pause before retry `n`, counted from 0; `None` where there is to be no retry.
    pub(crate) fn wait(&self, policy: &Policy, idempotent: bool, n: u32) -> Option<Duration> {
        if n >= policy.retries.attempts || !self.may_be_mended(policy, idempotent) {
            return None;
        }
        match self.pushback {
            Retry::Never => None,
            Retry::After(wait) => (wait <= MOST_PATIENCE).then_some(wait),
            Retry::Unknown => Some(policy.retries.backoff.wait(n, fastrand::f64())),
        }
    }

    /// Whether the policy has another attempt for it.
    pub(crate) fn may_be_mended(&self, policy: &Policy, idempotent: bool) -> bool {
        // Elsewhere the same breaker refuses.
        if self.open && policy.circuit_breaker.is_shared() {
            return false;
        }
        let harmless = |f: &RetryOn| matches!(f, RetryOn::ConnectFailure | RetryOn::RefusedStream);
        let retry_on = &policy.retries.retry_on;
        let listed = &policy.retries.retriable_status_codes;
        if idempotent && self.status.is_some_and(|status| listed.contains(&status)) {
            return true;
        }
        self.failures.iter().any(|f| retry_on.contains(f) && (idempotent || harmless(f)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Retries;

    fn policy() -> Policy {
        let on = [RetryOn::ConnectFailure, RetryOn::Unavailable];
        Policy::new().retries(Retries::new().attempts(2).retry_on(on))
    }

    #[test]
    fn only_what_did_nothing_is_tried_again_for_calls_that_may_not_be_done_twice() {
        let unavailable = Verdict::failed(&[RetryOn::Unavailable]);
        assert!(unavailable.wait(&policy(), true, 0).is_some());
        assert!(unavailable.wait(&policy(), false, 0).is_none());
        assert!(Verdict::failed(UNSENT).wait(&policy(), false, 0).is_some());
        assert!(Verdict::failed(RESET).wait(&policy(), true, 0).is_none(), "not in the list");
    }

    #[test]
    fn the_number_of_retries_is_that_of_the_policy() {
        let waits = (0..4).map(|n| Verdict::failed(UNSENT).wait(&policy(), true, n).is_some());
        assert_eq!(waits.collect::<Vec<_>>(), [true, true, false, false]);
    }

    #[test]
    fn the_servers_word_replaces_the_backoff() {
        let asked =
            |pushback| Verdict::failed(UNSENT).pushed_back(pushback).wait(&policy(), true, 0);
        assert_eq!(asked(Retry::After(Duration::from_secs(7))), Some(Duration::from_secs(7)));
        assert_eq!(asked(Retry::Never), None);
        assert_eq!(asked(Retry::After(Duration::MAX)), None, "nobody waits for so long");
    }
}
