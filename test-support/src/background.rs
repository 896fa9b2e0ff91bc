//! A runtime on a thread of its own.

use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::oneshot;

/// Work that runs on a runtime and thread of its own until it is dropped; every socket and task of
/// it is gone when the drop returns.
///
/// So it goes by real time under a paused clock, its allocations are not the test's, and a test
/// that blocks its own runtime does not block it.
#[derive(Debug)]
pub(crate) struct Background {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Background {
    pub(crate) fn spawn<F>(
        name: &str,
        work: impl FnOnce() -> F + Send + 'static,
    ) -> io::Result<Self>
    where
        F: Future<Output = ()>,
    {
        let (stop, stopped) = oneshot::channel::<()>();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = thread::Builder::new().name(name.to_owned()).spawn(move || {
            runtime.block_on(async move {
                tokio::select! {
                    () = work() => {}
                    _ = stopped => {}
                }
            });
        })?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic of the work was printed when it happened.
            let _ = thread.join();
        }
    }
}

/// Listens at `address` at once, so that a caller may connect as soon as this returns.
pub(crate) fn listen(address: SocketAddr) -> io::Result<StdListener> {
    let listener = StdListener::bind(address)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Starts a server anew at an address that it had. A connection that somebody made meanwhile may have
/// been given the port, and gives it back when it ends.
pub(crate) async fn restart<T>(mut run: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    for _ in 0..500 {
        match run() {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            started => return started,
        }
    }
    run()
}

/// Hands a listener to the runtime that this is called on.
pub(crate) fn adopt(listener: StdListener) -> TcpListener {
    TcpListener::from_std(listener).expect("the listener is non-blocking and the runtime has I/O")
}
