//! From the result of a call to its outcome.
//!
//! Two steps, because a response may be less than half of the story: [`Classify`] judges a result
//! that is complete when the service's future resolves; [`Track`] follows a call to where it really
//! ends and tells the guard there. [`AtResult`] makes the first into the second; the
//! `http` module has one that follows bodies.

use std::{error::Error as StdError, time::Duration};

use crate::{Guard, Outcome, Rejection};

/// Judges a result that is complete when the service's future resolves.
///
/// Implemented for closures, which may look at any response and any error:
///
/// ```
/// use seawall_core::{Classify, Outcome};
///
/// let teapot_is_fine = |result: Result<&u16, &String>| match result {
///     Ok(418) => Outcome::Success,
///     Ok(_) => Outcome::Ignored,
///     Err(_) => Outcome::Failure,
/// };
/// assert_eq!(teapot_is_fine.classify(Ok(&418)), Outcome::Success);
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot judge a `Result<{R}, {E}>`",
    note = "the classifiers of this crate need an error that implements `std::error::Error`; \
            for `Box<dyn Error + Send + Sync>` put `.map_err(seawall_core::BoxedError::from)` below \
            this layer, or judge with a closure"
)]
pub trait Classify<R, E> {
    /// The outcome of a call that gave `result`.
    fn classify(&self, result: Result<&R, &E>) -> Outcome;

    /// How long the callee asked to be left alone, where `result` tells, for
    /// [`Guard::retry_after`]. Nothing unless it is implemented.
    fn retry_after(&self, result: Result<&R, &E>) -> Option<Duration> {
        let _ = result;
        None
    }
}

impl<R, E, F> Classify<R, E> for F
where
    F: Fn(Result<&R, &E>) -> Outcome,
{
    fn classify(&self, result: Result<&R, &E>) -> Outcome {
        self(result)
    }
}

/// Every error is a failure, except a [`Rejection`] by a layer of ours, which is ignored.
#[derive(Clone, Copy, Debug, Default)]
pub struct AnyError;

impl<R, E: StdError + 'static> Classify<R, E> for AnyError {
    fn classify(&self, result: Result<&R, &E>) -> Outcome {
        match result {
            Ok(_) => Outcome::Success,
            Err(error) => error_outcome(error),
        }
    }
}

/// The outcome of a call that ended in an error without a code of its own.
pub(crate) fn error_outcome(error: &(dyn StdError + 'static)) -> Outcome {
    match Rejection::find(error) {
        Some(_) => Outcome::Ignored,
        None => Outcome::Failure,
    }
}

/// Follows a call to its end and tells its guard there, once.
///
/// The response may change its type on the way, for a body that carries the guard.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot follow a call that gives `Result<{R}, {E}>`",
    note = "the trackers of this crate need an error that implements `std::error::Error`; \
            for `Box<dyn Error + Send + Sync>` put `.map_err(seawall_core::BoxedError::from)` below \
            this layer"
)]
pub trait Track<R, E, G> {
    /// What the caller gets in place of `R`.
    type Response;

    /// Takes over `guard` for a call whose future resolved to `result`.
    ///
    /// # Errors
    ///
    /// The error of `result`, untouched.
    fn track(&self, result: Result<R, E>, guard: G) -> Result<Self::Response, E>;
}

/// Tells the guard when the service's future resolves.
///
/// # Cost
///
/// Allocates nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct AtResult<C>(pub C);

impl<R, E, G, C> Track<R, E, G> for AtResult<C>
where
    C: Classify<R, E>,
    G: Guard,
{
    type Response = R;

    #[inline]
    fn track(&self, result: Result<R, E>, guard: G) -> Result<R, E> {
        let outcome = self.0.classify(result.as_ref());
        let retry_after = self.0.retry_after(result.as_ref());
        tell(guard, outcome, retry_after, result.is_ok());
        result
    }
}

/// Tells `guard` of a call that has ended.
///
/// An error that is judged a success, such as a "not found" from a generated gRPC client, is what
/// the callee answered.
#[inline]
pub(crate) fn tell(
    mut guard: impl Guard,
    outcome: Outcome,
    retry_after: Option<Duration>,
    responded: bool,
) {
    let answered = responded || outcome == Outcome::Success;
    if answered && retry_after.is_none() {
        return guard.finish_answered(outcome);
    }
    if answered {
        guard.answered();
    }
    if let Some(wait) = retry_after {
        guard.retry_after(wait);
    }
    guard.finish(outcome);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Error, Reason};

    struct Told<'a>(&'a mut Vec<&'static str>);

    impl Guard for Told<'_> {
        fn answered(&mut self) {
            self.0.push("answered");
        }
        fn finish(self, outcome: Outcome) {
            self.0.push(match outcome {
                Outcome::Success => "success",
                Outcome::Failure => "failure",
                Outcome::Ignored => "ignored",
            });
        }
    }

    #[test]
    fn a_response_is_an_answer_and_an_error_is_none() {
        let mut told = Vec::new();
        let ok: Result<(), std::io::Error> = Ok(());
        AtResult(AnyError).track(ok, Told(&mut told)).unwrap();
        assert_eq!(told, ["answered", "success"]);

        let mut told = Vec::new();
        let reset: Result<(), _> = Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset));
        AtResult(AnyError).track(reset, Told(&mut told)).unwrap_err();
        assert_eq!(told, ["failure"]);
    }

    #[test]
    fn an_error_that_is_judged_a_success_is_an_answer() {
        let mut told = Vec::new();
        let not_found: Result<(), u16> = Err(404);
        let all_is_well = |_: Result<&(), &u16>| Outcome::Success;
        AtResult(all_is_well).track(not_found, Told(&mut told)).unwrap_err();
        assert_eq!(told, ["answered", "success"]);
    }

    #[test]
    fn a_rejection_is_ignored_however_deep_it_is_wrapped() {
        let inner: Error<std::io::Error> = Rejection::new(Reason::CircuitOpen).into();
        let outer: Error<Error<std::io::Error>> = Error::Inner(inner);
        assert_eq!(Classify::<(), _>::classify(&AnyError, Err(&outer)), Outcome::Ignored);
    }
}
