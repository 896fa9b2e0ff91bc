//! What is left out or ignored is warned of, once.

#![cfg(all(feature = "consul", feature = "file"))]
#![allow(clippy::unwrap_used)] // A helper of tests is no test to the lint.

mod log;
mod scripted;

use std::{fs, time::Duration};

use log::Log;
use scripted::{Answer, Scripted, until};
use seawall_discovery::{Cache, Consul, File, Publisher, Resolver, Watch};

const BAD: &str = r#"[
    {"Node": {"Node": "n", "Address": "h"}, "Service": {"ID": "good", "Port": 1}},
    {"Node": {"Node": "n", "Address": "h"}, "Service": {"ID": "bad", "Port": 70000}}
]"#;

#[tokio::test]
async fn a_bad_instance_is_warned_of_once_however_often_it_comes() {
    let log = Log::default();
    let _guard = tracing::subscriber::set_default(log.clone());
    let server = Scripted::start(|number, _| match number {
        0 => Answer::json(BAD).header("X-Consul-Index", 1),
        // The same but for a space.
        1 => Answer::json(format!("{BAD} ")).header("X-Consul-Index", 2),
        _ => Answer::never(),
    })
    .await;
    let watch = Consul::new(&server.url()).unwrap().watch("orders");
    server.requests(3).await;
    assert_eq!(watch.current()[0].id().as_str(), "good");
    assert_eq!(watch.current().len(), 1);
    let text = log.text();
    assert_eq!(text.matches("instance is skipped").count(), 1, "{text}");
    assert!(text.contains("its port is 70000"), "{text}");
}

struct Down;

impl Resolver for Down {
    fn watch(&self, _: &str) -> Watch {
        Publisher::new().subscribe()
    }
}

#[tokio::test]
async fn a_corrupt_file_is_warned_of() {
    let log = Log::default();
    let _guard = tracing::subscriber::set_default(log.clone());
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("orders.json"), "{").unwrap();
    let _cached = Cache::new(Down, folder.path(), Duration::from_secs(60)).unwrap().watch("orders");
    until("warned of the cache", || log.text().contains("cached set is ignored")).await;
    let _file = File::new(folder.path().join("orders.json")).unwrap().watch("orders");
    until("warned of the file", || log.text().contains("watch keeps its last answer")).await;
}
