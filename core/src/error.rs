//! The errors that the crates share.

use std::{borrow::Cow, error::Error as StdError, fmt};

use crate::Rejection;

/// An error of any type, as tower's middlewares return it.
pub type BoxError = Box<dyn StdError + Send + Sync>;

/// What a service of ours answers when there is no response.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error<E> {
    /// This layer refused the call; nothing was sent.
    Rejected(Rejection),
    /// The service inside failed.
    Inner(E),
}

impl<E> Error<E> {
    /// The refusal, when this layer made one; [`Rejection::find`] also sees those of layers inside.
    pub fn rejection(&self) -> Option<&Rejection> {
        match self {
            Self::Rejected(rejection) => Some(rejection),
            Self::Inner(_) => None,
        }
    }

    /// The error of the service inside, if it failed.
    ///
    /// # Errors
    ///
    /// The refusal, when this layer made one.
    pub fn into_inner(self) -> Result<E, Rejection> {
        match self {
            Self::Rejected(rejection) => Err(rejection),
            Self::Inner(error) => Ok(error),
        }
    }
}

impl<E> Error<Error<E>> {
    /// One error for two layers: either may have refused.
    pub fn flatten(self) -> Error<E> {
        match self {
            Self::Rejected(rejection) => Error::Rejected(rejection),
            Self::Inner(error) => error,
        }
    }
}

impl<E> From<Rejection> for Error<E> {
    fn from(rejection: Rejection) -> Self {
        Self::Rejected(rejection)
    }
}

impl<E: fmt::Display> fmt::Display for Error<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rejected(rejection) => rejection.fmt(f),
            Self::Inner(error) => error.fmt(f),
        }
    }
}

impl<E: StdError + 'static> StdError for Error<E> {
    /// The rejection or the inner error itself, so that a search by type finds it.
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(match self {
            Self::Rejected(rejection) => rejection,
            Self::Inner(error) => error,
        })
    }
}

/// A [`BoxError`] that implements [`std::error::Error`], which `Box<dyn Error>` does not.
///
/// Layers of ours look for a [`Rejection`] in the errors of the service inside, so they need a real
/// error type. Below them, tower's own time-out, buffer and limits answer with a box:
/// `.map_err(BoxedError::from)` between the two is all it takes.
#[derive(Debug)]
pub struct BoxedError(BoxError);

impl BoxedError {
    /// The box.
    pub fn into_inner(self) -> BoxError {
        self.0
    }
}

impl From<BoxError> for BoxedError {
    fn from(error: BoxError) -> Self {
        Self(error)
    }
}

impl fmt::Display for BoxedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl StdError for BoxedError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&*self.0)
    }
}

/// A configuration that was refused when it was built.
///
/// ```
/// use seawall_core::ConfigError;
///
/// let error = ConfigError::new("permitted_probes", 0, "1 to 65535");
/// assert_eq!(error.to_string(), "`permitted_probes` is 0, but must be 1 to 65535");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    field: Cow<'static, str>,
    value: String,
    allowed: Cow<'static, str>,
}

impl ConfigError {
    /// `field` has `value`, which is not among what is `allowed`.
    pub fn new(
        field: impl Into<Cow<'static, str>>,
        value: impl fmt::Display,
        allowed: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self { field: field.into(), value: value.to_string(), allowed: allowed.into() }
    }

    /// The name of the field, with the path to it where it is nested.
    pub fn field(&self) -> &str {
        &self.field
    }

    /// The value that was refused.
    pub fn value(&self) -> &str {
        &self.value
    }

    /// What would have been accepted.
    pub fn allowed(&self) -> &str {
        &self.allowed
    }

    /// The same error seen from a configuration that holds this one as `outer`.
    #[must_use]
    pub fn within(mut self, outer: &str) -> Self {
        self.field = format!("{outer}.{}", self.field).into();
        self
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is {}, but must be {}", self.field, self.value, self.allowed)
    }
}

impl StdError for ConfigError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Reason;

    #[test]
    fn a_boxed_error_still_shows_the_rejection_inside() {
        let boxed = BoxedError::from(BoxError::from(Rejection::new(Reason::NoEndpoint)));
        assert_eq!(Rejection::find(&boxed).map(Rejection::reason), Some(Reason::NoEndpoint));
    }

    #[test]
    fn a_nested_field_is_named_by_its_path() {
        let error = ConfigError::new("burst", 0, "at least 1").within("rate_limit");
        assert_eq!(error.field(), "rate_limit.burst");
    }
}
