//! Answers per second and the slowest of them, over the whole run, with the faults marked.

use ratatui::{
    buffer::Buffer,
    layout::{Constraint, Layout, Rect},
    style::{Color, Style},
};

use super::{View, words};
use crate::record::Record;

/// Room for the labels of an axis.
const AXIS: u16 = 8;

/// Eighths of a cell, from empty to full.
const EIGHTHS: [&str; 9] = [" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"];

/// The latency axis is logarithmic and goes from here ...
const LEAST_MS: f64 = 1.0;
/// ... to here, the longest that a call with the demo's policy can take.
const MOST_MS: f64 = 2000.0;

/// What a column of a chart stands for.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Column {
    calls_per_s: f64,
    p99_ms: f64,
    errors: u64,
}

pub(super) fn draw(view: &View<'_>, area: Rect, buffer: &mut Buffer) {
    let [calls, gap, p99, marks] = Layout::vertical([
        Constraint::Fill(1),
        Constraint::Length(u16::from(area.height >= 10)),
        Constraint::Fill(1),
        Constraint::Length(1),
    ])
    .areas(area);
    let _ = gap;
    let columns = columns(view.record, area.width.saturating_sub(AXIS + 1));
    let busiest = columns.iter().flatten().map(|column| column.calls_per_s).fold(0.0, f64::max);
    let most = busiest.max(f64::from(view.record.run.rps)) * 1.05;

    axis(calls, buffer, [&format!("{most:.0}"), "calls/s", "0"]);
    axis(p99, buffer, ["2 s", "p99", "1 ms"]);
    for (place, column) in columns.iter().enumerate() {
        let Some(column) = column else { continue };
        let x = area.x + AXIS + place as u16;
        let (good, slow) = match column.errors {
            0 => (Color::Green, Color::Yellow),
            _ => (Color::Red, Color::Red),
        };
        bar(calls, x, column.calls_per_s / most, good, buffer);
        let decades = (MOST_MS / LEAST_MS).log10();
        let share = (column.p99_ms.max(LEAST_MS) / LEAST_MS).log10() / decades;
        if column.p99_ms > 0.0 {
            bar(p99, x, share.max(0.02), slow, buffer);
        }
    }
    mark(view.record, marks, buffer);
}

/// One column for each cell; `None` for those that the run has not come to.
fn columns(record: &Record, width: u16) -> Vec<Option<Column>> {
    let width = usize::from(width);
    let mut columns: Vec<Option<Column>> = vec![None; width];
    let mut from = 0;
    for window in &record.windows {
        let share = window.at_s / record.run.duration_s;
        let to = ((share * width as f64).round() as usize).clamp(from, width);
        let here = Column {
            calls_per_s: window.grpc.calls_per_s + window.http.calls_per_s,
            p99_ms: window.grpc.p99_ms.max(window.http.p99_ms),
            errors: window.grpc.errors + window.http.errors,
        };
        // More windows than cells: the worst of a cell shows, in the cell before.
        let before = if to == from { columns.get_mut(from.saturating_sub(1)) } else { None };
        if let Some(Some(last)) = before {
            last.p99_ms = last.p99_ms.max(here.p99_ms);
            last.errors += here.errors;
        }
        columns[from..to].fill(Some(here));
        from = to;
    }
    columns
}

/// Top, middle and bottom of an axis.
fn axis(area: Rect, buffer: &mut Buffer, labels: [&str; 3]) {
    let width = usize::from(AXIS.saturating_sub(1));
    let rows = [0, area.height / 2, area.height.saturating_sub(1)];
    for (place, (label, row)) in labels.iter().zip(rows).enumerate() {
        // In a very low chart the middle one gives way.
        if row >= area.height || (place == 1 && area.height < 3) {
            continue;
        }
        let text = format!("{label:>width$}");
        buffer.set_stringn(area.x, area.y + row, text, width, Style::new().fg(Color::DarkGray));
    }
}

fn bar(area: Rect, x: u16, share: f64, color: Color, buffer: &mut Buffer) {
    let eighths = (share.clamp(0.0, 1.0) * f64::from(area.height) * 8.0).round() as usize;
    for row in 0..area.height {
        let below = usize::from(area.height - 1 - row) * 8;
        let full = eighths.saturating_sub(below).min(8);
        if let (1.., Some(cell)) = (full, buffer.cell_mut((x, area.y + row))) {
            cell.set_symbol(EIGHTHS[full]).set_fg(color);
        }
    }
}

/// The faults under the time at which they were done.
fn mark(record: &Record, area: Rect, buffer: &mut Buffer) {
    if area.height == 0 {
        return;
    }
    let width = area.width.saturating_sub(AXIS + 1);
    let place = |at_s: f64| {
        let share = (at_s / record.run.duration_s).clamp(0.0, 1.0);
        area.x + AXIS + (share * f64::from(width.saturating_sub(1))).round() as u16
    };
    let mut marks: Vec<_> = record
        .faults
        .iter()
        .map(|fault| {
            let (sign, name, color) = words::fault(fault.kind);
            (place(fault.at_s), sign, name, color)
        })
        .collect();
    if record.run.ran_s >= record.run.rush_s.0 {
        marks.push((place(record.run.rush_s.0), "»", "rush", Color::Yellow));
    }
    let ends: Vec<_> = marks.iter().skip(1).map(|mark| mark.0).chain([area.right()]).collect();
    for ((x, sign, name, color), end) in marks.into_iter().zip(ends) {
        let room = usize::from(end.saturating_sub(x));
        let fits = name.len() + 2 <= room;
        let text = format!("{sign}{}", if fits { name } else { "" });
        buffer.set_stringn(x, area.y, text, room, Style::new().fg(color));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        meter::Figures,
        record::{Window, tests::run},
    };

    fn record(windows: &[(f64, f64, u64)]) -> Record {
        let mut record = Record::new(run(), [""; 0]);
        record.windows = windows
            .iter()
            .map(|&(at_s, p99_ms, errors)| Window {
                at_s,
                retries: 0,
                grpc: Figures { p99_ms, errors, calls_per_s: 10.0, ..Figures::default() },
                http: Figures::default(),
                endpoints: Vec::new(),
            })
            .collect();
        record
    }

    #[test]
    fn columns_stand_for_equal_times_and_the_future_is_empty() {
        let columns = columns(&record(&[(5.0, 1.0, 0), (10.0, 2.0, 0)]), 8);
        let p99: Vec<_> = columns.iter().map(|column| column.map(|column| column.p99_ms)).collect();
        assert_eq!(p99[..4], [Some(1.0), Some(1.0), Some(2.0), Some(2.0)]);
        assert_eq!(p99[4..], [None; 4]);
    }

    #[test]
    fn an_error_shows_however_narrow_the_chart_is() {
        let windows: Vec<_> =
            (1..=100).map(|n| (f64::from(n) / 5.0, 1.0, u64::from(n == 50))).collect();
        let errors: u64 = columns(&record(&windows), 7).iter().flatten().map(|c| c.errors).sum();
        assert!(errors >= 1);
    }
}
