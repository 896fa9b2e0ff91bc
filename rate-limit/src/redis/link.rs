//! The way to Redis: sends script calls, loads the script where it is missing.

use std::{fmt, pin::Pin, sync::Arc};

use ::redis::{Cmd, Pipeline, RedisError, Value, aio::ConnectionLike};
use futures_util::{
    FutureExt, Stream, StreamExt,
    stream::{self, FuturesUnordered},
};

use super::ask::Failure;

/// The script and the name that Redis gives it.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    text: Arc<str>,
    hash: Arc<str>,
}

impl Script {
    pub(crate) fn new(text: &str) -> Self {
        let hash = ::redis::Script::new(text).get_hash().into();
        Self { text: text.into(), hash }
    }
}

/// One call of the script.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    /// KEYS and ARGV, written once for however many ways it takes.
    pub(crate) keys: Vec<Vec<u8>>,
    pub(crate) arguments: Vec<Vec<u8>>,
}

/// What came of calls, by their places; those that came together are together.
pub(crate) type Replies = Pin<Box<dyn Stream<Item = Vec<(usize, Result<Value, Failure>)>> + Send>>;

/// Sends script calls. One for each limiter, whatever the connection is.
pub(crate) trait Link: fmt::Debug + Send + Sync {
    /// Sends `calls`, each of which is decided at most once.
    fn send(&self, calls: Vec<Call>) -> Replies;

    /// Into how many parts keys fall whose calls need not wait for each other.
    fn lanes(&self) -> usize;
}

/// A connection to a single server, or to whichever is the primary: calls share a pipeline.
pub(crate) struct Single<C> {
    pub(crate) connection: C,
    pub(crate) script: Script,
}

/// A connection to a cluster, where each call has a node of its own.
pub(crate) struct Cluster<C> {
    pub(crate) connection: C,
    pub(crate) script: Script,
}

/// So many are out at the same time on one connection; the next ones are put together meanwhile.
const SINGLE_LANES: usize = 4;
/// Keys of neighbouring slots wait for each other: those of a node that is down do not hold up the
/// rest.
const CLUSTER_LANES: usize = 64;

impl<C: ConnectionLike + Clone + Send + Sync + 'static> Link for Single<C> {
    fn send(&self, calls: Vec<Call>) -> Replies {
        let (connection, script) = (self.connection.clone(), self.script.clone());
        Box::pin(stream::once(pipeline(connection, script, calls)))
    }

    fn lanes(&self) -> usize {
        SINGLE_LANES
    }
}

impl<C: ConnectionLike + Clone + Send + Sync + 'static> Link for Cluster<C> {
    fn send(&self, calls: Vec<Call>) -> Replies {
        let calls = calls.into_iter().enumerate().map(|(place, call)| {
            let (connection, script) = (self.connection.clone(), self.script.clone());
            one(connection, script, call).map(move |result| vec![(place, result)])
        });
        Box::pin(calls.collect::<FuturesUnordered<_>>().boxed())
    }

    fn lanes(&self) -> usize {
        CLUSTER_LANES
    }
}

fn command(call: &Call, name: &str, script: &[u8]) -> Cmd {
    let mut command = Cmd::new();
    command.arg(name).arg(script).arg(call.keys.len());
    for part in call.keys.iter().chain(&call.arguments) {
        command.arg(part.as_slice());
    }
    command
}

fn by_hash(call: &Call, script: &Script) -> Cmd {
    command(call, "EVALSHA", script.hash.as_bytes())
}

fn is_missing(error: &RedisError) -> bool {
    error.code() == Some("NOSCRIPT")
}

/// A server's error may come as a value or as an error.
fn checked(value: Result<Value, RedisError>) -> Result<Value, RedisError> {
    value.and_then(Value::extract_error)
}

async fn one<C: ConnectionLike>(
    mut connection: C,
    script: Script,
    call: Call,
) -> Result<Value, Failure> {
    let first = by_hash(&call, &script);
    match checked(connection.req_packed_command(&first).await) {
        // Runs it and keeps it, on the very node that misses it.
        Err(error) if is_missing(&error) => {
            let whole = command(&call, "EVAL", script.text.as_bytes());
            Ok(checked(connection.req_packed_command(&whole).await)?)
        }
        result => Ok(result?),
    }
}

async fn pipeline<C: ConnectionLike>(
    mut connection: C,
    script: Script,
    mut calls: Vec<Call>,
) -> Vec<(usize, Result<Value, Failure>)> {
    if calls.len() == 1 {
        let call = calls.swap_remove(0);
        return vec![(0, one(connection, script, call).await)];
    }
    let all: Vec<usize> = (0..calls.len()).collect();
    let mut replies = ask_all(&mut connection, &script, &calls, &all, false).await;
    let missing: Vec<usize> = replies
        .iter()
        .filter(|(_, reply)| reply.as_ref().is_err_and(is_missing))
        .map(|(place, _)| *place)
        .collect();
    if !missing.is_empty() {
        for (place, reply) in ask_all(&mut connection, &script, &calls, &missing, true).await {
            replies[place].1 = reply;
        }
    }
    replies.into_iter().map(|(place, reply)| (place, reply.map_err(Failure::from))).collect()
}

/// Sends the calls at `places` in one pipeline, the first of them with the whole script if `load`.
async fn ask_all<C: ConnectionLike>(
    connection: &mut C,
    script: &Script,
    calls: &[Call],
    places: &[usize],
    load: bool,
) -> Vec<(usize, Result<Value, RedisError>)> {
    let mut pipeline = Pipeline::with_capacity(places.len());
    for (nth, &place) in places.iter().enumerate() {
        pipeline.add_command(if load && nth == 0 {
            command(&calls[place], "EVAL", script.text.as_bytes())
        } else {
            by_hash(&calls[place], script)
        });
    }
    match connection.req_packed_commands(&pipeline, 0, places.len()).await {
        Ok(values) if values.len() == places.len() => {
            places.iter().copied().zip(values.into_iter().map(Value::extract_error)).collect()
        }
        Ok(_) => failed(places, &short_answer()),
        Err(error) => failed(places, &error),
    }
}

fn failed(places: &[usize], error: &RedisError) -> Vec<(usize, Result<Value, RedisError>)> {
    places.iter().map(|&place| (place, Err(error.clone()))).collect()
}

pub(crate) fn short_answer() -> RedisError {
    (::redis::ErrorKind::UnexpectedReturnType, "the script answered something else").into()
}

impl<C> fmt::Debug for Single<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Single").finish_non_exhaustive()
    }
}

impl<C> fmt::Debug for Cluster<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster").finish_non_exhaustive()
    }
}
