//! The live view: everything on one screen, drawn anew from the record each time.

mod callers;
mod chart;
mod endpoints;
mod header;
pub(crate) mod picture;
mod terminal;
mod timeline;
pub(crate) mod words;

use ratatui::{
    buffer::Buffer,
    layout::{Constraint, Layout, Rect},
    style::{Color, Modifier, Style},
    widgets::{Block, BorderType, Widget},
};

use crate::record::Record;

pub(crate) use terminal::{Key, Terminal};

/// The whole screen.
#[derive(Debug)]
pub(crate) struct View<'a> {
    pub(crate) record: &'a Record,
    /// How long the run has been going on.
    pub(crate) at_s: f64,
    /// What keys do, or what goes on when the run is over.
    pub(crate) hint: &'a str,
}

impl Widget for View<'_> {
    fn render(self, area: Rect, buffer: &mut Buffer) {
        let rows = self.record.endpoints.len() as u16;
        let [header, top, table, timeline] = Layout::vertical([
            Constraint::Length(2),
            Constraint::Length(if area.height >= 30 { 13 } else { 8 }),
            Constraint::Length(rows + 3),
            Constraint::Fill(1),
        ])
        .areas(area);
        let narrow = area.width < callers::WIDTH + 40;
        let [callers, charts] = Layout::horizontal([
            if narrow { Constraint::Fill(1) } else { Constraint::Length(callers::WIDTH) },
            if narrow { Constraint::Length(0) } else { Constraint::Fill(1) },
        ])
        .areas(top);

        header::draw(&self, header, buffer);
        callers::draw(self.record, inside("what the callers see", callers, buffer), buffer);
        if !narrow {
            chart::draw(&self, inside("over time", charts, buffer), buffer);
        }
        endpoints::draw(self.record, inside("endpoints", table, buffer), buffer);
        timeline::draw(self.record, inside("what happened", timeline, buffer), buffer);
    }
}

/// Draws a frame with a title and gives the room inside.
fn inside(title: &str, area: Rect, buffer: &mut Buffer) -> Rect {
    let block = Block::bordered()
        .border_type(BorderType::Rounded)
        .border_style(Style::new().fg(Color::DarkGray))
        .title(format!(" {title} "))
        .title_style(Style::new().fg(Color::Cyan).add_modifier(Modifier::BOLD));
    let inner = block.inner(area);
    block.render(area, buffer);
    inner
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, time::Duration};

    use super::*;
    use crate::{faults::Kind, record};

    pub(super) fn text(buffer: &Buffer) -> String {
        let width = usize::from(buffer.area.width.max(1));
        let lines = buffer
            .content()
            .chunks(width)
            .map(|line| line.iter().map(|cell| cell.symbol()).collect::<String>());
        lines.collect::<Vec<_>>().join("\n")
    }

    fn shown(width: u16, height: u16) -> String {
        let mut record = Record::new(record::tests::run(), ["orders-1", "orders-2", "orders-3"]);
        record.fault(Duration::from_secs(2), Kind::Kill, "orders-2", "killed (SIGKILL)".into());
        for n in 1..=10 {
            let second = Duration::from_millis(200);
            record.window(n * second, second, BTreeMap::new());
        }
        let mut buffer = Buffer::empty(Rect::new(0, 0, width, height));
        View { record: &record, at_s: 2.0, hint: "q stops" }.render(buffer.area, &mut buffer);
        text(&buffer)
    }

    #[test]
    fn all_parts_are_on_a_usual_screen() {
        for (width, height) in [(140, 45), (100, 30), (80, 24)] {
            let text = shown(width, height);
            for part in ["gRPC", "HTTP", "limiter", "orders-3", "killed (SIGKILL)", "q stops"] {
                assert!(text.contains(part), "no {part} at {width} x {height}:\n{text}");
            }
        }
    }

    #[test]
    fn no_screen_is_too_small() {
        for width in [0, 1, 2, 10, 40, 79] {
            for height in [0, 1, 2, 5, 10, 23] {
                shown(width, height);
            }
        }
    }
}
