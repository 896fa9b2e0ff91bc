//! The page itself.

use std::{collections::BTreeSet, error::Error, fmt::Write};

use crate::{
    areas::{Area, Areas, Group, Row, Target},
    compare::{Comparison, Verdict},
    machine::{Machine, day},
    measured::{Measured, Median},
};

const INTRODUCTION: &str = "\
# Benchmarks

Each of our primitives beside the crates that a user would pick instead, in one run of one program.
`scripts/bench` writes this page; what it says is in `areas.toml` and in what criterion measured.

## How to run

```sh
scripts/bench                                           # all, then this page
scripts/bench circuit_breaker                           # one area; the others keep their figures
cargo bench -p seawall-benches --bench circuit_breaker  # without the page
```

The peers build C code: the script installs cmake and make where it may, and says so where it may
not.

## How to read

A figure is the median time of one iteration. `ratio` is ours to the peer's, less is faster; in a
group with a `bare` column both are relieved of what the bare service costs, since it is the same
service. Groups whose names end in `_2_threads` have two threads at one shared object, and the
figure is time per call per thread. A target that is missed says so.

Compare ratios, not figures: another machine, or the same one at a busier time, has other figures.
Differences of a few percent are noise.
";

/// The page. An area of which nothing was measured here keeps its section of the page `before`.
pub(crate) fn page(
    areas: &Areas,
    measured: &Measured,
    machine: &Machine,
    before: &str,
) -> Result<String, Box<dyn Error>> {
    let mut page = INTRODUCTION.to_owned();
    for area in &areas.area {
        let mut rows = Vec::new();
        for group in &area.group {
            for row in &group.rows {
                rows.push((group, row, Comparison::of(group, row, measured)?));
            }
        }
        let (rows, missing): (Vec<_>, Vec<_>) =
            rows.into_iter().partition(|(.., comparison)| comparison.ours.is_some());
        let missing: BTreeSet<_> = missing.iter().map(|(group, ..)| &*group.name).collect();
        let heading = format!("## {}\n", area.title);
        page.push('\n');
        match (&*rows, kept(before, &heading)) {
            ([], Some(section)) => page.push_str(section),
            _ => {
                page.push_str(&(heading + &section(area, &rows, &missing, machine)?));
                if let Some(program) = &area.program {
                    let none = || format!("Not run yet: `{program}`.");
                    let printed = measured.printed(program)?.unwrap_or_else(none);
                    writeln!(page, "\n{}", printed.trim())?;
                }
            }
        }
    }
    Ok(page)
}

/// The section of a page under this heading, the heading included.
fn kept<'a>(page: &'a str, heading: &str) -> Option<&'a str> {
    let start = page.find(&format!("\n{heading}"))? + 1;
    let end = page[start..].find("\n\n## ").map_or(page.len(), |end| start + end + 1);
    Some(&page[start..end])
}

fn section(
    area: &Area,
    rows: &[(&Group, &Row, Comparison)],
    missing: &BTreeSet<&str>,
    machine: &Machine,
) -> Result<String, Box<dyn Error>> {
    let mut text = format!("\n{}\n", area.about.trim());
    if rows.is_empty() {
        writeln!(text, "\nNot measured yet: `scripts/bench {}`.", area.bench)?;
        return Ok(text);
    }
    let crates: Vec<_> = area
        .crates
        .iter()
        .map(|name| format!("{name} {}", machine.version(name).unwrap_or("(not locked)")))
        .collect();
    writeln!(text, "\n{}: {}. Beside {}.", when(rows), machine, crates.join(", "))?;
    text.push_str("\n| group | bare | ours | peer | ratio | target | result |\n");
    text.push_str("|---|---:|---:|---:|---:|---:|---|\n");
    for (group, row, comparison) in rows {
        line(&mut text, group, row, comparison)?;
    }
    let count = |verdict| rows.iter().filter(|(.., row)| row.verdict == verdict).count();
    let (met, missed) = (count(Verdict::Met), count(Verdict::Missed));
    writeln!(text, "\nOf {} targets, {met} met.", met + missed)?;
    if !missing.is_empty() {
        let names: Vec<_> = missing.iter().map(|name| format!("`{name}`")).collect();
        writeln!(text, "\nNot measured yet: {}.", names.join(", "))?;
    }
    Ok(text)
}

fn when(rows: &[(&Group, &Row, Comparison)]) -> String {
    let days = || rows.iter().flat_map(|(.., comparison)| comparison.times()).map(day);
    match (days().min(), days().max()) {
        (Some(first), Some(last)) if first < last => format!("From {first} to {last}"),
        (_, last) => last.unwrap_or_default(),
    }
}

fn line(
    text: &mut String,
    group: &Group,
    row: &Row,
    comparison: &Comparison,
) -> Result<(), Box<dyn Error>> {
    let bare = if group.bare { figure(comparison.bare) } else { String::new() };
    let mut ours = figure(comparison.ours);
    if row.ours != "seawall" {
        ours = format!("{}: {ours}", row.ours);
    }
    let peer = match &comparison.peer {
        _ if row.peers.is_empty() => String::new(),
        None => format!("{}: {}", row.peers.join(", "), figure(None)),
        Some((name, median)) => format!("{name}: {}", time(median.nanos)),
    };
    let ratio = comparison.ratio.map(|ratio| format!("{ratio:.2}")).unwrap_or_default();
    let target = match row.at_most {
        None => String::new(),
        Some(Target::Ratio(most)) => format!("≤ {most:?}"),
        Some(Target::Nanos(most)) => format!("≤ {}", time(most)),
    };
    let verdict = match comparison.verdict {
        Verdict::NoTarget => "",
        Verdict::Unknown => "unknown",
        Verdict::Met => "met",
        Verdict::Missed => "**missed**",
    };
    writeln!(
        text,
        "| `{}` | {bare} | {ours} | {peer} | {ratio} | {target} | {verdict} |",
        group.name
    )?;
    Ok(())
}

fn figure(median: Option<Median>) -> String {
    median.map_or_else(|| "not measured".to_owned(), |median| time(median.nanos))
}

/// Three digits of a time, in the unit that fits.
fn time(nanos: f64) -> String {
    let (value, unit) = match nanos {
        ..1e3 => (nanos, "ns"),
        ..1e6 => (nanos / 1e3, "µs"),
        ..1e9 => (nanos / 1e6, "ms"),
        _ => (nanos / 1e9, "s"),
    };
    let decimals = match value {
        ..10.0 => 2,
        ..100.0 => 1,
        _ => 0,
    };
    format!("{value:.decimals$} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_ends_where_the_next_begins() {
        let page = "# Title\n\n## One\n\n| a |\n\n## Two\n\nlast\n";
        assert_eq!(kept(page, "## One\n"), Some("## One\n\n| a |\n"));
        assert_eq!(kept(page, "## Two\n"), Some("## Two\n\nlast\n"));
        assert_eq!(kept(page, "## Three\n"), None);
    }

    #[test]
    fn a_time_has_three_digits_and_the_unit_that_fits() {
        assert_eq!(time(1.3579), "1.36 ns");
        assert_eq!(time(257.3), "257 ns");
        assert_eq!(time(7_900.0), "7.90 µs");
        assert_eq!(time(20e6), "20.0 ms");
        assert_eq!(time(2e9), "2.00 s");
    }
}
