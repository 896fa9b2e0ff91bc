//! A screen as an SVG picture, for pages that show the view to those who have not run it.

use std::fmt::Write as _;

use ratatui::{
    buffer::{Buffer, Cell},
    style::{Color, Modifier},
};

/// The size of a character, in the units of the picture.
const CELL: (f64, f64) = (8.0, 17.0);
const MARGIN: f64 = 14.0;
const PAPER: &str = "#12161e";
const INK: &str = "#d5dae3";

/// The screen as a picture that scales.
pub(crate) fn svg(screen: &Buffer) -> String {
    let (width, height) = (f64::from(screen.area.width), f64::from(screen.area.height));
    let (width, height) = (width * CELL.0 + 2.0 * MARGIN, height * CELL.1 + 2.0 * MARGIN);
    let mut svg = String::new();
    // Writing to a string cannot fail.
    let _ = write!(
        svg,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
         font-family=\"ui-monospace,'DejaVu Sans Mono',Menlo,Consolas,monospace\" \
         font-size=\"13.2\">\n\
         <rect width=\"{width}\" height=\"{height}\" rx=\"10\" fill=\"{PAPER}\"/>\n"
    );
    let across = usize::from(screen.area.width.max(1));
    for (row, cells) in screen.content().chunks(across).enumerate() {
        let mut from = 0;
        while from < cells.len() {
            let alike = cells[from..].iter().take_while(|cell| style(cell) == style(&cells[from]));
            let to = from + alike.count();
            run(&mut svg, row, from, &cells[from..to]);
            from = to;
        }
    }
    svg.push_str("</svg>\n");
    svg
}

/// Cells of one style on one line.
fn run(svg: &mut String, row: usize, column: usize, cells: &[Cell]) {
    let (ink, paper, bold) = style(&cells[0]);
    let text: String = cells.iter().map(Cell::symbol).collect();
    let (x, y) = (MARGIN + column as f64 * CELL.0, MARGIN + row as f64 * CELL.1);
    let width = cells.len() as f64 * CELL.0;
    if let Some(paper) = paper {
        let height = CELL.1;
        let _ = writeln!(
            svg,
            "<rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" fill=\"{paper}\"/>"
        );
    }
    let weight = if bold { " font-weight=\"bold\"" } else { "" };
    for (start, text) in pieces(&text) {
        let (x, long) = (x + start as f64 * CELL.0, text.chars().count() as f64 * CELL.0);
        if let Some((left, top, wide, high)) = block(&text) {
            let (left, top) = (x + left * CELL.0, y + top * CELL.1);
            let (wide, high) = (wide * long, high * CELL.1);
            let _ = writeln!(
                svg,
                "<rect x=\"{left}\" y=\"{top:.1}\" width=\"{wide}\" height=\"{high:.1}\" \
                 fill=\"{ink}\"/>"
            );
            continue;
        }
        // A length of its own for each piece keeps columns straight in any font.
        let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        let _ = writeln!(
            svg,
            "<text x=\"{x}\" y=\"{:.1}\" textLength=\"{long}\" \
             lengthAdjust=\"spacingAndGlyphs\" fill=\"{ink}\"{weight}>{text}</text>",
            y + CELL.1 * 0.76
        );
    }
}

/// What stands between blanks, with its place; a single space does not part words, for which
/// pictures keep it. Signs that are drawn and not written are pieces of their own.
fn pieces(text: &str) -> Vec<(usize, String)> {
    let signs: Vec<char> = text.chars().collect();
    let mut pieces: Vec<(usize, String)> = Vec::new();
    let mut end = 0;
    for (place, &sign) in signs.iter().enumerate() {
        if sign == ' ' {
            continue;
        }
        match pieces.last_mut() {
            Some((_, piece)) if joins(piece, sign, place - end) => {
                piece.extend(&signs[end..=place]);
            }
            _ => pieces.push((place, sign.to_string())),
        }
        end = place + 1;
    }
    pieces
}

fn joins(piece: &str, sign: char, blanks: usize) -> bool {
    let drawn = |sign: char| block(sign.encode_utf8(&mut [0; 4])).is_some();
    match piece.chars().next_back() {
        Some(last) if drawn(last) || drawn(sign) => last == sign && blanks == 0,
        _ => blanks <= 1,
    }
}

/// Left, top, width and height of a sign that is drawn, in shares of its cell: fonts leave gaps
/// between those of neighbouring lines.
fn block(text: &str) -> Option<(f64, f64, f64, f64)> {
    match text.chars().next()? {
        '│' => Some((0.44, 0.0, 0.12, 1.0)),
        sign @ '▁'..='█' => {
            let share = f64::from(u32::from(sign) - u32::from('▁') + 1) / 8.0;
            Some((0.0, 1.0 - share, 1.0, share))
        }
        _ => None,
    }
}

fn style(cell: &Cell) -> (&'static str, Option<&'static str>, bool) {
    let bold = cell.modifier.contains(Modifier::BOLD);
    let (ink, paper) = (color(cell.fg), color(cell.bg));
    if cell.modifier.contains(Modifier::REVERSED) {
        (PAPER, Some(ink.unwrap_or(INK)), bold)
    } else {
        (ink.unwrap_or(INK), paper, bold)
    }
}

fn color(color: Color) -> Option<&'static str> {
    Some(match color {
        Color::Black => PAPER,
        Color::Red => "#ff6b6b",
        Color::Green => "#5fd38d",
        Color::Yellow => "#f2c14e",
        Color::Blue => "#6ea8fe",
        Color::Magenta => "#d291ff",
        Color::Cyan => "#4fd1d9",
        Color::DarkGray => "#6b7484",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use ratatui::{layout::Rect, style::Style};

    use super::*;

    #[test]
    fn runs_of_one_style_stand_where_they_stood() {
        let mut screen = Buffer::empty(Rect::new(0, 0, 12, 2));
        screen.set_string(2, 1, "a<b", Style::new().fg(Color::Red));
        let svg = svg(&screen);
        assert!(svg.contains("x=\"30\"") && svg.contains(">a&lt;b</text>"), "{svg}");
        assert!(svg.contains("#ff6b6b"));
        assert_eq!(svg.matches("<text").count(), 1, "{svg}");
    }

    #[test]
    fn columns_are_pieces_and_words_are_not_parted() {
        let text = "  one two   three ██▄│ x";
        let pieces = pieces(text);
        let pieces: Vec<_> = pieces.iter().map(|(at, piece)| (*at, piece.as_str())).collect();
        assert_eq!(
            pieces,
            [(2, "one two"), (12, "three"), (18, "██"), (20, "▄"), (21, "│"), (23, "x")]
        );
    }
}
