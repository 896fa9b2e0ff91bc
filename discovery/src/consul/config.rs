//! How an agent is talked to.

use std::{path::PathBuf, sync::Arc, time::Duration};

use reqwest::{ClientBuilder, Url, redirect};
use seawall_core::ConfigError;

use super::{
    Consul, EmptyAnswers, Query, Shared, follow,
    http::Http,
    settings::Settings,
    token::{self, Token},
};
use crate::{backoff::Backoff, hub::Hub};

/// Long enough that idle watches cost next to nothing.
const WAIT: Duration = Duration::from_secs(60);
/// Consul answers no later than this, whatever it is asked for.
const WAIT_MAX: Duration = Duration::from_secs(600);
const SLACK: Duration = Duration::from_secs(5);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Finds out that the other side vanished without a word while a query waits.
const KEEPALIVE: Duration = Duration::from_secs(15);
const GRACE: Duration = Duration::from_secs(30);
/// Some thirty thousand instances.
const ANSWER_MAX: usize = 64 << 20;
/// A third of the connections that Consul grants to one client address.
const IN_FLIGHT: usize = 64;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Describes how an agent is talked to.
///
/// | field | default |
/// |---|---|
/// | `token`, `namespace`, `partition` | none |
/// | `query` | all that pass or warn |
/// | `wait` | 60 s |
/// | `wait_slack` | 5 s |
/// | `request_timeout` | 5 s |
/// | `backoff` | 100 ms to 10 s |
/// | `empty_answers` | hold for 30 s |
/// | `max_answer_bytes` | 64 MiB |
/// | `max_in_flight` | 64 |
#[must_use]
pub struct ConsulBuilder {
    url: String,
    token: Result<Token, ConfigError>,
    query: Query,
    namespace: Option<String>,
    partition: Option<String>,
    wait: Duration,
    slack: Duration,
    request_timeout: Duration,
    backoff: Backoff,
    empty_answers: EmptyAnswers,
    answer_max: usize,
    in_flight: usize,
    customize: Box<dyn Fn(ClientBuilder) -> ClientBuilder + Send + Sync>,
}

impl ConsulBuilder {
    pub(super) fn new(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            token: Ok(Token::None),
            query: Query::new(),
            namespace: None,
            partition: None,
            wait: WAIT,
            slack: SLACK,
            request_timeout: REQUEST_TIMEOUT,
            backoff: Backoff::default(),
            empty_answers: EmptyAnswers::HoldFor(GRACE),
            answer_max: ANSWER_MAX,
            in_flight: IN_FLIGHT,
            customize: Box::new(|client| client),
        }
    }

    /// The access token. It is only ever sent in a header, and shown nowhere.
    pub fn token(mut self, token: &str) -> Self {
        self.token = token::header(token).map(Token::Value).ok_or_else(|| {
            ConfigError::new("token", "not shown", "visible ASCII, for it is sent in a header")
        });
        self
    }

    /// The file that holds the access token, read anew for each request.
    pub fn token_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.token = Ok(Token::File(path.into()));
        self
    }

    /// Gives the access token, called anew for each request; it must not block.
    pub fn token_with(mut self, call: impl Fn() -> String + Send + Sync + 'static) -> Self {
        self.token = Ok(Token::Call(Arc::new(call)));
        self
    }

    /// What [`Resolver::watch`](crate::Resolver::watch) follows of each service: all that pass or
    /// warn, by default.
    pub fn query(mut self, query: Query) -> Self {
        self.query = query;
        self
    }

    /// The namespace that instances are registered and followed in; Consul Enterprise only.
    pub fn namespace(mut self, name: impl Into<String>) -> Self {
        self.namespace = Some(name.into());
        self
    }

    /// The admin partition that instances are registered and followed in; Consul Enterprise only.
    pub fn partition(mut self, name: impl Into<String>) -> Self {
        self.partition = Some(name.into());
        self
    }

    /// How long Consul may hold a query while nothing changes: 10 ms to 10 min, 60 s by default.
    ///
    /// It is also about how long it takes until a server is missed that is reachable and silent.
    pub fn wait(mut self, wait: Duration) -> Self {
        self.wait = wait;
        self
    }

    /// How long after the end of a wait an answer may come, beside the sixteenth of the wait that
    /// Consul adds by itself: 10 ms to 24 h, 5 s by default.
    pub fn wait_slack(mut self, slack: Duration) -> Self {
        self.slack = slack;
        self
    }

    /// How long a request that does not wait for a change may take: 10 ms to 24 h, 5 s by default.
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        self.request_timeout = timeout;
        self
    }

    /// How long a watch waits after a failure: at random, at most `first` after the first failure
    /// in a row, twice that after each more, and never more than `most`. 1 ms to 24 h; 100 ms and
    /// 10 s by default.
    pub fn backoff(mut self, first: Duration, most: Duration) -> Self {
        self.backoff = Backoff { first, most };
        self
    }

    /// What becomes of the last good set when an empty answer cannot be trusted; held for 30 s by
    /// default.
    pub fn empty_answers(mut self, policy: EmptyAnswers) -> Self {
        self.empty_answers = policy;
        self
    }

    /// How large an answer may be; a larger one is an error, and the last good set stays. At least
    /// 1 KiB, 64 MiB by default.
    pub fn max_answer_bytes(mut self, max: usize) -> Self {
        self.answer_max = max;
        self
    }

    /// How many queries may wait at Consul at once: at least 1, 64 by default.
    ///
    /// Each takes a connection, and Consul grants 200 to one client address. When more services are
    /// watched, they take turns of half a second, and a change is seen up to
    /// `services / max_in_flight` turns late.
    pub fn max_in_flight(mut self, max: usize) -> Self {
        self.in_flight = max;
        self
    }

    /// Changes reqwest's client: certificates, a Unix socket, a proxy. Called twice, for there are
    /// two clients: one for watches, one for all else.
    pub fn customize_client(
        mut self,
        customize: impl Fn(ClientBuilder) -> ClientBuilder + Send + Sync + 'static,
    ) -> Self {
        self.customize = Box::new(customize);
        self
    }

    /// The agent. Connects to nothing yet.
    ///
    /// # Errors
    ///
    /// Names the first field that is out of its range.
    pub fn build(self) -> Result<Consul, ConfigError> {
        let base = base(&self.url)?;
        let ms = Duration::from_millis;
        within("wait", self.wait, ms(10), WAIT_MAX, "10 ms to 10 min")?;
        within("wait_slack", self.slack, ms(10), DAY, "10 ms to 24 h")?;
        within("request_timeout", self.request_timeout, ms(10), DAY, "10 ms to 24 h")?;
        within("backoff", self.backoff.first, ms(1), self.backoff.most, "1 ms to its own most")?;
        within("backoff", self.backoff.most, ms(1), DAY, "1 ms to 24 h")?;
        if let EmptyAnswers::HoldFor(grace) = self.empty_answers {
            within("empty_answers", grace, Duration::ZERO, DAY, "up to 24 h")?;
        }
        if self.answer_max < 1024 {
            return Err(ConfigError::new("max_answer_bytes", self.answer_max, "at least 1024"));
        }
        if self.in_flight == 0 {
            return Err(ConfigError::new("max_in_flight", 0, "at least 1"));
        }
        self.query.check()?;
        for (field, name) in [("namespace", &self.namespace), ("partition", &self.partition)] {
            if name.as_deref() == Some("") {
                return Err(ConfigError::new(field, "empty", "a name"));
            }
        }
        let client = || {
            let client = reqwest::Client::builder()
                // A proxy for the web at large is none for an agent on this machine.
                .no_proxy()
                // A redirect would carry the token to wherever it points.
                .redirect(redirect::Policy::none())
                .connect_timeout(CONNECT_TIMEOUT)
                .tcp_keepalive(KEEPALIVE);
            (self.customize)(client).build().map_err(|error| {
                ConfigError::new("customize_client", error, "what reqwest can build a client of")
            })
        };
        let (control, waiting) = (client()?, client()?);
        let settings = Settings {
            base,
            token: self.token?,
            query: self.query,
            namespace: self.namespace,
            partition: self.partition,
            wait: self.wait,
            slack: self.slack,
            request_timeout: self.request_timeout,
            backoff: self.backoff,
            empty_answers: self.empty_answers,
            answer_max: self.answer_max,
            in_flight: self.in_flight,
        };
        let http = Http::new(control, waiting, settings.clone());
        let turns = follow::Turns::new(settings.in_flight);
        Ok(Consul { shared: Arc::new(Shared { settings, http, hub: Hub::default(), turns }) })
    }
}

impl std::fmt::Debug for ConsulBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ConsulBuilder").field("token", &self.token).finish_non_exhaustive()
    }
}

fn base(url: &str) -> Result<Url, ConfigError> {
    let allowed = "an http or https URL without user, query and fragment, such as \
                   http://127.0.0.1:8500";
    let refused = |shown: &str| ConfigError::new("url", shown, allowed);
    let base = Url::parse(url).map_err(|_| refused(&format!("{url:?}")))?;
    // What may hold a secret is not repeated.
    if !base.username().is_empty() || base.password().is_some() || base.query().is_some() {
        return Err(refused("one with a user or a query"));
    }
    if !matches!(base.scheme(), "http" | "https") || !base.has_host() || base.fragment().is_some() {
        return Err(refused(&format!("{url:?}")));
    }
    Ok(base)
}

fn within(
    field: &'static str,
    value: Duration,
    min: Duration,
    max: Duration,
    allowed: &'static str,
) -> Result<(), ConfigError> {
    if value < min || value > max {
        return Err(ConfigError::new(field, format_args!("{value:?}"), allowed));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn builder() -> ConsulBuilder {
        Consul::builder("http://127.0.0.1:8500")
    }

    #[test]
    fn a_wrong_setting_is_refused_by_name_before_any_request() {
        let ms = Duration::from_millis;
        let no_key = super::super::WeightFrom::Tag("".into());
        for (field, builder) in [
            ("url", Consul::builder("127.0.0.1:8500")),
            ("url", Consul::builder("")),
            ("url", Consul::builder("ftp://127.0.0.1")),
            ("url", Consul::builder("http://h/#x")),
            ("token", builder().token("a\nb")),
            ("query.datacenter", builder().query(Query::new().datacenter(""))),
            ("query.tag", builder().query(Query::new().tag(""))),
            ("query.filter", builder().query(Query::new().filter(""))),
            ("query.weight_from", builder().query(Query::new().weight_from(no_key))),
            ("namespace", builder().namespace("")),
            ("partition", builder().partition("")),
            ("wait", builder().wait(Duration::ZERO)),
            ("wait", builder().wait(ms(600_001))),
            ("wait_slack", builder().wait_slack(Duration::ZERO)),
            ("request_timeout", builder().request_timeout(Duration::ZERO)),
            ("backoff", builder().backoff(Duration::ZERO, ms(5))),
            ("backoff", builder().backoff(ms(6), ms(5))),
            ("backoff", builder().backoff(ms(6), Duration::MAX)),
            ("empty_answers", builder().empty_answers(EmptyAnswers::HoldFor(Duration::MAX))),
            ("max_answer_bytes", builder().max_answer_bytes(1023)),
            ("max_in_flight", builder().max_in_flight(0)),
        ] {
            assert_eq!(builder.build().expect_err(field).field(), field);
        }
    }

    #[test]
    fn no_secret_shows_in_debug_or_in_an_error() {
        let shown = format!("{:?} {:?}", builder().token("hush"), builder().token("hush").build());
        assert!(!shown.contains("hush"), "{shown}");
        for url in ["http://hush@h", "http://u:hush@h", "http://h/?token=hush"] {
            let error = Consul::new(url).unwrap_err().to_string();
            assert!(!error.contains("hush"), "{error}");
        }
        let error = builder().token("hush\n\u{7}x").build().unwrap_err().to_string();
        assert!(!error.contains("hush"), "{error}");
    }
}
