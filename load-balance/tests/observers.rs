//! What the observers for `metrics` and `tracing` write.
#![cfg(all(feature = "metrics", feature = "tracing"))]
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex},
};

use common::endpoints;
use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder,
    SharedString, Unit,
};
use seawall_core::{Clock, Guard, Outcome};
use seawall_load_balance::{
    Config, Ejection, EndpointSet, MetricsObserver, Observer, Picker, TracingObserver,
};
use seawall_test_support::{Probe, Readiness};

/// Ejects one of two for a failure, brings it back by hand.
fn story(observer: Arc<dyn Observer>) {
    let (clock, _) = Clock::manual();
    let ejection = Ejection::new().with_consecutive_failures(1);
    let config = Config::builder().name("orders").observer(observer).ejection(ejection);
    let config = config.panic_threshold(60).clock(clock).seed(1).build().unwrap();
    let mut picker = Picker::with_config(endpoints(2), config);
    let mut picked = picker.pick().unwrap();
    let id = picked.id().clone();
    picked.answered();
    picked.finish(Outcome::Failure);
    assert!(picker.uneject(&id));
}

async fn refusal(observer: Arc<dyn Observer>) {
    let config = Config::builder().name("orders").observer(observer);
    let make = |_: &seawall_core::Endpoint| {
        Ok::<_, io::Error>(tower::service_fn(|(): ()| async { Ok::<_, io::Error>(()) }))
    };
    let balancer = seawall_load_balance::Balancer::builder(EndpointSet::new(), make)
        .config(config.wait_for_endpoints(std::time::Duration::ZERO))
        .build()
        .unwrap();
    tower::ServiceExt::oneshot(balancer, ()).await.unwrap_err();
}

/// A call to an endpoint whose service is broken.
async fn unreachable(observer: Arc<dyn Observer>) {
    let make = |_: &seawall_core::Endpoint| {
        let probe = Probe::always(());
        Ok::<Probe<(), (), io::Error>, io::Error>(
            probe.readiness(|| Readiness::Error(io::ErrorKind::BrokenPipe.into())),
        )
    };
    let balancer = seawall_load_balance::Balancer::builder(endpoints(1), make)
        .config(Config::builder().name("orders").observer(observer))
        .build()
        .unwrap();
    tower::ServiceExt::oneshot(balancer, ()).await.unwrap_err();
}

#[derive(Clone, Default)]
struct Recorded(Arc<Mutex<BTreeMap<String, f64>>>);

struct One(Recorded, String);

impl One {
    fn add(&self, value: f64) {
        *self.0.0.lock().unwrap().entry(self.1.clone()).or_default() += value;
    }
}

impl CounterFn for One {
    fn increment(&self, value: u64) {
        self.add(value as f64);
    }
    fn absolute(&self, _: u64) {}
}

impl GaugeFn for One {
    fn increment(&self, _: f64) {}
    fn decrement(&self, _: f64) {}
    fn set(&self, value: f64) {
        // All values that it had, as a row of digits.
        let row = self.0.0.lock().unwrap().get(&self.1).copied().unwrap_or_default();
        self.0.0.lock().unwrap().insert(self.1.clone(), row * 10.0 + value);
    }
}

impl HistogramFn for One {
    fn record(&self, _: f64) {
        self.add(1.0);
    }
}

impl Recorded {
    fn one(&self, key: &Key) -> Arc<One> {
        let labels: Vec<_> =
            key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
        Arc::new(One(self.clone(), format!("{}{{{}}}", key.name(), labels.join(","))))
    }
}

impl Recorder for Recorded {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.one(key))
    }
    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.one(key))
    }
    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(self.one(key))
    }
}

#[test]
fn metrics_are_counted_by_name_and_cause_and_never_by_endpoint() {
    let recorded = Recorded::default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    metrics::with_local_recorder(&recorded, || {
        story(Arc::new(MetricsObserver::default().calls()));
        runtime.block_on(refusal(Arc::new(MetricsObserver::default())));
        runtime.block_on(unreachable(Arc::new(MetricsObserver::default())));
    });
    let lines: Vec<_> =
        recorded.0.lock().unwrap().iter().map(|(key, value)| format!("{key} {value}")).collect();
    assert_eq!(
        lines,
        [
            "seawall.load_balance.calls{name=orders,outcome=failure} 1",
            "seawall.load_balance.connection_failures{name=orders} 1",
            "seawall.load_balance.ejections{name=orders,cause=consecutive_failures} 1",
            "seawall.load_balance.latency{name=orders} 1",
            // It began and it ended.
            "seawall.load_balance.panic{name=orders} 10",
            "seawall.load_balance.rejections{name=orders} 1",
            "seawall.load_balance.returns{name=orders,by_hand=true} 1",
        ]
    );
}

#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl io::Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn events_are_logged_with_their_fields() {
    let written = Written::default();
    let writer = written.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .without_time()
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    tracing::subscriber::with_default(subscriber, || {
        story(Arc::new(TracingObserver::default()));
        runtime.block_on(refusal(Arc::new(TracingObserver::default())));
        runtime.block_on(unreachable(Arc::new(TracingObserver::default())));
    });
    let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
    let flat: Vec<_> = text.lines().map(str::trim).collect();
    assert_eq!(flat.len(), 6, "{text}");
    assert!(flat[0].starts_with("WARN seawall::load_balance: endpoint taken out name=\"orders\""));
    assert!(flat[0].ends_with("cause=\"consecutive_failures\" time=30s"), "{text}");
    assert!(flat[1].starts_with("WARN") && flat[1].ends_with("well=1 endpoints=2"), "{text}");
    assert!(flat[2].starts_with("INFO") && flat[2].ends_with("by_hand=true"), "{text}");
    assert!(flat[3].starts_with("INFO") && flat[3].ends_with("well=2 endpoints=2"), "{text}");
    let refused = "DEBUG seawall::load_balance: call refused name=\"orders\" \
                   rejection=no endpoint to call (orders)";
    assert_eq!(flat[4], refused);
    let unreachable = "DEBUG seawall::load_balance: no connection to endpoint name=\"orders\" \
                       endpoint=\"e000000\"";
    assert_eq!(flat[5], unreachable);
}
