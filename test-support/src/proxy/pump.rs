//! One direction of one connection.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use super::Faults;

/// Read at once; the unit that latency applies to.
const CHUNK_BYTES: usize = 16 * 1024;
/// Chunks on their way. More would need more memory, fewer would bound the throughput at a high
/// latency: this is 4 MiB for each latency.
const CHUNKS_UNDERWAY: usize = 256;
/// A bounded rate is kept by passing what it allows in this time, then waiting as long.
const RATE_SLICE: Duration = Duration::from_millis(10);

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Closed,
    Reset,
}

/// What is on its way, with the time of its arrival.
struct Underway {
    due: Instant,
    what: What,
}

enum What {
    Data(Bytes),
    End,
    Reset,
}

/// Passes on the bytes of one direction as its faults allow.
pub(super) struct Pump<'a> {
    faults: watch::Receiver<Faults>,
    rng: fastrand::Rng,
    /// Bytes passed on, of all connections.
    total: &'a AtomicU64,
    /// Bytes passed on, of this one.
    sent: u64,
    /// The rate allows nothing before.
    next_slice: Instant,
}

impl<'a> Pump<'a> {
    pub(super) fn new(
        faults: watch::Receiver<Faults>,
        rng: fastrand::Rng,
        total: &'a AtomicU64,
    ) -> Self {
        Self { faults, rng, total, sent: 0, next_slice: Instant::now() }
    }

    /// Runs until the stream ended; an error is the end of the whole connection.
    pub(super) async fn run(mut self, from: ReadHalf<'_>, to: WriteHalf<'_>) -> Result<(), End> {
        let (send, receive) = mpsc::channel(CHUNKS_UNDERWAY);
        let rng = self.rng.fork();
        let reader = read(from, self.faults.clone(), rng, send);
        let writer = self.write(to, receive);
        tokio::pin!(reader, writer);
        tokio::select! {
            // Everything is read; what is on its way still arrives.
            () = reader => writer.await,
            ended = &mut writer => ended,
        }
    }

    async fn write(
        &mut self,
        mut to: WriteHalf<'_>,
        mut chunks: mpsc::Receiver<Underway>,
    ) -> Result<(), End> {
        let mut next: Option<Underway> = None;
        loop {
            // Every wait below comes back here, so that nothing passes against the faults as they
            // are now.
            let faults = *self.faults.borrow_and_update();
            if faults.black_hole {
                self.changed().await;
                continue;
            }
            if faults.reset_after_bytes.is_some_and(|bound| self.sent >= bound) {
                return Err(End::Reset);
            }
            if faults.half_close_after_bytes.is_some_and(|bound| self.sent >= bound) {
                let _ = to.shutdown().await;
                // The sender is not to notice.
                while let Some(chunk) = chunks.recv().await {
                    if matches!(chunk.what, What::Reset) {
                        return Err(End::Reset);
                    }
                }
                return Ok(());
            }
            let Some(underway) = &mut next else {
                tokio::select! {
                    chunk = chunks.recv() => match chunk {
                        Some(chunk) => next = Some(chunk),
                        None => return Ok(()),
                    },
                    () = self.changed() => {}
                }
                continue;
            };
            let limited = faults.bytes_per_second.is_some();
            let due = if limited { underway.due.max(self.next_slice) } else { underway.due };
            if due > Instant::now() {
                tokio::select! {
                    () = sleep_until(due) => {}
                    () = self.changed() => {}
                }
                continue;
            }
            match &mut underway.what {
                What::Reset => return Err(End::Reset),
                What::End => {
                    let _ = to.shutdown().await;
                    return Ok(());
                }
                What::Data(data) => {
                    let piece = data.len().min(self.allowance(&faults));
                    let written = tokio::select! {
                        written = to.write(&data[..piece]) => written,
                        () = self.changed() => continue,
                    };
                    // The receiver is gone.
                    let written = written.map_err(|_| End::Reset)?;
                    data.advance(written);
                    if data.is_empty() {
                        next = None;
                    }
                    self.count(written, &faults);
                }
            }
        }
    }

    /// The bytes that may pass before the faults have to be looked at again.
    fn allowance(&self, faults: &Faults) -> usize {
        let bounds = [faults.reset_after_bytes, faults.half_close_after_bytes];
        let until_break = bounds.into_iter().flatten().map(|bound| bound - self.sent).min();
        let slice = faults.bytes_per_second.map(|rate| {
            let bytes = u128::from(rate.get()) * RATE_SLICE.as_millis() / 1_000;
            u64::try_from(bytes).unwrap_or(u64::MAX).max(1)
        });
        let bytes = until_break.into_iter().chain(slice).min().unwrap_or(u64::MAX);
        usize::try_from(bytes).unwrap_or(usize::MAX)
    }

    fn count(&mut self, written: usize, faults: &Faults) {
        let written = written as u64;
        self.sent += written;
        // Relaxed: a gauge.
        self.total.fetch_add(written, Relaxed);
        if let Some(rate) = faults.bytes_per_second {
            let nanos = u128::from(written) * 1_000_000_000 / u128::from(rate.get());
            let time = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
            // Counted from when the slice was due, so that late wake-ups do not add up; but what
            // was not used before does not come as a burst either.
            let now = Instant::now();
            let from = if now - self.next_slice < RATE_SLICE { self.next_slice } else { now };
            self.next_slice = from + time;
        }
    }

    async fn changed(&mut self) {
        if self.faults.changed().await.is_err() {
            // The proxy is being dropped, and this with it.
            std::future::pending().await
        }
    }
}

/// Reads chunks and stamps them with the time of their arrival, until the end of the stream.
async fn read(
    mut from: ReadHalf<'_>,
    faults: watch::Receiver<Faults>,
    mut rng: fastrand::Rng,
    chunks: mpsc::Sender<Underway>,
) {
    let mut buffer = vec![0; CHUNK_BYTES];
    let mut last_due = Instant::now();
    loop {
        let what = match from.read(&mut buffer).await {
            Ok(0) => What::End,
            Ok(read) => What::Data(Bytes::copy_from_slice(&buffer[..read])),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => What::Reset,
        };
        let faults = *faults.borrow();
        let jitter = faults.jitter.mul_f64(rng.f64());
        last_due = last_due.max(Instant::now() + faults.latency + jitter);
        let last = !matches!(what, What::Data(_));
        if chunks.send(Underway { due: last_due, what }).await.is_err() || last {
            return;
        }
    }
}
