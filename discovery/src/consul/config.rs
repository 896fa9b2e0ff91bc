//! How an agent is talked to.

use std::{path::PathBuf, sync::Arc, time::Duration};

use reqwest::ClientBuilder;
use seawall_core::ConfigError;

#[cfg(feature = "consul-tls")]
use super::tls::Tls;
use super::{
    EmptyAnswers, Query,
    settings::Auth,
    token::{self, Token},
};
use crate::backoff::Backoff;

mod build;

/// Long enough that idle watches cost next to nothing.
const WAIT: Duration = Duration::from_secs(60);
const SLACK: Duration = Duration::from_secs(5);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// Rare enough that an agent that is down is not bothered, and soon enough to go home.
const RETURN_AFTER: Duration = Duration::from_secs(10);
const GRACE: Duration = Duration::from_secs(30);
/// Some thirty thousand instances.
const ANSWER_MAX: usize = 64 << 20;
/// A third of the connections that Consul grants to one client address.
const IN_FLIGHT: usize = 64;

/// Describes how an agent is talked to.
///
/// | field | default |
/// |---|---|
/// | `or`, `return_after` | one agent; 10 s |
/// | `token`, `basic_auth`, `namespace`, `partition` | none |
/// | `ca_pem`, `identity_pem` | the system's authorities, no certificate |
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
    urls: Vec<String>,
    return_after: Duration,
    token: Result<Token, ConfigError>,
    auth: Option<Auth>,
    #[cfg(feature = "consul-tls")]
    tls: Result<Tls, ConfigError>,
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
            urls: vec![url.to_owned()],
            return_after: RETURN_AFTER,
            token: Ok(Token::None),
            auth: None,
            #[cfg(feature = "consul-tls")]
            tls: Ok(Tls::default()),
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

    /// Another agent, of the same datacenter, to turn to while those named before are dead.
    ///
    /// Watches and queries move when one agent cannot be reached or knows no leader, start over
    /// with the other's indexes, and return when an earlier one answers again. An instance stays
    /// with the agent that took its registration, which is the one that deregisters it; only after
    /// that one was out of reach for the TTL it moves, and is cleared away there as soon as that is
    /// possible.
    pub fn or(mut self, url: &str) -> Self {
        self.urls.push(url.to_owned());
        self
    }

    /// How often an agent that was left is asked whether it is back: 10 ms to 24 h, 10 s by
    /// default.
    pub fn return_after(mut self, every: Duration) -> Self {
        self.return_after = every;
        self
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

    /// User and password for what stands in front of an agent. Sent in a header, shown nowhere.
    pub fn basic_auth(mut self, user: &str, password: &str) -> Self {
        self.auth = Some(Auth { user: user.to_owned(), password: password.to_owned() });
        self
    }

    /// Trusts, over `https`, only those certificates that lead to one of these, in PEM. More calls
    /// add more.
    #[cfg(feature = "consul-tls")]
    #[cfg_attr(docsrs, doc(cfg(feature = "consul-tls")))]
    pub fn ca_pem(mut self, pem: impl AsRef<[u8]>) -> Self {
        self.tls = self.tls.and_then(|mut tls| tls.trust(pem.as_ref()).map(|()| tls));
        self
    }

    /// Shows agents that ask for one this certificate, with its key, both in PEM. The key is shown
    /// nowhere else.
    #[cfg(feature = "consul-tls")]
    #[cfg_attr(docsrs, doc(cfg(feature = "consul-tls")))]
    pub fn identity_pem(mut self, certificate: impl AsRef<[u8]>, key: impl AsRef<[u8]>) -> Self {
        let (certificate, key) = (certificate.as_ref(), key.as_ref());
        self.tls = self.tls.and_then(|mut tls| tls.identify(certificate, key).map(|()| tls));
        self
    }

    /// Trusts any certificate, and so anybody who gets in between: for a test at most.
    #[cfg(feature = "consul-tls")]
    #[cfg_attr(docsrs, doc(cfg(feature = "consul-tls")))]
    pub fn danger_trust_any_certificate(mut self) -> Self {
        if let Ok(tls) = &mut self.tls {
            tls.trust_any();
        }
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

    /// Changes reqwest's client, for what this builder does not know of: a proxy, say. Called twice
    /// for each agent, for there are two clients: one for watches, one for all else.
    pub fn customize_client(
        mut self,
        customize: impl Fn(ClientBuilder) -> ClientBuilder + Send + Sync + 'static,
    ) -> Self {
        self.customize = Box::new(customize);
        self
    }
}

impl std::fmt::Debug for ConsulBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Addresses may hold what they should not until they are checked.
        f.debug_struct("ConsulBuilder").field("token", &self.token).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Consul;

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
            ("url", builder().or("h:8500")),
            ("url", builder().or("http://127.0.0.1:8500")),
            ("return_after", builder().return_after(Duration::ZERO)),
            ("token", builder().token("a\nb")),
            ("query.datacenter", builder().query(Query::new().datacenter(""))),
            ("query.tag", builder().query(Query::new().tag(""))),
            ("query.near", builder().query(Query::new().near(""))),
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
        let secret = || builder().token("hush").basic_auth("user", "hush");
        let shown = format!("{:?} {:?}", secret(), secret().build());
        assert!(!shown.contains("hush"), "{shown}");
        for url in ["http://hush@h", "http://u:hush@h", "http://h/?token=hush"] {
            let error = Consul::new(url).unwrap_err().to_string();
            assert!(!error.contains("hush"), "{error}");
        }
        let error = builder().token("hush\n\u{7}x").build().unwrap_err().to_string();
        assert!(!error.contains("hush"), "{error}");
    }
    #[cfg(feature = "consul-tls")]
    #[test]
    fn a_certificate_or_key_that_is_none_is_refused_by_name_and_never_repeated() {
        let error = |builder: ConsulBuilder| builder.build().unwrap_err();
        assert_eq!(error(builder().ca_pem("nonsense")).field(), "ca_pem");
        assert_eq!(error(builder().ca_pem("")).field(), "ca_pem");
        let key = "-----BEGIN PRIVATE KEY-----\nhush\n-----END PRIVATE KEY-----\n";
        let error = error(builder().identity_pem("nonsense", key));
        assert_eq!(error.field(), "identity_pem");
        assert!(!format!("{error} {error:?}").contains("hush"), "{error:?}");
    }
}
