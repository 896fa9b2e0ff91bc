//! What a run looks at and shows, tick by tick.

use std::time::Duration;

use super::{Demo, TICK, output};
use crate::{args::Refusal, fleet::Server, library::Protocol, plain, view::View};

/// How many windows a run has, unless they get shorter than a tick.
const WINDOWS: u32 = 100;

impl Demo {
    /// Notes what is new, and shows it.
    pub(super) fn look(&mut self, at: Duration, hint: &str) -> Result<(), Refusal> {
        self.observe(at);
        // A tick that comes a little early still closes the window.
        if at + TICK / 2 >= self.closed + (self.args.duration / WINDOWS).max(TICK) {
            self.close_window(at);
        }
        self.tell(at);
        self.draw(at, hint)
    }

    pub(super) fn observe(&mut self, at: Duration) {
        if let Some((grpc, http)) = &self.clients {
            self.record.client(at, Protocol::Grpc, grpc.snapshot().into());
            self.record.client(at, Protocol::Http, http.snapshot().into());
        }
        self.record.count_retries();
        self.record.conditions(self.fleet.iter().map(Server::condition));
    }

    pub(super) fn close_window(&mut self, at: Duration) {
        let lasted = at.saturating_sub(self.closed);
        let looks = self.meters.iter().map(|(of, meter)| (*of, meter.look(lasted, at)));
        self.record.window(at, lasted, looks.collect());
        self.closed = at;
    }

    /// Prints the line of each second when there is no view.
    pub(super) fn tell(&mut self, at: Duration) {
        let (second, windows, events) = self.told;
        if self.terminal.is_some() || at.as_secs() <= second {
            return;
        }
        let done = plain::done(&self.record, events);
        let windows = self.record.windows.get(windows..).unwrap_or_default();
        println!("{}", plain::line(&self.record, at.as_secs_f64(), windows, &done));
        self.told = (at.as_secs(), self.record.windows.len(), self.record.events.len());
    }

    pub(super) fn draw(&mut self, at: Duration, hint: &str) -> Result<(), Refusal> {
        let view = || View { record: &self.record, at_s: at.as_secs_f64(), hint };
        if let Some(terminal) = &mut self.terminal {
            terminal.draw(view())?;
        }
        if self.args.picture.is_some() && output::is_worth_a_picture(at, self.args.duration) {
            self.picture = Some(output::screen(view()));
        }
        Ok(())
    }
}
