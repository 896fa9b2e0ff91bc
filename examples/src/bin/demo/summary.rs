//! What the run came to, for somebody who looked away.

use std::fmt::Write as _;

use crate::{
    faults::{Kind, RUSH_FACTOR},
    meter::Figures,
    record::Record,
    view::words::{grouped, millis},
};

/// A few lines of text.
pub(crate) fn text(record: &Record) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = write(&mut text, record);
    text
}

fn write(text: &mut String, record: &Record) -> std::fmt::Result {
    let run = &record.run;
    let calls = record.grpc.calls + record.http.calls;
    writeln!(
        text,
        "\n{} calls in {:.1} s through two clients{} (registry {}, seed {})\n",
        grouped(calls),
        run.ran_s,
        story(record),
        run.registry,
        run.seed,
    )?;
    writeln!(
        text,
        "        {:>9} {:>7} {:>9} {:>9} {:>9} {:>9}",
        "calls", "failed", "calls/s", "p50", "p99", "p99.9"
    )?;
    for (name, figures) in [("gRPC", &record.grpc), ("HTTP", &record.http)] {
        figures_line(text, name, figures)?;
    }
    let errors = record.errors();
    writeln!(text)?;
    match errors {
        0 => writeln!(text, "  No caller saw an error.")?,
        _ => writeln!(text, "  {} calls failed for their callers.", grouped(errors))?,
    }
    if record.retries > 0 {
        let attempts = grouped(record.retries);
        writeln!(text, "  {attempts} attempts were made again on another server, unseen.")?;
    }
    let limiter = record.limiter;
    write!(text, "  The limiter let {} calls through and", grouped(limiter.allowed))?;
    match limiter.rejected {
        0 => writeln!(text, " refused none.")?,
        some if run.ran_s > run.rush_s.0 => writeln!(
            text,
            " refused {}, at {:.0} s when callers asked for {RUSH_FACTOR} times as much.",
            grouped(some),
            run.rush_s.0
        )?,
        some => writeln!(text, " refused {}.", grouped(some))?,
    }
    writeln!(text)?;
    for row in &record.endpoints {
        writeln!(
            text,
            "  {}  {:>7} attempts  {:>5} failed  left alone {}",
            row.id,
            grouped(row.calls),
            grouped(row.errors),
            match row.ejections {
                0 => "never".to_owned(),
                1 => "once".to_owned(),
                times => format!("{times} times"),
            }
        )?;
    }
    Ok(())
}

fn figures_line(text: &mut String, name: &str, of: &Figures) -> std::fmt::Result {
    let (calls, errors) = (grouped(of.calls), grouped(of.errors));
    let (p50, p99, p999) = (millis(of.p50_ms), millis(of.p99_ms), millis(of.p999_ms));
    let rate = of.calls_per_s;
    writeln!(text, "  {name:<6}{calls:>9} {errors:>7} {rate:>9.1} {p50:>9} {p99:>9} {p999:>9}")
}

/// What was done to the servers, as far as the run got.
fn story(record: &Record) -> String {
    let told = record.faults.iter().filter_map(|fault| match fault.kind {
        Kind::Kill => Some("one server was killed"),
        Kind::Hang => Some("one hung"),
        Kind::Slow => Some("one slowed"),
        Kind::Restart | Kind::Resume | Kind::Normal => None,
    });
    match &*told.collect::<Vec<_>>() {
        [] => String::new(),
        [only] => format!(" while {only}"),
        [first @ .., last] => format!(" while {} and {last}", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::record::tests::run;

    #[test]
    fn a_run_that_was_stopped_early_tells_only_what_was_done() {
        let mut record = Record::new(run(), ["orders-1"]);
        assert!(!text(&record).contains("while"), "{}", text(&record));
        record.fault(Duration::from_secs(1), Kind::Kill, "orders-1", "killed".into());
        record.fault(Duration::from_secs(2), Kind::Hang, "orders-1", "hung".into());
        assert!(text(&record).contains("while one server was killed and one hung"));
    }

    #[test]
    fn failed_calls_are_said_first() {
        let mut record = Record::new(run(), ["orders-1"]);
        assert!(text(&record).contains("No caller saw an error."));
        record.grpc.errors = 3;
        assert!(text(&record).contains("3 calls failed for their callers."));
    }
}
