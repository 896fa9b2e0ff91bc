//! What happens to one of the servers, and when.

use std::{io, time::Duration};

use clap::ValueEnum;
use serde::Serialize;
use tokio::time::{Instant, sleep, sleep_until};

use crate::fleet::Fleet;

/// By how much the slowed server is slower than the others, in milliseconds: it takes 50.
const SLOW: u64 = 49;
/// How long a restarted server is away.
const AWAY: Duration = Duration::from_secs(2);
/// How long a flapping server is up, and then down.
const FLAP: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Scenario {
    /// Nothing.
    None,
    /// It is killed.
    Kill,
    /// It is stopped: its kernel accepts connections, and nobody answers.
    Hang,
    /// Its answers take 50 ms.
    Slow,
    /// It is killed and started again every second.
    Flap,
    /// The network to it goes dark.
    Partition,
    /// It is killed, and back on the same port after 2 s.
    Restart,
    /// Each of these in turn.
    All,
}

impl Scenario {
    /// The scenarios that it stands for.
    pub(crate) fn each(self) -> Vec<Self> {
        match self {
            Self::All => Self::value_variants().iter().copied().filter(|s| *s != self).collect(),
            one => vec![one],
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Kill => "kill",
            Self::Hang => "hang",
            Self::Slow => "slow",
            Self::Flap => "flap",
            Self::Partition => "partition",
            Self::Restart => "restart",
            Self::All => "all",
        }
    }

    /// Happens to the fleet, after a quarter of `time` and until it is over.
    pub(crate) async fn happen(self, fleet: &mut Fleet, time: Duration) -> io::Result<()> {
        let end = Instant::now() + time;
        sleep(time / 4).await;
        match self {
            Self::None | Self::All => {}
            Self::Kill => fleet.kill().await?,
            Self::Hang => fleet.hang()?,
            Self::Slow => fleet.slow(SLOW).await?,
            Self::Partition => fleet.partition(),
            Self::Restart => {
                fleet.kill().await?;
                sleep(AWAY).await;
                fleet.restart().await?;
            }
            Self::Flap => {
                while Instant::now() + FLAP < end {
                    fleet.kill().await?;
                    sleep(FLAP).await;
                    fleet.restart().await?;
                    sleep(FLAP).await;
                }
            }
        }
        sleep_until(end).await;
        Ok(())
    }
}
