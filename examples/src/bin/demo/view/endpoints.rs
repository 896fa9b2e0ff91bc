//! The endpoints: what was done to each, and what the clients make of it.

use ratatui::{
    buffer::Buffer,
    layout::{Constraint, Rect},
    style::{Color, Modifier, Style},
    text::{Line, Span},
    widgets::{Cell, Row, Table, Widget as _},
};

use super::words::{breaker, condition, grouped, millis};
use crate::{
    library::Breaker,
    record::{self, Record},
};

/// How long the bar of an endpoint is that gets all the calls.
const BAR: usize = 12;

pub(super) fn draw(record: &Record, area: Rect, buffer: &mut Buffer) {
    let all: f64 = record.endpoints.iter().map(|row| row.calls_per_s).sum();
    let rows = record.endpoints.iter().map(|endpoint| row(endpoint, all));
    let head = [
        " endpoint",
        "address",
        "server",
        "gRPC breaker",
        "HTTP breaker",
        "calls/s",
        "",
        "in flight",
        "failed",
        "p50",
        "p99",
        "weight",
    ];
    let head = head.iter().enumerate().map(|(place, title)| match place {
        0..=4 | 6 => Cell::from(*title),
        _ => right(*title),
    });
    let bar = if area.width >= 130 { BAR as u16 } else { 0 };
    let widths = [13, 15, 10, 12, 12, 7, bar, 9, 7, 8, 8, 6].map(Constraint::Length);
    let head = Row::new(head).style(Style::new().fg(Color::DarkGray));
    Table::new(rows, widths).header(head).column_spacing(1).render(area, buffer);
}

fn row(endpoint: &record::Row, all: f64) -> Row<'static> {
    let bold = Style::new().add_modifier(Modifier::BOLD);
    let latency = |of: Option<f64>| right(of.map_or("-".to_owned(), millis));
    let address = match &*endpoint.address {
        "" => Cell::from("not registered").style(Style::new().fg(Color::DarkGray)),
        address => Cell::from(address.to_owned()),
    };
    let failing = endpoint.errors_per_s > 0.0;
    Row::new([
        Cell::from(format!(" {}", endpoint.id)).style(bold),
        address,
        painted(condition(endpoint.condition)),
        state(endpoint.grpc),
        state(endpoint.http),
        right(format!("{:.0}", endpoint.calls_per_s)),
        Cell::from(bar(endpoint.calls_per_s, all)),
        right(endpoint.in_flight.to_string()),
        right(grouped(endpoint.errors)).style(if failing {
            Style::new().fg(Color::Red)
        } else {
            Style::new()
        }),
        latency(endpoint.p50_ms),
        latency(endpoint.p99_ms),
        right(endpoint.weight.to_string()),
    ])
}

fn state(of: Breaker) -> Cell<'static> {
    painted(breaker(of))
}

fn painted((text, color): (&'static str, Color)) -> Cell<'static> {
    Cell::from(text).style(Style::new().fg(color))
}

/// The share of an endpoint in all calls.
fn bar(calls_per_s: f64, all: f64) -> Line<'static> {
    let share = if all > 0.0 { calls_per_s / all } else { 0.0 };
    let long = ((share * BAR as f64).round() as usize).min(BAR);
    Line::from(vec![
        Span::styled("█".repeat(long), Style::new().fg(Color::Cyan)),
        Span::styled("·".repeat(BAR - long), Style::new().fg(Color::DarkGray)),
    ])
}

fn right(text: impl Into<String>) -> Cell<'static> {
    Cell::from(Line::from(text.into()).right_aligned())
}
