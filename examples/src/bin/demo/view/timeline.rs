//! What was done to the servers, and what the library did about it; the latest at the bottom.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    style::{Color, Modifier, Style},
    text::{Line, Span, Text},
    widgets::Widget as _,
};

use super::words::event;
use crate::record::{Event, Record, What};

pub(super) fn draw(record: &Record, area: Rect, buffer: &mut Buffer) {
    let room = usize::from(area.height);
    let hidden = record.events.len().saturating_sub(room);
    let lines = record.events.iter().skip(hidden).map(line);
    Text::from_iter(lines).render(area, buffer);
}

fn line(of: &Event) -> Line<'static> {
    let (sign, color) = event(&of.what);
    let deed = matches!(of.what, What::Seawall(_));
    let modifier = if deed { Modifier::empty() } else { Modifier::BOLD };
    let indent = if deed { "    " } else { "" };
    let endpoint = of.endpoint.as_deref().unwrap_or_default();
    Line::from(vec![
        Span::styled(format!(" {:5.1} s  ", of.at_s), Style::new().fg(Color::DarkGray)),
        Span::styled(format!("{indent}{sign} "), Style::new().fg(color).add_modifier(modifier)),
        Span::styled(
            if endpoint.is_empty() { String::new() } else { format!("{endpoint}  ") },
            Style::new().add_modifier(Modifier::BOLD),
        ),
        Span::styled(of.text.clone(), Style::new().fg(color).add_modifier(modifier)),
    ])
}
