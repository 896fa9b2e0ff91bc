//! Settings that another crate of the family reads, kept as they were written.

use seawall_core::ConfigError;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

/// Settings by name. The crate that they are for checks them, so that there is one list of them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Settings(pub(super) Map<String, Value>);

impl Settings {
    pub(super) fn set(&mut self, name: &str, value: impl Into<Value>) {
        self.0.insert(name.to_owned(), value.into());
    }

    /// Refuses settings that a policy has elsewhere.
    pub(super) fn refuse(
        &self,
        elsewhere: &[(&'static str, &'static str)],
    ) -> Result<(), ConfigError> {
        for &(name, place) in elsewhere {
            if let Some(value) = self.0.get(name) {
                return Err(ConfigError::new(name, value, format!("absent: it is {place}")));
            }
        }
        Ok(())
    }

    pub(super) fn read<T: DeserializeOwned>(map: Map<String, Value>) -> Result<T, ConfigError> {
        let all = Value::Object(map);
        serde_path_to_error::deserialize(&all).map_err(|error| {
            let path = error.path().to_string();
            // `unknown field` names the field itself, and the path leads to the map around it.
            let value = all.pointer(&format!("/{}", path.replace('.', "/"))).unwrap_or(&all);
            let field = if path == "." { "settings".into() } else { path };
            ConfigError::new(field, value.to_string(), format!("valid: {}", error.inner()))
        })
    }
}

/// A duration as the other crates read it.
pub(super) fn text(duration: std::time::Duration) -> Value {
    humantime::format_duration(duration).to_string().into()
}

/// Settings as `name value`, with those inside of one by their paths.
pub(super) fn words(settings: &Map<String, Value>) -> String {
    let mut all = Vec::new();
    flatten("", settings, &mut all);
    all.join(", ")
}

fn flatten(path: &str, settings: &Map<String, Value>, to: &mut Vec<String>) {
    for (name, value) in settings {
        match value {
            Value::Object(inner) => flatten(&format!("{path}{name}."), inner, to),
            Value::String(text) => to.push(format!("{path}{name} {text}")),
            value => to.push(format!("{path}{name} {value}")),
        }
    }
}
