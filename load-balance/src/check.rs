//! Active checks: the balancer asks each endpoint whether it works, beside the calls.
//!
//! ```
//! use std::time::Duration;
//! use seawall_load_balance::{ActiveChecks, Config, TcpCheck};
//!
//! let checks = ActiveChecks::new(TcpCheck).with_interval(Duration::from_secs(2)).with_gate(true);
//! let config = Config::builder().checks(checks);
//! # let _ = config;
//! ```

#[cfg(feature = "tonic")]
pub(crate) mod grpc;
#[cfg(feature = "reqwest")]
pub(crate) mod http;

use std::{fmt, future::Future, pin::Pin, sync::Arc, time::Duration};

use fastrand::Rng;
use seawall_core::{BoxError, ConfigError, Endpoint};
use tokio::{net::TcpStream, time};

use crate::node::Node;

/// The future of one check.
pub type CheckFuture = Pin<Box<dyn Future<Output = Result<(), BoxError>> + Send>>;

/// Asks an endpoint whether it works.
///
/// There are [`TcpCheck`], and, with their features, `reqwest::HttpCheck` and `tonic::GrpcCheck`.
///
/// # Examples
///
/// ```
/// use seawall_core::Endpoint;
/// use seawall_load_balance::{ActiveChecks, Check, CheckFuture};
///
/// /// Believes what the registry says in the endpoint's metadata.
/// struct Believe;
///
/// impl Check for Believe {
///     fn check(&self, endpoint: &Endpoint) -> CheckFuture {
///         let well = endpoint.metadata("well") == Some("yes");
///         Box::pin(async move { if well { Ok(()) } else { Err("it is not".into()) } })
///     }
/// }
///
/// let checks = ActiveChecks::new(Believe);
/// # let _ = checks;
/// ```
pub trait Check: Send + Sync + 'static {
    /// Asks once.
    ///
    /// # Errors
    ///
    /// The endpoint does not work.
    fn check(&self, endpoint: &Endpoint) -> CheckFuture;

    /// Listens to an endpoint that tells by itself, for as long as it does: each word of it goes to
    /// `tell` and holds at once. `None`, as unless implemented, when there is nothing to listen to.
    fn watch(&self, endpoint: &Endpoint, tell: Box<dyn FnMut(bool) + Send>) -> Option<CheckFuture> {
        let _ = (endpoint, tell);
        None
    }
}

/// Passes when a connection is made. A process that is stopped or hangs passes too: the system makes
/// its connections.
#[derive(Clone, Copy, Debug, Default)]
pub struct TcpCheck;

impl Check for TcpCheck {
    fn check(&self, endpoint: &Endpoint) -> CheckFuture {
        let address = endpoint.address().clone();
        Box::pin(async move {
            TcpStream::connect((address.host(), address.port())).await?;
            Ok(())
        })
    }
}

/// How often endpoints are checked, and what it takes to believe the answers.
///
/// An endpoint whose checks fail is used as an ejected one is: not at all, unless panic or the lack
/// of others decides. It begins slowly when they pass again, where there is a
/// [`SlowStart`](crate::SlowStart). Endpoints that are drained are not checked.
///
/// The checks run in tasks of the balancer, which end with its last clone, as those of
/// [`Ejection`](crate::Ejection) do; without a tokio runtime there are none.
#[derive(Clone)]
pub struct ActiveChecks {
    check: Arc<dyn Check>,
    interval: Duration,
    jitter_percent: u8,
    timeout: Duration,
    healthy: u32,
    unhealthy: u32,
    gate: bool,
}

impl ActiveChecks {
    /// Every 5 s, give or take 10 percent, with a time-out of 1 s; 3 failures in a row make an
    /// endpoint fail and 2 passes make it pass again; new endpoints are used at once.
    pub fn new(check: impl Check) -> Self {
        Self {
            check: Arc::new(check),
            interval: Duration::from_secs(5),
            jitter_percent: 10,
            timeout: Duration::from_secs(1),
            healthy: 2,
            unhealthy: 3,
            gate: false,
        }
    }

    /// The time from the end of one check to the next; 1 ms to a day, 5 s unless set.
    #[must_use]
    pub fn with_interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// By how much each interval differs by chance, so that clients do not ask all at once; 0 to 100
    /// percent, 10 unless set.
    #[must_use]
    pub fn with_jitter_percent(mut self, percent: u8) -> Self {
        self.jitter_percent = percent;
        self
    }

    /// How long an answer may take; 1 ms to a day, 1 s unless set.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Passes in a row after which a failing endpoint is used again; at least 1, 2 unless set.
    #[must_use]
    pub fn with_healthy_threshold(mut self, passes: u32) -> Self {
        self.healthy = passes;
        self
    }

    /// Failures in a row after which an endpoint is no longer used; at least 1, 3 unless set.
    #[must_use]
    pub fn with_unhealthy_threshold(mut self, failures: u32) -> Self {
        self.unhealthy = failures;
        self
    }

    /// Whether a new endpoint waits for its first pass, of which one suffices; it does not unless
    /// set. While none has passed, the panic threshold decides whether all are used.
    #[must_use]
    pub fn with_gate(mut self, gate: bool) -> Self {
        self.gate = gate;
        self
    }

    pub(crate) fn gate(&self) -> bool {
        self.gate
    }

    pub(crate) fn validate(&self) -> Result<(), ConfigError> {
        const DAY: Duration = Duration::from_secs(24 * 60 * 60);
        for (field, time) in [("interval", self.interval), ("timeout", self.timeout)] {
            if time < Duration::from_millis(1) || time > DAY {
                return Err(ConfigError::new(field, format!("{time:?}"), "1 ms to a day"));
            }
        }
        if self.jitter_percent > 100 {
            return Err(ConfigError::new("jitter_percent", self.jitter_percent, "0 to 100"));
        }
        for (field, row) in
            [("healthy_threshold", self.healthy), ("unhealthy_threshold", self.unhealthy)]
        {
            if row == 0 {
                return Err(ConfigError::new(field, row, "at least 1"));
            }
        }
        Ok(())
    }

    /// The time to the next check; `chance` is from 0 to 1.
    fn pause(&self, chance: f64) -> Duration {
        let jitter = f64::from(self.jitter_percent) / 100.0;
        self.interval.mul_f64(1.0 + jitter * (2.0 * chance - 1.0))
    }
}

impl fmt::Debug for ActiveChecks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ActiveChecks")
            .field("interval", &self.interval)
            .field("timeout", &self.timeout)
            .field("gate", &self.gate)
            .finish_non_exhaustive()
    }
}

/// What the answers of one endpoint amount to.
#[derive(Debug)]
struct Answers {
    failing: bool,
    /// No answer was believed yet, so that one pass suffices.
    first: bool,
    /// Answers in a row that speak against what is believed.
    row: u32,
}

impl Answers {
    fn new(gate: bool) -> Self {
        Self { failing: gate, first: gate, row: 0 }
    }

    /// One more answer; what is believed from now on, where that changes.
    fn add(&mut self, passed: bool, checks: &ActiveChecks) -> Option<bool> {
        if passed != self.failing {
            self.row = 0;
            return None;
        }
        self.row = self.row.saturating_add(1);
        let enough = if passed { checks.healthy } else { checks.unhealthy };
        (self.first && passed || self.row >= enough).then(|| self.believe(!passed))
    }

    fn believe(&mut self, failing: bool) -> bool {
        (self.failing, self.first, self.row) = (failing, false, 0);
        failing
    }
}

/// Checks an endpoint for as long as it is polled.
pub(crate) async fn keep_checking(node: Arc<Node>, checks: ActiveChecks) {
    let mut rng = Rng::new();
    let mut answers = Answers::new(checks.gate);
    if !checks.gate {
        // Balancers that start together do not check together.
        time::sleep(checks.interval.mul_f64(rng.f64())).await;
    }
    loop {
        let endpoint = node.endpoint();
        let told = node.clone();
        let tell = Box::new(move |serving: bool| told.health().set_failing(&told, !serving));
        if let Some(watching) = checks.check.watch(&endpoint, tell) {
            // However it ended, whether the endpoint works is asked below.
            let _ = watching.await;
            answers = Answers { failing: node.state().is_failing(), first: false, row: 0 };
        }
        let answer = time::timeout(checks.timeout, checks.check.check(&endpoint)).await;
        if let Some(failing) = answers.add(matches!(answer, Ok(Ok(()))), &checks) {
            node.health().set_failing(&node, failing);
        }
        time::sleep(checks.pause(rng.f64())).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn believed(gate: bool, passes: &[bool]) -> Vec<Option<bool>> {
        let (checks, mut answers) = (ActiveChecks::new(TcpCheck), Answers::new(gate));
        passes.iter().map(|passed| answers.add(*passed, &checks)).collect()
    }

    #[test]
    fn only_rows_change_what_is_believed() {
        let (yes, no) = (true, false);
        // Three failures, then two passes.
        let told = believed(false, &[no, no, yes, no, no, no, yes, no, yes, yes]);
        let (fails, passes) = (Some(true), Some(false));
        assert_eq!(told, [None, None, None, None, None, fails, None, None, None, passes]);
        // One pass opens the gate, however many failures came before.
        assert_eq!(believed(true, &[no, no, no, no, yes]), [None, None, None, None, passes]);
    }

    #[test]
    fn an_interval_differs_by_its_jitter() {
        let checks = ActiveChecks::new(TcpCheck).with_jitter_percent(20);
        let millis = [0.0, 0.5, 1.0].map(|chance| checks.pause(chance).as_millis());
        assert_eq!(millis, [4000, 5000, 6000]);
    }

    #[test]
    fn nonsense_is_refused_by_name() {
        let checks = || ActiveChecks::new(TcpCheck);
        for (checks, field) in [
            (checks().with_interval(Duration::ZERO), "interval"),
            (checks().with_timeout(Duration::MAX), "timeout"),
            (checks().with_jitter_percent(101), "jitter_percent"),
            (checks().with_healthy_threshold(0), "healthy_threshold"),
            (checks().with_unhealthy_threshold(0), "unhealthy_threshold"),
        ] {
            assert_eq!(checks.validate().unwrap_err().field(), field);
        }
    }
}
