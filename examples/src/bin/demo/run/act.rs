//! What the demo does during a run.

use std::time::Duration;

use tokio::time::Instant;

use super::Demo;
use crate::{
    args::Refusal,
    faults::{self, Kind, RUSH_FACTOR, SLOW_BY},
    record::What,
};

/// One thing to do.
#[derive(Clone, Copy, Debug)]
pub(super) enum Act {
    Fault(Kind, usize),
    /// The load does it by itself; this is for the timeline.
    Rush,
}

/// Everything that is done, in order.
pub(super) fn acts(duration: Duration, seed: u64) -> Vec<(Duration, Act)> {
    let faults = faults::story(duration, seed);
    let mut acts: Vec<_> =
        faults.into_iter().map(|fault| (fault.at, Act::Fault(fault.kind, fault.server))).collect();
    acts.push((faults::rush(duration).0, Act::Rush));
    acts
}

impl Demo {
    pub(super) async fn act(&mut self, start: Instant, act: Act) -> Result<(), Refusal> {
        match act {
            Act::Fault(kind, server) => self.fault(start, kind, server).await,
            Act::Rush => {
                let text = format!("callers ask for {RUSH_FACTOR} times as much, above the limit");
                self.record.event(start.elapsed(), What::Rush, text);
                Ok(())
            }
        }
    }

    async fn fault(&mut self, start: Instant, kind: Kind, place: usize) -> Result<(), Refusal> {
        let Some(server) = self.fleet.get_mut(place) else { return Ok(()) };
        let name = server.name().to_owned();
        // When it was done, not when all that follows from it was done.
        let mut at = start.elapsed();
        match kind {
            Kind::Kill => server.kill().await?,
            Kind::Restart => {
                server.restart().await?;
                at = start.elapsed();
            }
            Kind::Hang => server.hang()?,
            Kind::Resume => server.resume()?,
            Kind::Slow => server.slow(SLOW_BY).await?,
            Kind::Normal => server.slow(Duration::ZERO).await?,
        }
        let port = server.port().unwrap_or_default();
        let ttl = self.registry.ttl().as_secs_f64();
        let text = match kind {
            Kind::Kill => format!("killed (SIGKILL); stays registered for {ttl:.1} s"),
            Kind::Restart => format!("started again, now on port {port}"),
            Kind::Hang => format!("hung (SIGSTOP); stays registered for {ttl:.1} s"),
            Kind::Resume => "goes on (SIGCONT) and is registered again".to_owned(),
            Kind::Slow => format!("every answer takes {} ms longer", SLOW_BY.as_millis()),
            Kind::Normal => "answers as fast as before".to_owned(),
        };
        self.record.fault(at, kind, &name, text);
        match kind {
            Kind::Kill | Kind::Hang => self.registry.fall_silent(&name),
            Kind::Restart | Kind::Resume => {
                // Without the registry the run goes on; that is part of what there is to see.
                if let Err(error) = self.registry.register(&name, port).await {
                    let text = format!("{name} could not be registered: {}", error.line());
                    self.record.event(start.elapsed(), What::Caller, text);
                }
            }
            Kind::Slow | Kind::Normal => {}
        }
        Ok(())
    }
}
