//! Where the access token comes from.

use std::{fmt, path::PathBuf, sync::Arc};

use reqwest::header::HeaderValue;

use crate::RegisterError;

/// Read anew for each request, so that a rotated token is used at once.
#[derive(Clone, Default)]
pub(super) enum Token {
    #[default]
    None,
    Value(HeaderValue),
    File(PathBuf),
    Call(Arc<dyn Fn() -> String + Send + Sync>),
}

impl Token {
    /// The header to send, marked so that no log of HTTP's shows it.
    pub(super) async fn header(
        &self,
        registry: &str,
    ) -> Result<Option<HeaderValue>, RegisterError> {
        let text = match self {
            Self::None => return Ok(None),
            Self::Value(value) => return Ok(Some(value.clone())),
            Self::Call(call) => call(),
            Self::File(path) => {
                let file = path.clone();
                let read = tokio::task::spawn_blocking(move || std::fs::read_to_string(file));
                let failed = |error: &dyn fmt::Display| RegisterError::Denied {
                    registry: registry.to_owned(),
                    message: format!("cannot read the token in {}: {error}", path.display()),
                };
                read.await.map_err(|e| failed(&e))?.map_err(|e| failed(&e))?
            }
        };
        if text.trim().is_empty() {
            return Ok(None);
        }
        header(&text).map(Some).ok_or_else(|| RegisterError::Denied {
            registry: registry.to_owned(),
            message: "the token holds characters that cannot be sent".to_owned(),
        })
    }
}

/// `token` without the line's end that files have, or `None` if it cannot be sent.
pub(super) fn header(token: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(token.trim()).ok()?;
    value.set_sensitive(true);
    Some(value)
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::Value(_) => f.write_str("Value(..)"),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Call(_) => f.write_str("Call(..)"),
        }
    }
}
