//! Durations as text, for people who write configurations: a module for `#[serde(with = "..")]`.
//!
//! Written and read as `250ms`, `1s 500ms` or `2m`.
//!
//! ```
//! use std::time::Duration;
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Serialize, Deserialize, PartialEq, Debug)]
//! struct Settings {
//!     #[serde(with = "seawall_core::duration")]
//!     timeout: Duration,
//!     #[serde(default, with = "seawall_core::duration::option", skip_serializing_if = "Option::is_none")]
//!     per_try: Option<Duration>,
//! }
//!
//! let settings: Settings = serde_json::from_str(r#"{"timeout": "1s 500ms"}"#)?;
//! assert_eq!(settings, Settings { timeout: Duration::from_millis(1500), per_try: None });
//! assert_eq!(serde_json::to_string(&settings)?, r#"{"timeout":"1s 500ms"}"#);
//! # Ok::<(), serde_json::Error>(())
//! ```

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serializer, de::Error};

/// Writes a duration as text.
///
/// # Errors
///
/// Those of the serializer.
pub fn serialize<S: Serializer>(value: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(&humantime::format_duration(*value))
}

/// Reads a duration from text.
///
/// # Errors
///
/// Names the text when it is no duration; a bare number is none, because it lacks its unit.
pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(from)?;
    humantime::parse_duration(&text).map_err(|error| {
        D::Error::custom(format_args!("`{text}` is no duration such as \"250ms\": {error}"))
    })
}

/// The same for a duration that may be absent.
pub mod option {
    use super::{Deserializer, Duration, Serializer};

    /// Writes a duration as text, or nothing.
    ///
    /// # Errors
    ///
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(value: &Option<Duration>, to: S) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => super::serialize(value, to),
            None => to.serialize_none(),
        }
    }

    /// Reads a duration from text. For a field with `#[serde(default)]`, which makes an absent one
    /// `None`.
    ///
    /// # Errors
    ///
    /// Names the text when it is no duration.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
        super::deserialize(from).map(Some)
    }
}
