//! What is told of a run, line by line.

use std::time::Duration;

use serde::Serialize;

use super::seconds;
use crate::{
    faults::Kind,
    library::{Deed, DeedKind, Protocol},
};

/// What both clients do within this is told in one line.
const TOGETHER_S: f64 = 1.0;

/// Failed calls of one kind are told of once in this time; all of them are counted.
const ALIKE_S: f64 = 5.0;

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Event {
    pub(crate) at_s: f64,
    /// To which server.
    pub(crate) endpoint: Option<String>,
    #[serde(flatten)]
    pub(crate) what: What,
    pub(crate) text: String,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "by", content = "kind", rename_all = "lowercase")]
pub(crate) enum What {
    /// The demo did it to a server.
    Demo(Kind),
    /// The demo's callers asked for more than the limit allows.
    Rush,
    /// The clients did it.
    Seawall(DeedKind),
    /// A caller saw an error.
    Caller,
}

/// Tells what a client did; in one line when the other did the same just before.
pub(super) fn deed(events: &mut Vec<Event>, at: Duration, protocol: Protocol, deed: Deed) {
    let at_s = seconds(at);
    let (what, endpoint) = (What::Seawall(deed.kind), Some(deed.endpoint));
    let told = format!("{} {}", protocol.name(), deed.kind.text());
    let other = events.iter_mut().rev().find(|event| {
        event.at_s >= at_s - TOGETHER_S && event.what == what && event.endpoint == endpoint
    });
    match other {
        Some(event) if !event.text.starts_with(protocol.name()) => {
            event.text = format!("gRPC and HTTP {}", plural(deed.kind.text()));
        }
        _ => events.push(Event { at_s, endpoint, what, text: told }),
    }
}

/// Tells of a call that failed, unless one like it was told of just before.
pub(super) fn failed(events: &mut Vec<Event>, at: Duration, protocol: Protocol, failure: &str) {
    let at_s = seconds(at);
    let text = format!("a {} caller saw: {failure}", protocol.name());
    // How long to wait, or which port, makes no other kind of failure.
    let alike = |one: &str, other: &str| {
        let words = |text| {
            str::split_whitespace(text).filter(|word| !word.contains(|c: char| c.is_ascii_digit()))
        };
        words(one).eq(words(other))
    };
    let mut recent = events.iter().rev().take_while(|event| event.at_s >= at_s - ALIKE_S);
    if !recent.any(|event| event.what == What::Caller && alike(&event.text, &text)) {
        events.push(Event { at_s, endpoint: None, what: What::Caller, text });
    }
}

/// `text` said of both clients.
fn plural(text: &str) -> String {
    let text = text.replace("breaker opened", "breakers opened");
    let text = text.replace("breaker closed", "breakers closed");
    let text = text.replace("breaker lets", "breakers let");
    text.replace("follows it", "follow it")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_of_one_kind_are_told_once_in_a_while() {
        let mut events = Vec::new();
        for (second, failure) in [(1, "no answer in 40ms"), (2, "no answer in 1.5s"), (9, "reset")]
        {
            failed(&mut events, Duration::from_secs(second), Protocol::Grpc, failure);
            failed(&mut events, Duration::from_secs(second), Protocol::Grpc, failure);
        }
        let seconds: Vec<_> = events.iter().map(|event| event.at_s).collect();
        assert_eq!(seconds, [1.0, 9.0], "{events:?}");
        failed(&mut events, Duration::from_secs(12), Protocol::Grpc, "reset 104");
        assert_eq!(events.len(), 2, "{events:?}");
        failed(&mut events, Duration::from_secs(15), Protocol::Grpc, "reset");
        assert_eq!(events.len(), 3, "{events:?}");
    }
}
