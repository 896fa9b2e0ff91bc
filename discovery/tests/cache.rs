//! Starting from the last good sets on disk.

#![cfg(feature = "file")]
#![allow(clippy::unwrap_used)] // A helper of tests is no test to the lint.

use std::{fs, path::Path, time::Duration};

use seawall_core::Endpoint;
use seawall_discovery::{Cache, Publisher, Resolver, Watch};
use tokio::time::sleep;

const HOUR: Duration = Duration::from_secs(3_600);

/// A resolver of one service that the test moves.
#[derive(Clone)]
struct Moved(Publisher);

impl Resolver for Moved {
    fn watch(&self, _: &str) -> Watch {
        self.0.subscribe()
    }
}

async fn until(what: &str, mut look: impl FnMut() -> bool) {
    for _ in 0..800 {
        if look() {
            return;
        }
        sleep(Duration::from_millis(5)).await;
    }
    panic!("never {what}");
}

fn set(id: &str) -> Vec<Endpoint> {
    vec![Endpoint::new(id, "h:1".parse().unwrap()).with_weight(3).with_zone("z")]
}

fn watch(publisher: &Publisher, folder: &Path) -> Watch {
    Cache::new(Moved(publisher.clone()), folder, HOUR).unwrap().watch("orders")
}

fn stored(folder: &Path) -> String {
    fs::read_to_string(folder.join("orders.json")).unwrap_or_default()
}

#[tokio::test]
async fn a_start_without_the_registry_has_the_last_good_set_until_the_registry_answers() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("made/when/needed");
    let registry = Publisher::new();
    let first = watch(&registry, &folder);
    registry.publish(set("a"));
    until("stored", || stored(&folder).contains("\"a\"")).await;
    registry.publish(set("b"));
    until("stored again", || stored(&folder).contains("\"b\"")).await;
    drop(first);

    let registry = Publisher::new();
    registry.stale("connection refused");
    let second = watch(&registry, &folder);
    assert_eq!(second.ready(Duration::from_secs(4)).await.unwrap()[..], set("b"));
    assert!(second.state().to_string().ends_with("connection refused"), "{}", second.state());
    registry.publish(set("c"));
    until("fresh", || second.state().is_fresh()).await;
    assert_eq!(second.current()[..], set("c"));
    // What the registry said once is newer than what the disk holds, also when it goes down.
    registry.stale("down");
    until("stale", || !second.state().is_fresh()).await;
    assert_eq!(second.current()[..], set("c"));
    let files: Vec<_> = fs::read_dir(&folder).unwrap().collect();
    assert_eq!(files.len(), 1, "{files:?}");
}

#[tokio::test]
async fn a_file_that_is_corrupt_old_or_of_another_service_is_ignored() {
    let folder = tempfile::tempdir().unwrap();
    let registry = Publisher::new();
    let first = watch(&registry, folder.path());
    registry.publish(set("a"));
    until("stored", || !stored(folder.path()).is_empty()).await;
    drop(first);
    let good = stored(folder.path());
    let held_at = good.split("\"held_at\":").nth(1).unwrap().split(',').next().unwrap();
    for (bad, used) in [
        (good.clone(), 1),
        (good[..good.len() / 2].to_owned(), 0),
        (String::new(), 0),
        (good.replace("orders", "others"), 0),
        (good.replace(held_at, "1000000"), 0),
        (good.replace(held_at, "99999999999"), 1),
    ] {
        fs::write(folder.path().join("orders.json"), &bad).unwrap();
        let registry = Publisher::new();
        registry.stale("down");
        let watch = watch(&registry, folder.path());
        until("told", || watch.state().to_string().ends_with("down")).await;
        assert_eq!(watch.current().len(), used, "{bad}");
    }
    assert!(Cache::new(Moved(registry), folder.path(), Duration::ZERO).is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_reads_the_file_while_it_is_written_reads_a_whole_one() {
    let folder = tempfile::tempdir().unwrap();
    let registry = Publisher::new();
    // Two processes that share a folder differ in nothing that matters here.
    let watches = [watch(&registry, folder.path()), watch(&registry, folder.path())];
    registry.publish(set("first"));
    until("stored", || !stored(folder.path()).is_empty()).await;
    let mut read = 0;
    for n in 0..200 {
        registry.publish(set(&format!("{n:0100}")));
        let text = stored(folder.path());
        assert!(text.starts_with('{') && text.ends_with("]}"), "{text}");
        read += 1;
        sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(read, 200);
    let last = format!("{:0100}", 199);
    until("the last", || stored(folder.path()).contains(&last)).await;
    drop(watches);
    until("tidy", || fs::read_dir(folder.path()).unwrap().count() == 1).await;
}
