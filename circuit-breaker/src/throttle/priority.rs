//! How critical a call is.

/// How critical a call is: the four criticalities of *Site Reliability Engineering*, "Handling
/// Overload".
///
/// Less critical calls are shed first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
pub enum Priority {
    /// Its failure is a disaster, such as a payment that is half made.
    CriticalPlus,
    /// Its failure is seen by users. What calls are unless they say otherwise.
    #[default]
    Critical,
    /// Its partial unavailability is expected, such as that of batch jobs that try again in minutes.
    SheddablePlus,
    /// Its frequent unavailability is expected, such as that of prefetching.
    Sheddable,
}

impl Priority {
    /// From the most critical to the least.
    pub const ALL: [Self; 4] =
        [Self::CriticalPlus, Self::Critical, Self::SheddablePlus, Self::Sheddable];

    /// The form that logs, metrics and files use, such as `critical_plus`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CriticalPlus => "critical_plus",
            Self::Critical => "critical",
            Self::SheddablePlus => "sheddable_plus",
            Self::Sheddable => "sheddable",
        }
    }
}

impl std::fmt::Display for Priority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Says how critical a request is. Implemented for closures, and for a [`Priority`] that all requests
/// have.
pub trait Prioritize<Req> {
    /// The priority of `request`.
    fn priority(&self, request: &Req) -> Priority;
}

impl<Req, F: Fn(&Req) -> Priority> Prioritize<Req> for F {
    fn priority(&self, request: &Req) -> Priority {
        self(request)
    }
}

impl<Req> Prioritize<Req> for Priority {
    fn priority(&self, _: &Req) -> Priority {
        *self
    }
}

/// The [`Priority`] among the extensions of an HTTP or gRPC request; critical where there is none.
///
/// A `tonic::Request` passes its extensions on: `request.extensions_mut().insert(priority)`.
#[cfg(feature = "http")]
#[cfg_attr(docsrs, doc(cfg(feature = "http")))]
#[derive(Clone, Copy, Debug, Default)]
pub struct InExtensions;

#[cfg(feature = "http")]
impl<B> Prioritize<::http::Request<B>> for InExtensions {
    fn priority(&self, request: &::http::Request<B>) -> Priority {
        request.extensions().get().copied().unwrap_or_default()
    }
}
