//! A run from its first server to its report.

mod act;
mod look;
mod output;

use std::{
    collections::BTreeMap,
    io::{self, IsTerminal as _},
    sync::Arc,
    time::Duration,
};

use seawall::{grpc::GrpcClient, http::HttpClient};
use seawall_examples::orders::orders_client::OrdersClient;
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
    time::{Instant, MissedTickBehavior, interval, sleep_until, timeout},
};

use self::act::acts;
use crate::{
    args::{self, Args, Refusal},
    calls::{Grpc, Http, policy},
    faults,
    fleet::Server,
    library::Protocol,
    load::{self, Rate},
    meter::Meter,
    record::{Record, Run, seconds},
    redis,
    registry::Registry,
    stop::{self, Signals},
    view::{Key, Terminal},
};

/// How often the clients are looked at and the view is drawn.
const TICK: Duration = Duration::from_millis(100);

/// Calls that are under way at the end have their own time-out, which is shorter.
const LAST_CALLS: Duration = Duration::from_secs(5);

const KEYS: &str = "q stops";
const ENDING: &str = "stopping ...";

/// Runs the demo as the flags say.
pub(crate) async fn run(args: Args) -> Result<(), Refusal> {
    let registry = args.registry()?;
    args.check_files()?;
    if let Some(url) = &args.redis {
        return Err(Refusal::Wrong(redis::refusal(url).await));
    }
    let mut signals = Signals::listen()?;
    let ttl = faults::registration_ttl(args.duration);
    // Other demos may use the same agent, and what they register is not ours.
    let tag = format!("{:04x}", fastrand::u16(..));
    let (service, names, registry) = match &registry {
        args::Registry::Memory => {
            let names = [1, 2, 3].map(|n| format!("orders-{n}"));
            ("orders".to_owned(), names, Registry::memory("orders", ttl))
        }
        args::Registry::Consul(url) => {
            let service = format!("seawall-demo-{tag}");
            let names = [1, 2, 3].map(|n| format!("orders-{n}-{tag}"));
            let registry = tokio::select! {
                registry = Registry::consul(url.as_str(), &service, ttl) => registry,
                () = signals.next() => return Ok(()),
            };
            let registry = registry.map_err(|error| Refusal::Wrong(error.line()))?;
            (service, names, registry)
        }
    };
    let mut demo = Demo::new(args, service, &names, registry);
    let result = demo.play(&names, &mut signals).await;
    let left = tokio::select! {
        left = demo.end() => left,
        () = signals.next() => stop::at_once(),
    };
    demo.terminal = None;
    if !left.is_empty() {
        eprintln!("demo: {} may still be registered", left.join(", "));
    }
    result?;
    output::write(&demo.args, &demo.record, demo.picture.as_ref())
}

struct Demo {
    args: Args,
    service: String,
    registry: Registry,
    fleet: Vec<Server>,
    record: Record,
    meters: BTreeMap<Protocol, Arc<Meter>>,
    clients: Option<(GrpcClient, HttpClient)>,
    load: Vec<JoinHandle<()>>,
    stop: watch::Sender<bool>,
    terminal: Option<Terminal>,
    picture: Option<ratatui::buffer::Buffer>,
    /// When the last window was closed.
    closed: Duration,
    /// The second that the last line told of, and what was there then.
    told: (u64, usize, usize),
}

impl Demo {
    fn new(args: Args, service: String, names: &[String; 3], registry: Registry) -> Self {
        let rush = faults::rush(args.duration);
        let run = Run {
            registry: if args.registry().is_ok_and(|kind| kind == args::Registry::Memory) {
                "memory".to_owned()
            } else {
                "consul".to_owned()
            },
            duration_s: seconds(args.duration),
            rps: args.rps,
            seed: args.seed.unwrap_or_else(|| u64::from(fastrand::u16(..))),
            ran_s: 0.0,
            rush_s: (seconds(rush.0), seconds(rush.1)),
        };
        Self {
            args,
            service,
            registry,
            fleet: Vec::new(),
            record: Record::new(run, names.clone()),
            meters: Protocol::BOTH.map(|of| (of, Arc::new(Meter::new()))).into(),
            clients: None,
            load: Vec::new(),
            stop: watch::Sender::new(false),
            terminal: None,
            picture: None,
            closed: Duration::ZERO,
            told: (0, 0, 0),
        }
    }

    /// From the first server to the last call.
    async fn play(&mut self, names: &[String], signals: &mut Signals) -> Result<(), Refusal> {
        for name in names {
            let server = Server::start(name).await?;
            let port = server.port();
            self.fleet.push(server);
            if let Some(port) = port {
                let registered = self.registry.register(name, port).await;
                registered.map_err(|error| Refusal::Wrong(error.line()))?;
            }
        }
        self.connect()?;
        let mut keys = None;
        if !self.args.plain && io::stdout().is_terminal() {
            // A terminal that cannot be drawn on still takes lines.
            if let Ok((terminal, pressed)) = Terminal::open() {
                (self.terminal, keys) = (Some(terminal), Some(pressed));
            }
        }
        let start = Instant::now();
        self.begin(start);
        self.go_on(start, signals, keys).await?;
        self.finish(start, signals).await
    }

    /// Makes the two clients.
    fn connect(&mut self) -> Result<(), Refusal> {
        let grpc = seawall::grpc(&*self.service).resolver(self.registry.resolver());
        let http = seawall::http(&*self.service).resolver(self.registry.resolver());
        let wrong = |error: seawall::BuildError| Refusal::Failed(error.to_string());
        let policy = policy(self.args.rps / 2);
        let grpc = grpc.policy(policy.clone()).build().map_err(wrong)?;
        let http = http.policy(policy).build().map_err(wrong)?;
        self.clients = Some((grpc, http));
        Ok(())
    }

    /// Starts the load.
    fn begin(&mut self, start: Instant) {
        let Some((grpc, http)) = &self.clients else { return };
        let rate = Rate {
            per_second: f64::from(self.args.rps) / 2.0,
            rush: faults::rush(self.args.duration),
            rush_factor: faults::RUSH_FACTOR,
        };
        let until = || {
            let mut stop = self.stop.subscribe();
            async move {
                // An error means that the run is over too.
                let _ = stop.wait_for(|stop| *stop).await;
            }
        };
        let meter = |of| self.meters[&of].clone();
        let (grpc_calls, http_calls) =
            (Grpc(OrdersClient::new(grpc.clone())), Http::new(http, &self.service));
        self.load = vec![
            tokio::spawn(load::drive(grpc_calls, meter(Protocol::Grpc), rate, start, until())),
            tokio::spawn(load::drive(http_calls, meter(Protocol::Http), rate, start, until())),
        ];
    }

    /// Until the time is over, or somebody wants to stop.
    async fn go_on(
        &mut self,
        start: Instant,
        signals: &mut Signals,
        mut keys: Option<mpsc::UnboundedReceiver<Key>>,
    ) -> Result<(), Refusal> {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut acts = acts(self.args.duration, self.record.run.seed).into_iter().peekable();
        loop {
            let next = acts.peek().map_or(self.args.duration, |(at, _)| *at);
            tokio::select! {
                biased;
                () = signals.next() => return Ok(()),
                key = pressed(&mut keys) => match key {
                    Key::Stop => return Ok(()),
                    Key::Resize => self.draw(start.elapsed(), KEYS)?,
                },
                () = sleep_until(start + next) => match acts.next() {
                    Some((_, act)) => self.act(start, act).await?,
                    None => return Ok(()),
                },
                _ = tick.tick() => self.look(start.elapsed(), KEYS)?,
            }
        }
    }

    /// Lets the last calls end and notes how it all ended.
    async fn finish(&mut self, start: Instant, signals: &mut Signals) -> Result<(), Refusal> {
        self.stop.send_replace(true);
        let at = start.elapsed();
        self.draw(at, ENDING)?;
        let load = std::mem::take(&mut self.load);
        let last_calls = async {
            for task in load {
                // A panic in there was shown already.
                let _ = task.await;
            }
        };
        tokio::select! {
            // Whatever takes longer is not answered any more.
            _ = timeout(LAST_CALLS, last_calls) => {}
            () = signals.next() => stop::at_once(),
        }
        // Twice, because a retry counts once it was seen twice.
        self.observe(at);
        self.observe(at);
        self.close_window(at);
        self.tell(at);
        self.draw(at, ENDING)
    }

    /// Takes everything back: registrations first, so that nobody else is sent to dead servers.
    async fn end(&mut self) -> Vec<String> {
        self.stop.send_replace(true);
        self.clients = None;
        let left = self.registry.close().await;
        for server in &mut self.fleet {
            // One that cannot be killed has ended already.
            let _ = server.kill().await;
        }
        left
    }
}

async fn pressed(keys: &mut Option<mpsc::UnboundedReceiver<Key>>) -> Key {
    match keys {
        // Without its sender the thread that reads keys is gone, and with it the terminal.
        Some(keys) => keys.recv().await.unwrap_or(Key::Stop),
        None => std::future::pending().await,
    }
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        Self::Failed(error.to_string())
    }
}
