//! Last good sets on disk, for a start while the registry is down.

use std::{
    fmt,
    fmt::Write as _,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use seawall_core::{ConfigError, Endpoint};
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use crate::{Publisher, Resolver, Watch, WatchState, hub::Hub};

const AGE_MIN: Duration = Duration::from_secs(1);
const AGE_MAX: Duration = Duration::from_secs(365 * 24 * 60 * 60);
/// File systems take no longer names.
const NAME_MAX: usize = 200;

/// Keeps the last good set of another resolver on disk, and starts with it when that one does not
/// answer, marked stale.
///
/// As soon as the other resolver answers, its set is used and nothing of the disk. A file that is
/// older than the maximum age, or that cannot be read, is ignored with a warning in the log. Each
/// service has a file of its own in the folder, which is replaced as a whole; several processes may
/// share a folder, and the last to write wins.
///
/// Clones share watches.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use seawall_discovery::{Cache, Memory, Resolver as _};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let folder = folder.path();
/// let resolver = Cache::new(Memory::new(), folder, Duration::from_secs(24 * 60 * 60))?;
/// let watch = resolver.watch("orders");
/// # Ok(())
/// # }
/// ```
pub struct Cache<R> {
    inner: Arc<R>,
    folder: Arc<Path>,
    max_age: Duration,
    hub: Hub,
}

impl<R: Resolver> Cache<R> {
    /// Keeps the sets of `inner` in `folder`, which is made when it is first needed, and uses them
    /// for `max_age` after they were last known to hold: 1 s to 365 days.
    ///
    /// # Errors
    ///
    /// When `max_age` is out of its range.
    pub fn new(
        inner: R,
        folder: impl Into<PathBuf>,
        max_age: Duration,
    ) -> Result<Self, ConfigError> {
        if !(AGE_MIN..=AGE_MAX).contains(&max_age) {
            let value = format_args!("{max_age:?}");
            return Err(ConfigError::new("max_age", value, "1 s to 365 days"));
        }
        let folder = folder.into().into();
        Ok(Self { inner: Arc::new(inner), folder, max_age, hub: Hub::default() })
    }
}

impl<R: Resolver> Resolver for Cache<R> {
    fn watch(&self, service: &str) -> Watch {
        self.hub.watch(service, |publisher| {
            let watch = self.inner.watch(service);
            let shelf = Shelf {
                path: self.folder.join(file_name(service)),
                service: service.to_owned(),
                max_age: self.max_age,
            };
            tokio::spawn(follow(watch, shelf, publisher)).abort_handle()
        })
    }

    fn resolve_now(&self, service: &str) {
        self.inner.resolve_now(service);
    }
}

impl<R> Clone for Cache<R> {
    fn clone(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
            folder: Arc::clone(&self.folder),
            max_age: self.max_age,
            hub: self.hub.clone(),
        }
    }
}

impl<R> fmt::Debug for Cache<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache")
            .field("folder", &self.folder)
            .field("max_age", &self.max_age)
            .finish_non_exhaustive()
    }
}

async fn follow(watch: Watch, shelf: Shelf, publisher: Publisher) {
    let mut changes = watch.changes();
    let mut stand_in = if watch.state().is_fresh() { None } else { Some(shelf.load().await) };
    loop {
        match (watch.state(), &stand_in) {
            (WatchState::Fresh, _) => {
                stand_in = None;
                let set = watch.current();
                publisher.publish(set.to_vec());
                shelf.store(set).await;
            }
            (WatchState::Stale { why, .. }, None) => {
                publisher.publish_stale(watch.current().to_vec(), why);
            }
            (WatchState::Stale { why, .. }, Some(set)) => {
                publisher.publish_stale(set.clone(), why);
            }
        }
        // A set that holds for long without a change must not grow old on disk.
        let _ = timeout(shelf.max_age / 4, changes.next()).await;
    }
}

/// What one file holds.
#[derive(Serialize, Deserialize)]
struct Entry {
    service: String,
    /// When the set was last known to hold, in seconds since 1970.
    held_at: u64,
    endpoints: Vec<Endpoint>,
}

/// The place of one service on disk.
struct Shelf {
    path: PathBuf,
    service: String,
    max_age: Duration,
}

impl Shelf {
    /// The set that was stored, empty if there is none that can be used.
    async fn load(&self) -> Vec<Endpoint> {
        let path = self.path.clone();
        let read = tokio::task::spawn_blocking(move || fs::read(path)).await;
        let why = match read.map_err(io::Error::other).and_then(|read| read) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Vec::new(),
            Err(error) => error.to_string(),
            Ok(text) => match serde_json::from_slice::<Entry>(&text) {
                Err(error) => error.to_string(),
                Ok(entry) if entry.service != self.service => "another service's".to_owned(),
                Ok(entry) if now().saturating_sub(entry.held_at) > self.max_age.as_secs() => {
                    "too old".to_owned()
                }
                Ok(entry) => {
                    tracing::warn!(service = self.service, "watch starts from the disk");
                    return entry.endpoints;
                }
            },
        };
        tracing::warn!(path = ?self.path, why, "cached set is ignored");
        Vec::new()
    }

    async fn store(&self, set: Arc<[Endpoint]>) {
        let (path, service) = (self.path.clone(), self.service.clone());
        let write = move || -> io::Result<()> {
            let entry = Entry { service, held_at: now(), endpoints: set.to_vec() };
            let text = serde_json::to_vec(&entry)?;
            if let Some(folder) = path.parent() {
                fs::create_dir_all(folder)?;
            }
            // Unique, so that two processes do not write to one file at once.
            let new =
                path.with_extension(format!("{}-{:x}", std::process::id(), fastrand::u64(..)));
            let written = fs::write(&new, text).and_then(|()| fs::rename(&new, path));
            if written.is_err() {
                let _ = fs::remove_file(new);
            }
            written
        };
        let done = tokio::task::spawn_blocking(write).await.map_err(io::Error::other);
        if let Err(error) = done.and_then(|done| done) {
            tracing::warn!(path = ?self.path, %error, "set is not kept on disk");
        }
    }
}

/// Seconds since 1970.
fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// A name that every file system takes and that no other service has.
fn file_name(service: &str) -> String {
    let mut name = String::new();
    for byte in service.bytes() {
        if byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_') {
            name.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(name, "%{byte:02x}");
        }
    }
    // A file of a service whose name begins alike is told by the name inside.
    name.truncate(NAME_MAX);
    name + ".json"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_service_reaches_out_of_the_folder_or_into_the_file_of_another() {
        for service in ["../x", "/etc/passwd", ".", "..", "", "CON", "a\0b", "é"] {
            let name = file_name(service);
            let sound = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"%-_".contains(&b);
            let stem = name.strip_suffix(".json").unwrap();
            assert!(stem.bytes().all(sound), "{name}");
        }
        assert_ne!(file_name("A"), file_name("a"), "some file systems know no case");
        assert_ne!(file_name("a/b"), file_name("a%2fb"));
        assert!(file_name(&"x".repeat(1_000)).len() <= 205);
    }
}
