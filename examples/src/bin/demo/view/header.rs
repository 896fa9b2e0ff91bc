//! Title and progress.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    style::{Color, Style, Stylize as _},
    text::{Line, Span},
    widgets::Widget as _,
};

use super::View;

pub(super) fn draw(view: &View<'_>, area: Rect, buffer: &mut Buffer) {
    let run = &view.record.run;
    let at_s = view.at_s.min(run.duration_s);
    let details = format!("   registry {}   seed {}", run.registry, run.seed);
    let details = if area.width >= 110 { details } else { String::new() };
    let left = Line::from(vec![
        Span::styled(" seawall ", Style::new().fg(Color::Black).bg(Color::Cyan)).bold(),
        Span::raw(format!(" {} calls/s through two clients to three servers", run.rps)),
        Span::raw(details).dark_gray(),
    ]);
    let right = Line::from(vec![Span::raw(view.hint).dark_gray(), Span::raw(" ")]).right_aligned();
    let [first, second] = [0, 1].map(|row| Rect { y: area.y + row, height: 1, ..area });
    if area.height > 0 {
        left.render(first, buffer);
        right.render(first, buffer);
    }
    if area.height > 1 {
        let label = format!(" {at_s:4.1} of {:.0} s ", run.duration_s);
        let room = usize::from(area.width).saturating_sub(label.len() + 1);
        let done = ((at_s / run.duration_s) * room as f64) as usize;
        let bar = Line::from(vec![
            Span::raw(label).bold(),
            Span::raw("━".repeat(done.min(room))).cyan(),
            Span::raw("─".repeat(room.saturating_sub(done))).dark_gray(),
        ]);
        bar.render(second, buffer);
    }
}
