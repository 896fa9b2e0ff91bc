//! What a run leaves behind: the summary, and files.

use std::{fs, path::Path, time::Duration};

use ratatui::{buffer::Buffer, layout::Rect, widgets::Widget as _};

use crate::{
    args::{Args, Refusal},
    record::Record,
    report, summary,
    view::{View, picture},
};

/// The screen of which a picture is made.
const SCREEN: Rect = Rect { x: 0, y: 0, width: 132, height: 30 };

/// The share of a run at which there is most to see: a server hangs and is still registered.
const PICTURE_AT: (f64, f64) = (0.47, 0.50);

/// Prints the summary and writes what the flags ask for.
pub(super) fn write(args: &Args, record: &Record, picture: Option<&Buffer>) -> Result<(), Refusal> {
    println!("{}", summary::text(record));
    let json = serde_json::to_string_pretty(record).map_err(failed)?;
    if let Some(path) = &args.json {
        save("figures", path, &format!("{json}\n"))?;
    }
    if let (Some(path), Some(picture)) = (&args.picture, picture) {
        save("picture", path, &picture::svg(picture))?;
    }
    save("report", &args.report(), &report::page(record).map_err(failed)?)
}

fn save(what: &str, path: &Path, text: &str) -> Result<(), Refusal> {
    let refused = |error| Refusal::Failed(format!("cannot write {}: {error}", path.display()));
    fs::write(path, text).map_err(refused)?;
    println!("  {what:<8}{}", path.canonicalize().as_deref().unwrap_or(path).display());
    Ok(())
}

fn failed(error: serde_json::Error) -> Refusal {
    Refusal::Failed(error.to_string())
}

pub(super) fn is_worth_a_picture(at: Duration, duration: Duration) -> bool {
    (duration.mul_f64(PICTURE_AT.0)..duration.mul_f64(PICTURE_AT.1)).contains(&at)
}

/// The view on a screen that nobody looks at.
pub(super) fn screen(view: View<'_>) -> Buffer {
    let mut buffer = Buffer::empty(SCREEN);
    view.render(SCREEN, &mut buffer);
    buffer
}
