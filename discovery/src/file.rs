//! A JSON file that is watched.

use std::{
    collections::HashMap,
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use seawall_core::{Address, ConfigError, Endpoint};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::{sync::Notify, time::timeout};

use crate::{Publisher, Resolver, Watch, hub::Hub};

/// Writers come in bursts of events; the last of one is waited for this long.
const SETTLE: Duration = Duration::from_millis(20);
/// Some file systems, such as those over a network, tell nothing; these are looked at this often.
const LOOK: Duration = Duration::from_secs(5);
/// Nobody lists endpoints at this size by intent.
const SIZE_MAX: u64 = 64 << 20;

/// A resolver that reads a JSON file, and reads it again whenever it changes.
///
/// ```json
/// {
///     "orders": ["10.0.0.1:50051", {"id": "b", "address": "10.0.0.2:50051", "weight": 3}],
///     "users": []
/// }
/// ```
///
/// An endpoint is an address, which then is its id too, or an object with `id`, `address` and, as it
/// pleases, `weight`, `zone`, `priority`, `health` (`passing`, `warning`), `tags` and `metadata`.
/// One that makes no sense is skipped with a warning in the log, and so is one that is `critical` or
/// in `maintenance`, without a warning.
///
/// A file that is missing, half-written or no JSON leaves the last good set in use, marked stale. It
/// may be written in place, replaced by renaming another over it, or reached over a symbolic link
/// that is replaced, as Kubernetes does with mounted `ConfigMap`s. Where the file system tells of
/// no change, the file is looked at every 5 s.
///
/// Clones share watches.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use seawall_discovery::{File, Resolver as _};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("endpoints.json");
/// std::fs::write(&path, r#"{"orders": ["10.0.0.1:50051"]}"#)?;
/// let file = File::new(&path)?;
/// let endpoints = file.watch("orders").ready(Duration::from_secs(5)).await?;
/// assert_eq!(endpoints[0].address().port(), 50051);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct File {
    path: Arc<Path>,
    hub: Hub,
}

impl File {
    /// Reads the file at `path`, which need not exist yet.
    ///
    /// # Errors
    ///
    /// When `path` names no file.
    pub fn new(path: impl Into<PathBuf>) -> Result<Self, ConfigError> {
        let path = path.into();
        if path.file_name().is_none() {
            let value = format_args!("{path:?}");
            return Err(ConfigError::new("path", value, "the path of a file"));
        }
        Ok(Self { path: path.into(), hub: Hub::default() })
    }
}

impl Resolver for File {
    fn watch(&self, service: &str) -> Watch {
        self.hub.watch(service, |publisher| {
            let (path, service) = (Arc::clone(&self.path), service.to_owned());
            tokio::spawn(follow(path, service, publisher)).abort_handle()
        })
    }
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("File").field("path", &self.path).finish_non_exhaustive()
    }
}

async fn follow(path: Arc<Path>, service: String, publisher: Publisher) {
    let changed = Arc::new(Notify::new());
    let mut watcher = None;
    let mut last = None;
    loop {
        if watcher.is_none() {
            watcher = notice(&path, &changed);
        }
        let file = Arc::clone(&path);
        let text = match tokio::task::spawn_blocking(move || read(&file)).await {
            Ok(text) => text.map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        // Read again and again where no change is told of, and mostly the same.
        if last.as_ref() != Some(&text) {
            apply(&path, &service, &text, &publisher);
            last = Some(text);
        }
        // Whichever of the two comes first, the file is looked at.
        if timeout(LOOK, changed.notified()).await.is_ok() {
            while timeout(SETTLE, changed.notified()).await.is_ok() {}
        }
    }
}

/// Watches the folder, for a file that is replaced is another file. `None` while there is none.
fn notice(path: &Path, changed: &Arc<Notify>) -> Option<RecommendedWatcher> {
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    let changed = Arc::clone(changed);
    let tell = move |event: notify::Result<notify::Event>| {
        // Reading is an event too, and would go round in circles.
        if !event.is_ok_and(|event| event.kind.is_access()) {
            changed.notify_one();
        }
    };
    let watcher = notify::recommended_watcher(tell).and_then(|mut watcher| {
        watcher.watch(folder, RecursiveMode::NonRecursive)?;
        Ok(watcher)
    });
    watcher.inspect_err(|error| tracing::debug!(?folder, %error, "folder is not watched")).ok()
}

fn read(path: &Path) -> io::Result<String> {
    use std::io::Read as _;
    let mut text = String::new();
    let size = std::fs::File::open(path)?.take(SIZE_MAX + 1).read_to_string(&mut text)?;
    if size as u64 > SIZE_MAX {
        return Err(io::Error::other(format!("it is larger than {SIZE_MAX} bytes")));
    }
    Ok(text)
}

fn apply(path: &Path, service: &str, text: &Result<String, String>, publisher: &Publisher) {
    let parsed = text.as_ref().map_err(String::clone);
    match parsed.and_then(|text| parse(text, service).map_err(|error| error.to_string())) {
        Ok((endpoints, skipped)) => {
            for why in skipped {
                tracing::warn!(?path, service, why, "endpoint is skipped");
            }
            publisher.publish(endpoints);
        }
        Err(error) => {
            let why = format!("{}: {error}", path.display());
            tracing::warn!(service, why, "watch keeps its last answer");
            publisher.stale(why);
        }
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Entry {
    Address(Address),
    Whole(Endpoint),
}

/// The endpoints of `service` in a file, and what is wrong with those that are left out.
fn parse(text: &str, service: &str) -> Result<(Vec<Endpoint>, Vec<String>), serde_json::Error> {
    use seawall_core::Health::{Critical, Maintenance};
    let services: HashMap<String, Vec<&RawValue>> = serde_json::from_str(text)?;
    let (mut endpoints, mut skipped) = (Vec::<Endpoint>::new(), Vec::new());
    for raw in services.get(service).into_iter().flatten() {
        let endpoint = match serde_json::from_str(raw.get()) {
            Ok(Entry::Address(address)) => Endpoint::new(address.to_string(), address),
            Ok(Entry::Whole(endpoint)) => endpoint,
            Err(_) => {
                skipped.push(format!("neither an address nor an endpoint: {raw}"));
                continue;
            }
        };
        if endpoints.iter().any(|other| other.id() == endpoint.id()) {
            skipped.push(format!("a second endpoint with the id {}", endpoint.id()));
        } else if !matches!(endpoint.health(), Critical | Maintenance) {
            endpoints.push(endpoint);
        }
    }
    Ok((endpoints, skipped))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_makes_no_sense_is_skipped_and_the_rest_is_used() {
        let text = r#"{"s": ["h:1", "h", 5, null, {"id": "b", "address": "h:2", "weight": 3},
            {"id": "b", "address": "h:3"}, {"id": "c", "address": "h:0"},
            {"id": "d", "address": "h:4", "health": "critical"}], "other": ["x:1"]}"#;
        let (endpoints, skipped) = parse(text, "s").unwrap();
        let read: Vec<_> = endpoints.iter().map(|e| (e.id().as_str(), e.weight())).collect();
        assert_eq!(read, [("h:1", 1), ("b", 3)]);
        assert_eq!(skipped.len(), 5, "{skipped:?}");
        assert_eq!(parse(text, "nobody").unwrap(), (vec![], vec![]));
        for end in 0..text.len() {
            assert!(parse(&text[..end], "s").is_err(), "cut at {end}");
        }
    }
}
