//! `POST /actions`.

use std::time::Duration;

use axum::{
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use seawall_core::duration;
use serde::Deserialize;

use super::{NOT_KEPT, Shown, refuse};
use crate::act::{Action, Refused};

/// As long as an ejection by hand lasts unless told.
const EJECTION: Duration = Duration::from_secs(30);

/// What is asked for.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    /// The service of the client.
    client: String,
    /// The service of the endpoint, where it is another one.
    service: Option<String>,
    endpoint: String,
    action: Name,
    #[serde(default, with = "duration::option", rename = "for")]
    time: Option<Duration>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Name {
    OpenBreaker,
    CloseBreaker,
    FreeBreaker,
    Eject,
    Uneject,
    Drain,
    Undrain,
}

pub(super) async fn act(
    State(shown): State<Shown>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<StatusCode, Response> {
    shown.guard.check(&headers).map_err(|(status, why)| refuse(status, why))?;
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let kind = kind.and_then(|kind| kind.split(';').next()).map(str::trim);
    if kind != Some("application/json") {
        return Err(refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, "an action is JSON\n"));
    }
    let asked: Asked = serde_json::from_slice(&body).map_err(|error| {
        (StatusCode::BAD_REQUEST, [NOT_KEPT], format!("{error}\n")).into_response()
    })?;
    let action = match asked.action {
        Name::OpenBreaker => Action::OpenBreaker,
        Name::CloseBreaker => Action::CloseBreaker,
        Name::FreeBreaker => Action::FreeBreaker,
        Name::Eject => Action::Eject(asked.time.unwrap_or(EJECTION)),
        Name::Uneject => Action::Uneject,
        Name::Drain => Action::Drain,
        Name::Undrain => Action::Undrain,
    };
    let service = asked.service.as_deref().unwrap_or(&asked.client);
    let mut answer = Err(Refused::Unknown);
    for client in shown.clients.iter().filter(|client| client.snapshot().service == asked.client) {
        match client.act(service, &asked.endpoint, action) {
            Ok(()) => answer = Ok(()),
            Err(refused) if answer.is_err() => answer = Err(refused),
            Err(_) => {}
        }
    }
    answer.map(|()| StatusCode::NO_CONTENT).map_err(|refused| {
        let status = match refused {
            Refused::Unknown => StatusCode::NOT_FOUND,
            Refused::NoBreaker | Refused::NoChange => StatusCode::CONFLICT,
        };
        (status, [NOT_KEPT], format!("{refused}\n")).into_response()
    })
}
