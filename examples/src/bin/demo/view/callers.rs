//! What the callers of the two clients see, and what they are spared.

use ratatui::{
    buffer::Buffer,
    layout::{Constraint, Rect},
    style::{Color, Modifier, Style, Stylize as _},
    text::{Line, Span, Text},
    widgets::{Cell, Row, Table, Widget as _},
};

use super::words::{grouped, millis};
use crate::{meter::Figures, record::Record};

/// As wide as the figures need, with the frame.
pub(super) const WIDTH: u16 = 58;

pub(super) fn draw(record: &Record, area: Rect, buffer: &mut Buffer) {
    let last = record.windows.last();
    let head = ["", "calls", "failed", "calls/s", "p50", "p99", "p99.9"];
    let rows = [
        row("gRPC", &record.grpc, last.map(|window| window.grpc.calls_per_s)),
        row("HTTP", &record.http, last.map(|window| window.http.calls_per_s)),
    ];
    let widths = [6, 8, 7, 8, 8, 8, 8].map(Constraint::Length);
    let head = Row::new(head.map(right)).style(Style::new().fg(Color::DarkGray));
    Table::new(rows, widths).header(head).column_spacing(0).render(area, buffer);

    // After a blank line, where there is room for one.
    let above = if area.height > 6 { 4 } else { 3 };
    let y = (area.y + above).min(area.bottom());
    let under = Rect { y, height: area.height.saturating_sub(above), ..area };
    Text::from(verdict(record)).render(under, buffer);
}

fn row(name: &'static str, figures: &Figures, now: Option<f64>) -> Row<'static> {
    let failed = right(grouped(figures.errors)).style(verdict_style(figures.errors));
    Row::new([
        Cell::from(format!(" {name}")).style(Style::new().add_modifier(Modifier::BOLD)),
        right(grouped(figures.calls)),
        failed,
        right(now.map_or("-".to_owned(), |now| format!("{now:.0}"))),
        right(millis(figures.p50_ms)),
        right(millis(figures.p99_ms)),
        right(millis(figures.p999_ms)),
    ])
}

fn verdict(record: &Record) -> Vec<Line<'static>> {
    let (errors, limiter) = (record.errors(), record.limiter);
    vec![
        Line::from(vec![
            Span::raw(" "),
            Span::styled(format!(" {} ", grouped(errors)), verdict_style(errors))
                .add_modifier(Modifier::REVERSED | Modifier::BOLD),
            Span::raw(" calls failed for their callers"),
        ]),
        Line::from(vec![
            Span::raw(format!(" {:>3} ", grouped(record.retries))).bold(),
            Span::raw("attempts made again on another server"),
        ]),
        Line::from(vec![
            Span::raw(" limiter ").bold(),
            Span::raw(format!("{} allowed, ", grouped(limiter.allowed))),
            Span::styled(
                format!("{} refused", grouped(limiter.rejected)),
                match limiter.rejected {
                    0 => Style::new(),
                    _ => Style::new().fg(Color::Yellow),
                },
            ),
        ]),
    ]
}

fn verdict_style(errors: u64) -> Style {
    Style::new().fg(if errors == 0 { Color::Green } else { Color::Red })
}

fn right(text: impl Into<String>) -> Cell<'static> {
    Cell::from(Line::from(text.into()).right_aligned())
}
