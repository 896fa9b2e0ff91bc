//! The endpoints: what was done to each, and what the clients make of it.

use ratatui::{
    buffer::Buffer,
    layout::{Constraint, Rect},
    style::{Color, Modifier, Style},
    text::{Line, Span},
    widgets::{Cell, Row, Table, Widget as _},
};

use super::words::{breaker, condition, grouped, millis};
use crate::record::{self, Record};

/// How long the bar of an endpoint is that gets all the calls.
const BAR: usize = 12;

/// One column of the table.
struct Column {
    title: &'static str,
    width: u16,
    /// Left out where the screen is narrow.
    wide: bool,
    /// The cell of an endpoint, given the calls per second of all.
    cell: fn(&record::Row, f64) -> Cell<'static>,
}

const fn column(
    title: &'static str,
    width: u16,
    cell: fn(&record::Row, f64) -> Cell<'static>,
) -> Column {
    Column { title, width, wide: false, cell }
}

const fn wide(
    title: &'static str,
    width: u16,
    cell: fn(&record::Row, f64) -> Cell<'static>,
) -> Column {
    Column { title, width, wide: true, cell }
}

const COLUMNS: [Column; 12] = [
    column(" endpoint", 14, |row, _| bold(format!(" {}", row.id))),
    wide("address", 15, |row, _| address(&row.address)),
    column("server", 9, |row, _| painted(condition(row.condition))),
    column("gRPC breaker", 12, |row, _| painted(breaker(row.grpc))),
    column("HTTP breaker", 12, |row, _| painted(breaker(row.http))),
    column("calls/s", 7, |row, _| right(format!("{:.0}", row.calls_per_s))),
    wide("", BAR as u16, |row, all| bar(row.calls_per_s, all)),
    wide("in flight", 9, |row, _| right(row.in_flight.to_string())),
    column("failed", 6, |row, _| failed(row)),
    wide("p50", 8, |row, _| latency(row.p50_ms)),
    column("p99", 8, |row, _| latency(row.p99_ms)),
    wide("weight", 6, |row, _| right(row.weight.to_string())),
];

pub(super) fn draw(record: &Record, area: Rect, buffer: &mut Buffer) {
    let all: f64 = record.endpoints.iter().map(|row| row.calls_per_s).sum();
    let whole: u16 = COLUMNS.iter().map(|column| column.width + 1).sum();
    let shown = || COLUMNS.iter().filter(|column| !column.wide || area.width + 1 >= whole);
    // Numbers stand to the right, and so do their titles.
    let head = shown().enumerate().map(|(place, column)| match column.title {
        title if place < 3 || title.ends_with("breaker") || title == "address" => Cell::from(title),
        title => right(title),
    });
    let head = Row::new(head).style(Style::new().fg(Color::DarkGray));
    let rows = record.endpoints.iter();
    let rows = rows.map(|row| Row::new(shown().map(|column| (column.cell)(row, all))));
    let widths = shown().map(|column| Constraint::Length(column.width));
    Table::new(rows, widths).header(head).column_spacing(1).render(area, buffer);
}

fn bold(text: String) -> Cell<'static> {
    Cell::from(text).style(Style::new().add_modifier(Modifier::BOLD))
}

fn address(address: &str) -> Cell<'static> {
    match address {
        "" => Cell::from("not registered").style(Style::new().fg(Color::DarkGray)),
        address => Cell::from(address.to_owned()),
    }
}

fn failed(row: &record::Row) -> Cell<'static> {
    let color = if row.errors_per_s > 0.0 { Color::Red } else { Color::Reset };
    right(grouped(row.errors)).style(Style::new().fg(color))
}

fn latency(of: Option<f64>) -> Cell<'static> {
    right(of.map_or("-".to_owned(), millis))
}

fn painted((text, color): (&'static str, Color)) -> Cell<'static> {
    Cell::from(text).style(Style::new().fg(color))
}

/// The share of an endpoint in all calls.
fn bar(calls_per_s: f64, all: f64) -> Cell<'static> {
    let share = if all > 0.0 { calls_per_s / all } else { 0.0 };
    let long = ((share * BAR as f64).round() as usize).min(BAR);
    Cell::from(Line::from(vec![
        Span::styled("▆".repeat(long), Style::new().fg(Color::Cyan)),
        Span::styled("·".repeat(BAR - long), Style::new().fg(Color::DarkGray)),
    ]))
}

fn right(text: impl Into<String>) -> Cell<'static> {
    Cell::from(Line::from(text.into()).right_aligned())
}
