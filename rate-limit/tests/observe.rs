//! What is told of decisions.

#![cfg(all(feature = "metrics", feature = "tracing", feature = "serde"))]
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::{
    collections::BTreeMap,
    fmt::{self, Write},
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::FutureExt;
use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use seawall_rate_limit::{
    Clock, Config, KeyedLimiter, MetricsObserver, Observer, Quota, RateLimiter, Snapshot, Totals,
    TracingObserver,
    algorithm::{Several, SlidingLog},
    concurrency::{self, ConcurrencyLimit},
};
use tracing::{Event, Metadata as Traced, Subscriber, field, span};

/// A limiter that lets one call pass, makes one wait, refuses one for now and one for good, is
/// changed, and refuses one in shadow.
async fn use_it(observer: Arc<dyn Observer>) {
    let limiter = RateLimiter::new(Quota::per_minute(2).burst(1)).unwrap();
    let limiter = limiter.named("orders").observed_by(observer).with_clock(Clock::tokio());
    limiter.check().unwrap();
    let _ = limiter.until_ready(1).boxed().now_or_never();
    limiter.check().unwrap_err();
    limiter.check_n(2).unwrap_err();
    limiter.set_quota(Quota::per_minute(3).burst(1)).unwrap();
    limiter.set_shadow(true);
    limiter.check().unwrap();
    // Looking is no event.
    limiter.peek().unwrap_err();
    limiter.check_n(0).unwrap();
    limiter.snapshot();
}

/// A limit of one call and one that waits, which refuses in each of its ways and is moved.
async fn crowd(observer: Arc<dyn concurrency::Observer>) {
    let wait = Duration::from_millis(10);
    let config = concurrency::Config::builder(1).queue(1, wait).build().unwrap();
    let limit = ConcurrencyLimit::of(config).named("orders").observed_by(observer);
    let _permit = limit.try_acquire().unwrap();
    let mut waiting = Box::pin(limit.acquire());
    assert!((&mut waiting).now_or_never().is_none(), "it waits");
    limit.try_acquire().unwrap_err();
    limit.acquire().now_or_never().unwrap().unwrap_err();
    tokio::time::advance(wait).await;
    waiting.await.unwrap_err();
    limit.set_limit(3).unwrap();
}

type Lines = Arc<Mutex<BTreeMap<String, f64>>>;

#[derive(Default)]
struct Recording(Lines);

struct Line(Lines, String);

impl Line {
    fn add(&self, value: f64) {
        *self.0.lock().unwrap().entry(self.1.clone()).or_default() += value;
    }
}

impl metrics::CounterFn for Line {
    fn increment(&self, value: u64) {
        self.add(value as f64);
    }

    fn absolute(&self, _: u64) {}
}

impl metrics::GaugeFn for Line {
    fn increment(&self, value: f64) {
        self.add(value);
    }

    fn decrement(&self, value: f64) {
        self.add(-value);
    }

    fn set(&self, value: f64) {
        self.add(value);
    }
}

impl metrics::HistogramFn for Line {
    fn record(&self, value: f64) {
        self.add(value);
    }
}

impl Recording {
    fn line(&self, key: &Key) -> Arc<Line> {
        let mut text = key.name().to_owned();
        for label in key.labels() {
            write!(text, " {}={}", label.key(), label.value()).unwrap();
        }
        Arc::new(Line(self.0.clone(), text))
    }
}

impl Recorder for Recording {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.line(key))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.line(key))
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(self.line(key))
    }
}

#[tokio::test(start_paused = true)]
async fn metrics_have_few_names_and_labels() {
    let recording = Recording::default();
    let lines = recording.0.clone();
    metrics::with_local_recorder(&recording, || {
        use_it(Arc::new(MetricsObserver::default())).now_or_never().unwrap();
    });
    let expected = [
        ("seawall.rate_limit.allowed name=orders", 1.0),
        ("seawall.rate_limit.quota.limit name=orders", 3.0),
        ("seawall.rate_limit.rejections name=orders shadow=false reason=never", 1.0),
        ("seawall.rate_limit.rejections name=orders shadow=false reason=not_yet", 1.0),
        ("seawall.rate_limit.rejections name=orders shadow=true reason=not_yet", 1.0),
        ("seawall.rate_limit.wait.duration name=orders", 30.0),
    ];
    let expected = expected.map(|(line, value)| (line.to_owned(), value));
    assert_eq!(*lines.lock().unwrap(), BTreeMap::from(expected));
}

#[tokio::test(start_paused = true)]
async fn metrics_tell_where_a_concurrency_limit_is_and_whom_it_refused() {
    let recording = Recording::default();
    let lines = recording.0.clone();
    let _guard = metrics::set_default_local_recorder(&recording);
    crowd(Arc::new(MetricsObserver::default())).await;
    let expected = [
        ("seawall.concurrency_limit.limit name=orders", 3.0),
        ("seawall.concurrency_limit.rejections name=orders reason=full", 1.0),
        ("seawall.concurrency_limit.rejections name=orders reason=queue_full", 1.0),
        ("seawall.concurrency_limit.rejections name=orders reason=waited_too_long", 1.0),
    ];
    let expected = expected.map(|(line, value)| (line.to_owned(), value));
    assert_eq!(*lines.lock().unwrap(), BTreeMap::from(expected));
}

#[tokio::test(start_paused = true)]
async fn the_log_says_how_a_concurrency_limit_moved_and_why_calls_were_refused() {
    let log = Log::default();
    let _guard = tracing::subscriber::set_default(log.clone());
    crowd(Arc::new(TracingObserver::default())).await;
    let refused = |reason| {
        format!(
            "DEBUG seawall::concurrency_limit message=call refused name=\"orders\" \
             reason=\"{reason}\""
        )
    };
    let moved = "DEBUG seawall::concurrency_limit message=concurrency limit moved \
                 name=\"orders\" from=1 to=3";
    let expected =
        [refused("full"), refused("queue_full"), refused("waited_too_long"), moved.to_owned()];
    assert_eq!(*log.0.lock().unwrap(), expected);
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

struct Fields(String);

impl field::Visit for Fields {
    fn record_debug(&mut self, field: &field::Field, value: &dyn fmt::Debug) {
        write!(self.0, " {}={value:?}", field.name()).unwrap();
    }
}

impl Subscriber for Log {
    fn enabled(&self, metadata: &Traced<'_>) -> bool {
        metadata.target().starts_with("seawall")
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut fields =
            Fields(format!("{} {}", event.metadata().level(), event.metadata().target()));
        event.record(&mut fields);
        self.0.lock().unwrap().push(fields.0);
    }

    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

#[tokio::test(start_paused = true)]
async fn the_log_says_what_was_refused_and_until_when() {
    let log = Log::default();
    tracing::subscriber::with_default(log.clone(), || {
        use_it(Arc::new(TracingObserver::default())).now_or_never().unwrap();
    });
    let lines = log.0.lock().unwrap().clone();
    assert_eq!(
        lines,
        [
            "TRACE seawall::rate_limit message=call allowed name=\"orders\" cost=1 remaining=0",
            "DEBUG seawall::rate_limit message=call waits name=\"orders\" cost=1 wait=30s",
            "DEBUG seawall::rate_limit message=call refused name=\"orders\" cost=1 limit=1 \
             retry_after=Some(30s) shadow=false",
            "DEBUG seawall::rate_limit message=call refused name=\"orders\" cost=2 limit=1 \
             retry_after=None shadow=false",
            "INFO seawall::rate_limit message=rate limit changed its quota name=\"orders\" \
             quota=3 per 1m, burst 1",
            "DEBUG seawall::rate_limit message=call refused name=\"orders\" cost=1 limit=1 \
             retry_after=Some(20s) shadow=true",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn totals_are_exact_and_there_only_when_they_are_wanted() {
    let quota = Quota::per_second(2);
    assert_eq!(RateLimiter::new(quota).unwrap().snapshot().totals, None);
    let limiter = RateLimiter::of(SlidingLog::new(quota).unwrap());
    let limiter = limiter.count_decisions().with_clock(Clock::tokio());
    limiter.check_n(2).unwrap();
    limiter.check().unwrap_err();
    limiter.until_ready(1).await.unwrap();
    limiter.until_ready(2).within(Duration::from_millis(10)).await.unwrap_err();
    limiter.check_n(0).unwrap();
    limiter.set_shadow(true);
    limiter.check_n(2).unwrap();
    limiter.until_ready(7).await.unwrap();
    let json = serde_json::to_value(limiter.snapshot()).unwrap();
    let totals = serde_json::json!(
        {"allowed": 2, "waited": 1, "rejected": 2, "shadow_rejected": 2}
    );
    assert_eq!(json["totals"], totals);
    assert_eq!((&json["remaining"], &json["shadow"]), (&1.into(), &true.into()));
    assert_eq!((&json["quota"], &json["reset_after"]), (&"2 per 1s".into(), &"1s".into()));
}

#[test]
fn a_keyed_limiter_is_counted_and_shadowed_as_a_whole() {
    let (clock, _hand) = Clock::manual();
    let limiter = KeyedLimiter::<str>::new(Quota::per_minute(3), 100).unwrap();
    let limiter = limiter.count_decisions().with_clock(clock);
    limiter.set_reserve(2);
    assert!(limiter.check_sheddable("a", 1).is_ok());
    assert!(limiter.check_sheddable("a", 1).is_err());
    assert!(limiter.check_n("a", 2).is_ok());
    limiter.set_shadow(true);
    assert!(limiter.check("a").is_ok());
    assert!(limiter.peek("a").is_err(), "what is looked at is what is decided");
    let Totals { allowed, rejected, shadow_rejected, .. } = limiter.totals().unwrap();
    assert_eq!((allowed, rejected, shadow_rejected), (2, 1, 1));
}

fn read(json: &str) -> Result<Config, String> {
    serde_json::from_str(json).map_err(|error| error.to_string())
}

#[test]
fn a_file_says_it_short_or_in_full() {
    let config = read("\"100/s burst 200\"").unwrap();
    assert_eq!(config, Config::new(Quota::per_second(100).burst(200)));
    let config = read(r#"{"quota": ["100/s", "1000 per 1h"], "reserve": 5, "shadow": true}"#);
    let config = config.unwrap();
    let quotas = [Quota::per_second(100), Quota::per_hour(1_000)];
    assert_eq!(config, Config::all_of(quotas).reserve(5).shadow(true));
    let again = read(&serde_json::to_string(&config).unwrap()).unwrap();
    assert_eq!(again, config);

    let limiter = RateLimiter::<Several<SlidingLog>>::from_config(&config).unwrap();
    let Snapshot { reserve, shadow, .. } = limiter.snapshot();
    assert_eq!((reserve, shadow), (5, true));
    limiter.apply(&read(r#"{"quota": "10/s"}"#).unwrap()).unwrap();
    assert!(limiter.check_n(11).unwrap_err().is_never());
    assert!(!limiter.is_shadow());
}

#[test]
fn a_file_with_a_mistake_is_refused_with_its_name() {
    for (json, says) in [
        (r#"{"quota": "1/s", "burts": 5}"#, "unknown field `burts`"),
        (r#"{"reserve": 5}"#, "missing field `quota`"),
        (r#"{"quota": []}"#, "`quota` is an empty list, but must be one quota or more"),
        (r#"{"quota": ["1/s", "often"]}"#, "`quota` is \"often\", but must be as in `100/s`"),
        ("\"often\"", "`quota` is \"often\""),
        ("7", "a quota, as in \"100/s burst 200\", or a map"),
    ] {
        let error = read(json).unwrap_err();
        assert!(error.contains(says), "{json}: {error}");
    }
    let two = read(r#"{"quota": ["1/s", "5/min"]}"#).unwrap();
    let error = RateLimiter::new(Quota::per_second(1)).unwrap().apply(&two).unwrap_err();
    assert_eq!(error.to_string(), "`quota` is 2 quotas, but must be one quota");
}
