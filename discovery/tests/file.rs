//! Following a file that is written, replaced, cut short and deleted.

#![cfg(feature = "file")]
#![allow(clippy::unwrap_used)] // A helper of tests is no test to the lint.

use std::{fs, path::Path, time::Duration};

use seawall_discovery::{File, Resolver as _, Watch, WatchState};
use tokio::time::sleep;

async fn until(what: &str, mut look: impl FnMut() -> bool) {
    for _ in 0..800 {
        if look() {
            return;
        }
        sleep(Duration::from_millis(5)).await;
    }
    panic!("never {what}");
}

fn ports(watch: &Watch) -> Vec<u16> {
    watch.current().iter().map(|endpoint| endpoint.address().port()).collect()
}

fn replace(path: &Path, text: &str) {
    let new = path.with_extension("new");
    fs::write(&new, text).unwrap();
    fs::rename(new, path).unwrap();
}

#[tokio::test]
async fn every_way_to_change_a_file_is_seen_and_a_bad_one_keeps_the_last_good_set() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("endpoints.json");
    let watch = File::new(&path).unwrap().watch("s");
    until(
        "missing",
        || matches!(watch.state(), WatchState::Stale { why, .. } if why.contains("endpoints.json")),
    )
    .await;

    fs::write(&path, r#"{"s": ["h:1"]}"#).unwrap();
    until("created", || ports(&watch) == [1]).await;
    assert!(watch.state().is_fresh());
    fs::write(&path, r#"{"s": ["h:1", "h:2"]}"#).unwrap();
    until("written in place", || ports(&watch) == [1, 2]).await;
    replace(&path, r#"{"s": ["h:3"]}"#);
    until("replaced", || ports(&watch) == [3]).await;

    fs::write(&path, r#"{"s": ["h:4""#).unwrap();
    until("half-written", || !watch.state().is_fresh()).await;
    assert_eq!(ports(&watch), [3]);
    fs::write(&path, r#"{"s": ["h:4"]}"#).unwrap();
    until("completed", || ports(&watch) == [4] && watch.state().is_fresh()).await;

    fs::remove_file(&path).unwrap();
    until("deleted", || !watch.state().is_fresh()).await;
    assert_eq!(ports(&watch), [4]);
    replace(&path, r#"{"s": []}"#);
    until("emptied by intent", || ports(&watch).is_empty() && watch.state().is_fresh()).await;
}

#[cfg(unix)]
#[tokio::test]
async fn a_link_that_is_replaced_is_seen_as_kubernetes_does_it() {
    use std::os::unix::fs::symlink;
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for (name, port) in [("1", 1), ("2", 2)] {
        fs::create_dir(at(name)).unwrap();
        fs::write(at(name).join("endpoints.json"), format!(r#"{{"s": ["h:{port}"]}}"#)).unwrap();
    }
    symlink("1", at("..data")).unwrap();
    symlink("..data/endpoints.json", at("endpoints.json")).unwrap();
    let watch = File::new(at("endpoints.json")).unwrap().watch("s");
    until("read", || ports(&watch) == [1]).await;
    symlink("2", at("..data_new")).unwrap();
    fs::rename(at("..data_new"), at("..data")).unwrap();
    until("read again", || ports(&watch) == [2]).await;
}

#[test]
fn a_path_that_names_no_file_is_refused() {
    assert_eq!(File::new("/").unwrap_err().field(), "path");
}
