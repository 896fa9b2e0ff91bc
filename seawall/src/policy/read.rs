//! Policies from text.

use std::{fmt, path::Path};

use seawall_core::BoxError;
use serde::Deserializer;

use super::Policy;

impl Policy {
    /// Reads a policy from YAML.
    ///
    /// # Errors
    ///
    /// When the text is no YAML, or has a field that is not known or of the wrong kind; the message
    /// names the path of the field, and the line where the format tells it.
    pub fn from_yaml(text: &str) -> Result<Self, PolicyError> {
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        read(yaml_serde::Deserializer::from_str(text))
    }

    /// Reads a policy from JSON.
    ///
    /// # Errors
    ///
    /// As for [`from_yaml`](Self::from_yaml).
    pub fn from_json(text: &str) -> Result<Self, PolicyError> {
        read(&mut serde_json::Deserializer::from_str(text))
    }

    /// Reads a policy from TOML.
    ///
    /// # Errors
    ///
    /// As for [`from_yaml`](Self::from_yaml).
    pub fn from_toml(text: &str) -> Result<Self, PolicyError> {
        read(toml::Deserializer::parse(text).map_err(|error| PolicyError {
            path: String::new(),
            source: error.to_string().into(),
        })?)
    }
}

impl Policy {
    /// Reads a policy from the text of the file at `path`, whose extension says what it is.
    pub(crate) fn from_text(path: &Path, text: &str) -> Result<Self, PolicyError> {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("json") => Self::from_json(text),
            Some("toml") => Self::from_toml(text),
            _ => Self::from_yaml(text),
        }
    }

    /// Reads a policy from a file: TOML or JSON if its extension says so, else YAML.
    ///
    /// # Errors
    ///
    /// As for [`from_yaml`](Self::from_yaml), and when the file cannot be read.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, PolicyError> {
        let path = path.as_ref();
        let text = std::fs::read_to_string(path)
            .map_err(|error| PolicyError::new("", format!("{}: {error}", path.display())))?;
        Self::from_text(path, &text)
    }
}

fn read<'de, D: Deserializer<'de>>(from: D) -> Result<Policy, PolicyError>
where
    D::Error: Send + Sync + 'static,
{
    let policy: Policy = serde_path_to_error::deserialize(from).map_err(PolicyError::at)?;
    // What a route overrides is read when it is put over the rest.
    for at in 0..policy.routes.len() {
        policy.of_route(at)?;
    }
    Ok(policy)
}

/// A text that is no [`Policy`].
#[derive(Debug)]
pub struct PolicyError {
    path: String,
    source: BoxError,
}

impl PolicyError {
    pub(crate) fn new(path: impl Into<String>, message: impl Into<BoxError>) -> Self {
        Self { path: path.into(), source: message.into() }
    }

    pub(super) fn at<E: std::error::Error + Send + Sync + 'static>(
        error: serde_path_to_error::Error<E>,
    ) -> Self {
        let path = error.path().to_string();
        let path = if path == "." { String::new() } else { path };
        Self { path, source: error.into_inner().into() }
    }

    pub(super) fn within(mut self, outer: &str) -> Self {
        let dot = if self.path.is_empty() { "" } else { "." };
        self.path = format!("{outer}{dot}{}", self.path);
        self
    }

    /// The path of the field that is wrong; empty where the text as a whole is.
    pub fn path(&self) -> &str {
        &self.path
    }
}

impl From<seawall_core::ConfigError> for PolicyError {
    fn from(error: seawall_core::ConfigError) -> Self {
        Self { path: error.field().to_owned(), source: error.into() }
    }
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("policy: ")?;
        let message = self.source.to_string();
        // Some formats begin with a path themselves.
        let first = self.path.split(['.', '[']).next().unwrap_or_default();
        if !first.is_empty() && !message.trim_start_matches('`').starts_with(first) {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&message)
    }
}

impl std::error::Error for PolicyError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.source)
    }
}
