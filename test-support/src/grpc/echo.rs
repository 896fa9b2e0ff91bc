//! The echo service.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::stream::{self, Stream, StreamExt as _, TryStreamExt as _};
use tonic::metadata::{Ascii, MetadataKey, MetadataValue};
use tonic::{Code, Request, Response, Status, Streaming};

use crate::traffic::{InFlight, Traffic};

use super::proto::echo_server;
use super::{EchoRequest, EchoResponse};

type Responses = Pin<Box<dyn Stream<Item = Result<EchoResponse, Status>> + Send>>;

#[derive(Clone, Debug)]
pub(super) struct Echo {
    server: String,
    traffic: Traffic,
    script: Arc<Mutex<Option<EchoRequest>>>,
}

impl Echo {
    pub(super) fn new(
        address: SocketAddr,
        traffic: Traffic,
        script: Arc<Mutex<Option<EchoRequest>>>,
    ) -> Self {
        Self { server: address.to_string(), traffic, script }
    }

    /// What to do about `request`, which keeps its message.
    fn script(&self, request: EchoRequest) -> EchoRequest {
        match self.script.lock().unwrap_or_else(PoisonError::into_inner).clone() {
            Some(script) => EchoRequest { message: request.message, ..script },
            None => request,
        }
    }

    /// The responses to one request, followed by its failure if it asks for one.
    fn responses(&self, script: EchoRequest, guard: Option<InFlight>) -> Responses {
        let server = self.server.clone();
        let stream = stream::unfold(Some((0, guard)), move |state| {
            let (script, server) = (script.clone(), server.clone());
            async move {
                let (number, guard) = state?;
                if number < script.messages {
                    wait(script.gap_ms).await;
                    return Some((
                        Ok(respond(&script, number, &server)),
                        Some((number + 1, guard)),
                    ));
                }
                if script.hang_after_messages {
                    std::future::pending::<()>().await;
                }
                drop(guard);
                let failure = failure(&script, script.trailer_code)?;
                Some((Err(failure), None))
            }
        });
        Box::pin(stream)
    }
}

#[tonic::async_trait]
impl echo_server::Echo for Echo {
    type ServerStreamStream = Responses;
    type BidiStreamStream = Responses;

    async fn unary(&self, request: Request<EchoRequest>) -> Result<Response<EchoResponse>, Status> {
        let _guard = self.traffic.begin();
        let script = self.script(request.into_inner());
        head(&script).await?;
        Ok(Response::new(respond(&script, 0, &self.server)))
    }

    async fn server_stream(
        &self,
        request: Request<EchoRequest>,
    ) -> Result<Response<Responses>, Status> {
        let guard = self.traffic.begin();
        let script = self.script(request.into_inner());
        head(&script).await?;
        Ok(Response::new(self.responses(script, Some(guard))))
    }

    async fn client_stream(
        &self,
        request: Request<Streaming<EchoRequest>>,
    ) -> Result<Response<EchoResponse>, Status> {
        let _guard = self.traffic.begin();
        let mut requests = request.into_inner();
        let (mut last, mut count) = (EchoRequest::default(), 0);
        while let Some(request) = requests.message().await? {
            last = request;
            count += 1;
        }
        let script = self.script(last);
        head(&script).await?;
        Ok(Response::new(respond(&script, count, &self.server)))
    }

    async fn bidi_stream(
        &self,
        request: Request<Streaming<EchoRequest>>,
    ) -> Result<Response<Responses>, Status> {
        let guard = self.traffic.begin();
        let echo = self.clone();
        let answers = request.into_inner().then(move |request| {
            let echo = echo.clone();
            async move {
                let script = echo.script(request?);
                head(&script).await?;
                Ok::<_, Status>(echo.responses(script, None))
            }
        });
        // The first failure ends the call: tonic sends it as the trailers and polls no further.
        let responses = answers.try_flatten().inspect(move |_| {
            let _in_flight = &guard;
        });
        Ok(Response::new(Box::pin(responses)))
    }
}

/// What a request asks for before anything is sent.
async fn head(script: &EchoRequest) -> Result<(), Status> {
    wait(script.delay_ms).await;
    if script.hang {
        std::future::pending::<()>().await;
    }
    failure(script, script.code).map_or(Ok(()), Err)
}

async fn wait(ms: u32) {
    if ms > 0 {
        tokio::time::sleep(Duration::from_millis(ms.into())).await;
    }
}

fn failure(script: &EchoRequest, code: i32) -> Option<Status> {
    if code == 0 {
        return None;
    }
    let mut status = Status::new(Code::from_i32(code), script.error_message.clone());
    for (key, value) in &script.error_metadata {
        let key = key.parse::<MetadataKey<Ascii>>();
        let value = value.parse::<MetadataValue<Ascii>>();
        let (Ok(key), Ok(value)) = (key, value) else {
            return Some(Status::invalid_argument("error_metadata is not ASCII metadata"));
        };
        status.metadata_mut().insert(key, value);
    }
    Some(status)
}

fn respond(script: &EchoRequest, number: u32, server: &str) -> EchoResponse {
    EchoResponse {
        message: script.message.clone(),
        payload: vec![b'x'; script.payload_bytes as usize],
        number,
        server: server.to_owned(),
    }
}
