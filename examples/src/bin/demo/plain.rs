//! One line a second, for pipes and logs.

use crate::{
    faults::Kind,
    library::Breaker,
    record::{Record, What, Window},
    view::words::{grouped, millis},
};

/// The second that ends at `at_s`.
pub(crate) fn line(record: &Record, at_s: f64, windows: &[Window], done: &[String]) -> String {
    let seen = |pick: fn(&Window) -> (f64, f64)| {
        let rate: f64 = windows.iter().map(|window| pick(window).0).sum();
        let slowest = windows.iter().map(|window| pick(window).1).fold(0.0, f64::max);
        (rate / windows.len().max(1) as f64, slowest)
    };
    let (grpc, grpc_p99) = seen(|window| (window.grpc.calls_per_s, window.grpc.p99_ms));
    let (http, http_p99) = seen(|window| (window.http.calls_per_s, window.http.p99_ms));
    let mut line = format!(
        "{at_s:4.0} s  gRPC {grpc:4.0}/s p99 {:>8}  HTTP {http:4.0}/s p99 {:>8}  failed {}  refused {}",
        millis(grpc_p99),
        millis(http_p99),
        grouped(record.errors()),
        grouped(record.limiter.rejected),
    );
    for row in &record.endpoints {
        let condition = row.condition.name();
        line.push_str(&format!("  {} {condition}", row.id));
        if [row.grpc, row.http].contains(&Breaker::Open) {
            line.push_str(" (breaker open)");
        }
    }
    if !done.is_empty() {
        line.push_str("  <- ");
        line.push_str(&done.join(", "));
    }
    line
}

/// What was done to the servers from `from` on, in few words.
pub(crate) fn done(record: &Record, from: usize) -> Vec<String> {
    let events = record.events.iter().skip(from);
    let done = events.filter_map(|event| match (&event.what, &event.endpoint) {
        (What::Demo(kind), Some(endpoint)) => Some(format!("{} {endpoint}", verb(*kind))),
        (What::Rush, _) => Some("rush".to_owned()),
        (What::Caller, _) => Some(event.text.clone()),
        _ => None,
    });
    done.collect()
}

fn verb(kind: Kind) -> &'static str {
    match kind {
        Kind::Kill => "kill",
        Kind::Restart => "restart",
        Kind::Hang => "hang",
        Kind::Resume => "resume",
        Kind::Slow => "slow",
        Kind::Normal => "normal",
    }
}
