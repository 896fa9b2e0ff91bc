//! What a limit tells those who watch it.

/// Watches a limit: [`ConcurrencyLimit::observed_by`](super::ConcurrencyLimit::observed_by).
///
/// Every method does nothing unless implemented. They run on the thread whose call caused the event,
/// outside any lock of the limit, so they may use it; they should be quick and must not panic. Two
/// threads may tell of two changes in either order.
pub trait Observer: Send + Sync {
    /// The limit moved, by itself or by hand.
    fn limit_changed(&self, name: Option<&str>, from: u32, to: u32) {
        let _ = (name, from, to);
    }

    /// A call was rejected.
    fn rejected(&self, name: Option<&str>, refusal: Refusal) {
        let _ = (name, refusal);
    }
}

/// Why a call was rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Refusal {
    /// As many calls as may be are in flight, and this one was not to wait.
    Full,
    /// As many calls as may wait do so.
    QueueFull,
    /// Its turn did not come in time.
    WaitedTooLong,
}

impl Refusal {
    /// The form that logs and metrics use, such as `queue_full`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::QueueFull => "queue_full",
            Self::WaitedTooLong => "waited_too_long",
        }
    }
}
