//! What the observers for `metrics` and `tracing` really write.

#![cfg(all(feature = "metrics", feature = "tracing"))]
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod common;

use std::{
    collections::BTreeMap,
    fmt::{Debug, Write},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use common::{SECOND, after_two, fail, succeed};
use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use seawall_circuit_breaker::{
    CircuitBreaker, Clock, MetricsObserver, Mode, Observer, TracingObserver,
    throttle::{self, Priority, Throttle, ThrottlePermit},
};
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
    span,
};

/// Opens, refuses once, fails a probe, recovers; then refuses in the shadow.
fn life_of_a_breaker(observer: Arc<dyn Observer>) {
    let (clock, hand) = Clock::manual();
    let breaker = CircuitBreaker::builder(after_two().build().unwrap())
        .named("orders")
        .clock(clock)
        .observer(observer)
        .build();
    fail(&breaker, 2);
    assert!(breaker.admit().is_err());
    hand.advance(5 * SECOND);
    fail(&breaker, 1);
    hand.advance(5 * SECOND);
    succeed(&breaker, 1);
    breaker.set_mode(Mode::Shadow);
    fail(&breaker, 3);
}

/// Begins to refuse, and ceases.
fn life_of_a_throttle(observer: Arc<dyn throttle::Observer>) {
    let (clock, hand) = Clock::manual();
    let config = throttle::Config::default();
    let throttle =
        Throttle::builder(config).named("stock").clock(clock).observer(observer).seed(4).build();
    while throttle.admit(Priority::Sheddable).map(ThrottlePermit::refused).is_ok() {}
    hand.advance(200 * SECOND);
    throttle.admit(Priority::Sheddable).unwrap().accepted();
}

/// What each metric came to; for a gauge, each value that it had.
#[derive(Default)]
struct Metrics {
    counters: Mutex<BTreeMap<String, Arc<AtomicU64>>>,
    gauges: Mutex<Vec<(String, Arc<AtomicU64>)>>,
}

fn text(key: &Key) -> String {
    let labels: Vec<_> = key.labels().map(|l| format!("{}={}", l.key(), l.value())).collect();
    format!("{}{{{}}}", key.name(), labels.join(","))
}

impl Recorder for Metrics {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.counters.lock().unwrap().entry(text(key)).or_default().clone())
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        let value = Arc::new(AtomicU64::new(0));
        self.gauges.lock().unwrap().push((text(key), value.clone()));
        Gauge::from_arc(value)
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

impl Metrics {
    fn counted(&self) -> Vec<(String, u64)> {
        let counters = self.counters.lock().unwrap();
        counters.iter().map(|(key, count)| (key.clone(), count.load(Relaxed))).collect()
    }

    fn gauged(&self) -> Vec<(String, f64)> {
        let gauges = self.gauges.lock().unwrap();
        gauges.iter().map(|(key, bits)| (key.clone(), f64::from_bits(bits.load(Relaxed)))).collect()
    }
}

fn counted(expected: &[(&str, u64)]) -> Vec<(String, u64)> {
    expected.iter().map(|(key, count)| ((*key).to_owned(), *count)).collect()
}

#[test]
fn metrics_of_a_breaker_count_its_changes_and_refusals_and_show_its_state() {
    let recorder = Metrics::default();
    metrics::with_local_recorder(&recorder, || {
        life_of_a_breaker(Arc::new(MetricsObserver::default()));
    });
    let transition = "seawall.circuit_breaker.transitions{name=orders,";
    let transition = |rest: &str| format!("{transition}{rest}}}");
    let expected: BTreeMap<String, u64> = [
        ("seawall.circuit_breaker.rejections{name=orders,shadow=false}".to_owned(), 1),
        ("seawall.circuit_breaker.rejections{name=orders,shadow=true}".to_owned(), 1),
        (transition("from=closed,to=open,cause=consecutive_failures"), 2),
        (transition("from=open,to=half_open,cause=wait_over"), 2),
        (transition("from=half_open,to=open,cause=probes_failed"), 1),
        (transition("from=half_open,to=closed,cause=recovered"), 1),
        (transition("from=closed,to=closed,cause=by_hand"), 1),
    ]
    .into();
    assert_eq!(recorder.counted(), expected.into_iter().collect::<Vec<_>>());
    let (keys, states): (Vec<_>, Vec<_>) = recorder.gauged().into_iter().unzip();
    assert!(keys.iter().all(|key| key == "seawall.circuit_breaker.state{name=orders}"));
    assert_eq!(states, [2.0, 1.0, 2.0, 1.0, 0.0, 0.0, 2.0]);
}

#[test]
fn metrics_of_a_throttle_count_its_refusals_and_show_whether_it_sheds() {
    let recorder = Metrics::default();
    metrics::with_local_recorder(&recorder, || {
        life_of_a_throttle(Arc::new(MetricsObserver::default()));
    });
    let labels = "{name=stock,priority=sheddable}";
    let rejections = format!("seawall.throttle.rejections{labels}");
    assert_eq!(recorder.counted(), counted(&[(&rejections, 1)]));
    let shedding = format!("seawall.throttle.shedding{labels}");
    assert_eq!(recorder.gauged(), [(shedding.clone(), 1.0), (shedding, 0.0)]);
}

/// Each event as `LEVEL target: message field=value ..`.
#[derive(Clone, Default)]
struct Events(Arc<Mutex<Vec<String>>>);

#[derive(Default)]
struct Line {
    message: String,
    fields: String,
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        match field.name() {
            "message" => write!(self.message, "{value:?}").unwrap(),
            name => write!(self.fields, " {name}={value:?}").unwrap(),
        }
    }
}

impl Subscriber for Events {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line::default();
        event.record(&mut line);
        let (level, target) = (*event.metadata().level(), event.metadata().target());
        assert!(level <= Level::DEBUG);
        let line = format!("{level} {target}: {}{}", line.message, line.fields);
        self.0.lock().unwrap().push(line);
    }
}

fn logged(live: impl FnOnce()) -> Vec<String> {
    let events = Events::default();
    tracing::subscriber::with_default(events.clone(), live);
    let lines = events.0.lock().unwrap();
    lines.clone()
}

#[test]
fn a_breaker_logs_its_changes_and_refusals() {
    let lines = logged(|| life_of_a_breaker(Arc::new(TracingObserver::default())));
    let target = "seawall::circuit_breaker: ";
    let opened = |generation: u32, from: &str, cause: &str, counts: &str| {
        format!(
            "WARN {target}circuit breaker opened name=\"orders\" from=\"{from}\" to=\"open\" \
             cause=\"{cause}\" generation={generation} wait=Some(5s) {counts}"
        )
    };
    let changed = |generation: u32, from: &str, to: &str, cause: &str| {
        format!(
            "INFO {target}circuit breaker changed its state name=\"orders\" from=\"{from}\" \
             to=\"{to}\" cause=\"{cause}\" generation={generation}"
        )
    };
    let refused = |shadow: bool| {
        format!(
            "DEBUG {target}call refused name=\"orders\" state=\"open\" retry_after=Some(5s) \
             shadow={shadow}"
        )
    };
    let none = "calls=0 failures=0 slow=0";
    assert_eq!(
        lines,
        [
            opened(3, "closed", "consecutive_failures", none),
            refused(false),
            changed(4, "open", "half_open", "wait_over"),
            opened(5, "half_open", "probes_failed", none),
            changed(6, "open", "half_open", "wait_over"),
            changed(7, "half_open", "closed", "recovered"),
            changed(8, "closed", "closed", "by_hand"),
            opened(9, "closed", "consecutive_failures", none),
            refused(true),
        ]
    );
}

#[test]
fn a_throttle_logs_when_it_begins_when_it_ceases_and_each_refusal() {
    let lines = logged(|| life_of_a_throttle(Arc::new(TracingObserver::default())));
    let (who, target) = ("name=\"stock\" priority=\"sheddable\"", "seawall::throttle: ");
    let [began, refused, ceased] = &lines[..] else { panic!("{lines:?}") };
    assert!(began.starts_with(&format!("WARN {target}throttle refuses calls {who} generation=1")));
    assert!(refused.starts_with(&format!("DEBUG {target}call refused {who} probability=0.")));
    assert_eq!(
        *ceased,
        format!(
            "INFO {target}throttle refuses calls no more {who} generation=2 requests=0 accepts=0"
        )
    );
}
