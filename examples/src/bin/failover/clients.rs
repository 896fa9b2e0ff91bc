//! The clients under test: seawall's, and what a user would take instead.

use std::{error::Error, net::SocketAddr, time::Duration};

use seawall::{grpc::GrpcClient, policy::Policy};
use seawall_examples::orders::{GetRequest, orders_client::OrdersClient};
use serde::Serialize;
use tonic::transport::{Channel, Endpoint};

/// The one policy that seawall's clients are told.
const POLICY: &str = include_str!("../../../failover.yaml");

/// What the others are told, so that a server that hangs does not hold them for ever.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
const TIMEOUT: Duration = Duration::from_secs(2);

/// Who makes the calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Contender {
    TonicBalanceList,
    Seawall,
    ReqwestDns,
    SeawallHttp,
}

impl Contender {
    pub(crate) const ALL: [Self; 4] =
        [Self::TonicBalanceList, Self::Seawall, Self::ReqwestDns, Self::SeawallHttp];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::TonicBalanceList => "tonic_balance_list",
            Self::Seawall => "seawall",
            Self::ReqwestDns => "reqwest_dns",
            Self::SeawallHttp => "seawall_http",
        }
    }
}

/// A client of three servers, as each of the callers has one.
#[derive(Clone, Debug)]
pub(crate) enum Client {
    Tonic(OrdersClient<Channel>),
    Seawall(OrdersClient<GrpcClient>),
    Reqwest(reqwest::Client),
    SeawallHttp(reqwest_middleware::ClientWithMiddleware),
}

impl Client {
    pub(crate) fn new(who: Contender, servers: &[SocketAddr]) -> Result<Self, Box<dyn Error>> {
        let addresses = servers.iter().map(ToString::to_string);
        Ok(match who {
            Contender::TonicBalanceList => {
                let endpoints: Result<Vec<_>, _> = addresses
                    .map(|address| {
                        let endpoint = Endpoint::from_shared(format!("http://{address}"))?;
                        Ok::<_, tonic::transport::Error>(
                            endpoint.connect_timeout(CONNECT_TIMEOUT).timeout(TIMEOUT),
                        )
                    })
                    .collect();
                Self::Tonic(OrdersClient::new(Channel::balance_list(endpoints?.into_iter())))
            }
            Contender::Seawall => {
                let policy = Policy::from_yaml(POLICY)?;
                let orders = seawall::grpc("orders").endpoints(addresses).policy(policy);
                Self::Seawall(OrdersClient::new(orders.build()?))
            }
            Contender::ReqwestDns => {
                let client = reqwest::Client::builder()
                    .no_proxy()
                    .connect_timeout(CONNECT_TIMEOUT)
                    .timeout(TIMEOUT)
                    .resolve_to_addrs("orders", servers);
                Self::Reqwest(client.build()?)
            }
            Contender::SeawallHttp => {
                let policy = Policy::from_yaml(POLICY)?;
                let orders = seawall::http("orders").endpoints(addresses).policy(policy);
                Self::SeawallHttp(orders.build()?.client())
            }
        })
    }

    /// One call, and whether it was answered.
    pub(crate) async fn call(&mut self, id: u64) -> bool {
        const URL: &str = "http://orders/orders/1";
        match self {
            Self::Tonic(client) => client.get(GetRequest { id }).await.is_ok(),
            Self::Seawall(client) => client.get(GetRequest { id }).await.is_ok(),
            Self::Reqwest(client) => whole(client.get(URL).send().await).await,
            Self::SeawallHttp(client) => whole(client.get(URL).send().await).await,
        }
    }
}

async fn whole<E>(response: Result<reqwest::Response, E>) -> bool {
    match response {
        Ok(response) if response.status().is_success() => response.bytes().await.is_ok(),
        _ => false,
    }
}
