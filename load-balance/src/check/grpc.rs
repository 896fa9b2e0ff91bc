//! Checks by the gRPC health protocol, `grpc.health.v1`.

use std::{sync::Arc, time::Duration};

use ::http::uri::PathAndQuery;
use ::tonic::{
    Code, Request, Status,
    client::Grpc,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    transport::Channel,
};
use bytes::{Buf, BufMut};
use seawall_core::{BoxError, Endpoint};

use crate::{Check, CheckFuture, MakeEndpoint, tonic::MakeChannel};

/// How often a connection that is watched must show that it lives.
const KEEP_ALIVE: Duration = Duration::from_secs(5);

/// `SERVING` in `grpc.health.v1.HealthCheckResponse.ServingStatus`.
const SERVING: u64 = 1;

/// Passes when a server's health service says SERVING.
///
/// A server without a health service passes, as in gRPC's own
/// [client-side health checks](https://github.com/grpc/proposal/blob/master/A17-client-side-health-checking.md).
///
/// ```
/// use seawall_load_balance::{ActiveChecks, tonic::{GrpcCheck, MakeChannel}};
///
/// let checks = ActiveChecks::new(GrpcCheck::new(MakeChannel::http(), "shop.Orders").watching());
/// # let _ = checks;
/// ```
#[derive(Clone, Debug)]
pub struct GrpcCheck {
    make: MakeChannel,
    service: Arc<str>,
    watches: bool,
}

impl GrpcCheck {
    /// Asks for `service`, or with an empty name for the server as a whole, over channels of its own.
    pub fn new(make: MakeChannel, service: impl Into<Arc<str>>) -> Self {
        Self { make, service: service.into(), watches: false }
    }

    /// Listens with `Watch`, so that a change is known at once, and asks with `Check` when that
    /// ends. The connection is kept alive by pings, so that one to a hung server ends too.
    #[must_use]
    pub fn watching(mut self) -> Self {
        self.watches = true;
        self
    }

    fn client(&self, endpoint: &Endpoint) -> Result<Grpc<Channel>, BoxError> {
        let make = self.make.clone().also(|channel| {
            channel
                .http2_keep_alive_interval(KEEP_ALIVE)
                .keep_alive_timeout(KEEP_ALIVE)
                .keep_alive_while_idle(true)
        });
        Ok(Grpc::new(make.make(endpoint)?))
    }
}

impl Check for GrpcCheck {
    fn check(&self, endpoint: &Endpoint) -> CheckFuture {
        let (client, service) = (self.client(endpoint), self.service.clone());
        Box::pin(async move {
            let mut client = client?;
            client.ready().await?;
            let path = PathAndQuery::from_static("/grpc.health.v1.Health/Check");
            match client.unary(Request::new(service), path, HealthCodec).await {
                Ok(status) if status.get_ref() == &SERVING => Ok(()),
                Ok(status) => Err(format!("serving status {}", status.get_ref()).into()),
                Err(status) if status.code() == Code::Unimplemented => Ok(()),
                Err(status) => Err(status.into()),
            }
        })
    }

    fn watch(
        &self,
        endpoint: &Endpoint,
        mut tell: Box<dyn FnMut(bool) + Send>,
    ) -> Option<CheckFuture> {
        if !self.watches {
            return None;
        }
        let (client, service) = (self.client(endpoint), self.service.clone());
        Some(Box::pin(async move {
            let mut client = client?;
            client.ready().await?;
            let path = PathAndQuery::from_static("/grpc.health.v1.Health/Watch");
            let request = Request::new(service);
            let mut stream =
                client.server_streaming(request, path, HealthCodec).await?.into_inner();
            while let Some(status) = stream.message().await? {
                tell(status == SERVING);
            }
            Ok(())
        }))
    }
}

/// The two messages of the protocol, by hand: a string in field 1 and a number in field 1.
#[derive(Clone, Copy, Debug, Default)]
struct HealthCodec;

impl Codec for HealthCodec {
    type Encode = Arc<str>;
    type Decode = u64;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for HealthCodec {
    type Item = Arc<str>;
    type Error = Status;

    fn encode(&mut self, service: Arc<str>, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        if !service.is_empty() {
            to.put_u8(0x0a);
            put_varint(service.len() as u64, to);
            to.put_slice(service.as_bytes());
        }
        Ok(())
    }
}

impl Decoder for HealthCodec {
    type Item = u64;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<u64>, Status> {
        serving_status(from).map(Some).ok_or_else(|| Status::internal("not a health response"))
    }
}

fn put_varint(mut value: u64, to: &mut impl BufMut) {
    while value >= 0x80 {
        to.put_u8(value as u8 | 0x80);
        value >>= 7;
    }
    to.put_u8(value as u8);
}

fn varint(from: &mut impl Buf) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        if !from.has_remaining() {
            return None;
        }
        let byte = from.get_u8();
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

/// The number in field 1, 0 where there is none; fields of later versions are skipped.
fn serving_status(from: &mut impl Buf) -> Option<u64> {
    let mut status = 0;
    while from.has_remaining() {
        let tag = varint(from)?;
        let skip = match tag & 7 {
            0 => {
                let value = varint(from)?;
                if tag >> 3 == 1 {
                    status = value;
                }
                0
            }
            1 => 8,
            2 => varint(from)?,
            5 => 4,
            _ => return None,
        };
        let skip = usize::try_from(skip).ok().filter(|skip| *skip <= from.remaining())?;
        from.advance(skip);
    }
    Some(status)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_read_whatever_stands_around_it() {
        for (bytes, status) in [
            (&[][..], Some(0)),
            (&[8, 1], Some(1)),
            (&[18, 2, b'h', b'i', 8, 2], Some(2)),
            (&[8, 1, 29, 0, 0, 0, 0], Some(1)),
            (&[8], None),
            (&[18, 200, 1, 0], None),
            (&[11], None),
            (&[8, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255], None),
        ] {
            assert_eq!(serving_status(&mut &*bytes), status, "{bytes:?}");
        }
    }
}
