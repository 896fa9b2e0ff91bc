//! What can be wrong with one direction of a connection.

use std::num::NonZeroU64;
use std::time::Duration;

/// What is wrong with one direction of the connections through a
/// [`FaultProxy`](super::FaultProxy).
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use seawall_test_support::Faults;
///
/// let slow = Faults { latency: Duration::from_millis(200), ..Faults::NONE };
/// assert!(!slow.black_hole);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// Each chunk arrives this much later. Chunks on their way keep the latency they left with.
    pub latency: Duration,
    /// Up to this much is added to the latency of each chunk, at random. Order is kept.
    pub jitter: Duration,
    /// Bytes pass at this rate at most, in bytes per second.
    pub bytes_per_second: Option<NonZeroU64>,
    /// Nothing passes, not even an end or a reset, and it flows on when this is taken away.
    /// Connections are still accepted, and writes succeed until the buffers in between are full.
    pub black_hole: bool,
    /// The connection is reset, on both sides, after this many bytes of it in this direction; with
    /// 0, at once.
    pub reset_after_bytes: Option<u64>,
    /// The receiver sees the end of the stream after this many bytes of it, and the rest is
    /// dropped; with 0, at once. The other direction goes on.
    pub half_close_after_bytes: Option<u64>,
}

impl Faults {
    /// A healthy network.
    pub const NONE: Self = Self {
        latency: Duration::ZERO,
        jitter: Duration::ZERO,
        bytes_per_second: None,
        black_hole: false,
        reset_after_bytes: None,
        half_close_after_bytes: None,
    };

    /// Nothing passes until this is taken away.
    pub const BLACK_HOLE: Self = Self { black_hole: true, ..Self::NONE };
}
