//! Asking name servers.

use std::{net::IpAddr, sync::Arc, time::Duration};

use hickory_resolver::{
    TokioResolver,
    config::{ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolverConfig},
    net::{NetError, runtime::TokioRuntimeProvider},
    proto::rr::{RData, Record, RecordType},
};
use seawall_core::{ConfigError, Endpoint};
use tracing::warn;

use super::{
    answer::{Answer, endpoint, in_order},
    config::Settings,
    question::Question,
};

/// Two resolvers, because one that asks for both families hides that one of them failed.
#[derive(Clone)]
pub(super) struct Lookup {
    v4: TokioResolver,
    v6: TokioResolver,
}

/// Addresses, or why there are none.
type Found = Result<(Vec<IpAddr>, Duration), NetError>;

impl Lookup {
    pub(super) fn new(settings: &Settings) -> Result<Self, ConfigError> {
        let of = |strategy| {
            let mut builder = if settings.name_servers.is_empty() {
                TokioResolver::builder_tokio().map_err(unreadable)?
            } else {
                let servers = settings.name_servers.iter().map(|server| {
                    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()];
                    let connections = connections.map(|mut connection| {
                        connection.port = server.port();
                        connection
                    });
                    NameServerConfig::new(server.ip(), true, connections.into())
                });
                let config = ResolverConfig::from_name_servers(servers.collect());
                TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
            };
            let options = builder.options_mut();
            // Whoever watches keeps the answer for its time.
            options.cache_size = 0;
            options.ip_strategy = strategy;
            builder.build().map_err(unreadable)
        };
        Ok(Self { v4: of(LookupIpStrategy::Ipv4Only)?, v6: of(LookupIpStrategy::Ipv6Only)? })
    }

    /// Asks for `question`; `last` is what there was before.
    pub(super) async fn ask(&self, question: &Question, last: &[Endpoint]) -> Answer {
        match question {
            Question::Addresses { host, port } => self.addresses(host, *port, last).await,
            Question::Services { name } => self.services(name).await,
        }
    }

    async fn both(&self, host: &str) -> (Found, Found) {
        tokio::join!(addresses(&self.v4, host), addresses(&self.v6, host))
    }

    async fn addresses(&self, host: &str, port: u16, last: &[Endpoint]) -> Answer {
        let (v4, v6) = self.both(host).await;
        let mut missing = None;
        let mut ttl = Duration::MAX;
        let mut endpoints = Vec::new();
        let mut nobody = None;
        for (found, is_v6) in [(&v4, false), (&v6, true)] {
            match found {
                Ok((ips, of)) => {
                    ttl = ttl.min(*of);
                    endpoints.extend(ips.iter().filter_map(|ip| endpoint(*ip, port)));
                }
                Err(error) if error.is_no_records_found() => nobody = Some(line(host, error)),
                Err(error) => {
                    missing = Some(line(host, error));
                    let of_family = |e: &&Endpoint| e.address().host().contains(':') == is_v6;
                    endpoints.extend(last.iter().filter(of_family).cloned());
                }
            }
        }
        match (v4.is_ok() || v6.is_ok(), missing, nobody) {
            (true, missing, _) => {
                Answer::Endpoints { endpoints: in_order(endpoints), ttl, missing }
            }
            (false, Some(why), _) => Answer::Failed(why),
            (false, None, why) => Answer::Nobody(why.unwrap_or_else(|| host.into())),
        }
    }

    async fn services(&self, name: &str) -> Answer {
        let found = match self.v4.lookup(name, RecordType::SRV).await {
            Ok(found) => found,
            Err(error) if error.is_no_records_found() => return Answer::Nobody(line(name, &error)),
            Err(error) => return Answer::Failed(line(name, &error)),
        };
        let mut ttl = ttl(found.answers());
        let mut endpoints = Vec::new();
        for record in found.answers() {
            let RData::SRV(srv) = &record.data else { continue };
            // A target that is the root says that there is decidedly no such service (RFC 2782).
            if srv.target.is_root() {
                continue;
            }
            let target = srv.target.to_utf8();
            let (v4, v6) = self.both(&target).await;
            let before = endpoints.len();
            for found in [v4, v6] {
                match found {
                    Ok((ips, of)) => {
                        ttl = ttl.min(of);
                        let of_target = ips.iter().filter_map(|ip| endpoint(*ip, srv.port));
                        endpoints.extend(of_target.map(|endpoint| {
                            endpoint
                                .with_weight(srv.weight.max(1))
                                .with_priority(srv.priority.into())
                        }));
                    }
                    Err(error) if error.is_no_records_found() => {}
                    Err(error) => return Answer::Failed(line(&target, &error)),
                }
            }
            if endpoints.len() == before {
                warn!(service = name, target, "a target without an address is skipped");
            }
        }
        match endpoints.is_empty() {
            true => Answer::Nobody(format!("{name}: no target has an address").into()),
            false => Answer::Endpoints { endpoints: in_order(endpoints), ttl, missing: None },
        }
    }
}

async fn addresses(resolver: &TokioResolver, host: &str) -> Found {
    let found = resolver.lookup_ip(host).await?;
    Ok((found.iter().collect(), ttl(found.as_lookup().answers())))
}

/// The lowest of the records' TTLs.
fn ttl(records: &[Record]) -> Duration {
    let lowest = records.iter().map(|record| record.ttl).min();
    Duration::from_secs(lowest.unwrap_or(0).into())
}

fn line(name: &str, error: &NetError) -> Arc<str> {
    format!("{name}: {error}").into()
}

fn unreadable(error: NetError) -> ConfigError {
    ConfigError::new("name_server", "of the system", format!("readable: {error}"))
}
