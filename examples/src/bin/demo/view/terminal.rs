//! The terminal: taken over for the run, given back on every way out.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use ratatui::{
    DefaultTerminal,
    crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers},
};
use tokio::sync::mpsc;

use super::View;

/// How soon the thread that reads keys notices that it is over.
const POLL: Duration = Duration::from_millis(100);

/// What a key asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    Stop,
    /// The terminal has another size, so it is drawn anew.
    Resize,
}

/// The screen while the view has it. Dropping it gives the terminal back; so does a panic, before
/// its message is printed.
#[derive(Debug)]
pub(crate) struct Terminal {
    screen: DefaultTerminal,
    over: Arc<AtomicBool>,
}

impl Terminal {
    /// Takes the terminal over and starts to read keys.
    pub(crate) fn open() -> io::Result<(Self, mpsc::UnboundedReceiver<Key>)> {
        // Also puts the way back into the panic hook.
        let screen = ratatui::try_init()?;
        let terminal = Self { screen, over: Arc::default() };
        let (sender, keys) = mpsc::unbounded_channel();
        let over = terminal.over.clone();
        std::thread::Builder::new().name("keys".into()).spawn(move || read_keys(&sender, &over))?;
        Ok((terminal, keys))
    }

    pub(crate) fn draw(&mut self, view: View<'_>) -> io::Result<()> {
        self.screen.draw(|frame| frame.render_widget(view, frame.area()))?;
        Ok(())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Relaxed: the flag is all there is to read.
        self.over.store(true, Relaxed);
        ratatui::restore();
    }
}

/// In raw mode Ctrl-C is a key and no signal.
fn read_keys(sender: &mpsc::UnboundedSender<Key>, over: &AtomicBool) {
    while !over.load(Relaxed) {
        let key = match event::poll(POLL) {
            Ok(false) => None,
            Ok(true) => event::read().ok().and_then(|event| meaning(&event)),
            // The terminal is gone.
            Err(_) => {
                let _ = sender.send(Key::Stop);
                return;
            }
        };
        if key.is_some_and(|key| sender.send(key).is_err()) {
            return;
        }
    }
}

fn meaning(event: &Event) -> Option<Key> {
    match event {
        Event::Resize(..) => Some(Key::Resize),
        Event::Key(key) if key.kind == KeyEventKind::Press => match key.code {
            KeyCode::Char('q') | KeyCode::Esc => Some(Key::Stop),
            KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => Some(Key::Stop),
            _ => None,
        },
        _ => None,
    }
}
