//! Which methods of an interface may be called twice, as its `.proto` files say.

use std::collections::HashMap;

use prost::Message;
use prost_types::{FileDescriptorSet, method_options::IdempotencyLevel};
use seawall_core::ConfigError;

/// What is known of methods, by their paths.
#[derive(Clone, Debug, Default)]
pub(crate) struct Methods(HashMap<String, IdempotencyLevel>);

impl Methods {
    /// Adds what an encoded `FileDescriptorSet` says. Of two that name a method, the later counts.
    pub(super) fn read(&mut self, encoded: &[u8]) -> Result<(), ConfigError> {
        let set = FileDescriptorSet::decode(encoded).map_err(|error| {
            let got = format!("{} bytes that are none ({error})", encoded.len());
            ConfigError::new("file_descriptor_set", got, "an encoded FileDescriptorSet")
        })?;
        for file in &set.file {
            let package = match file.package() {
                "" => String::new(),
                package => format!("{package}."),
            };
            for service in &file.service {
                for method in &service.method {
                    let level = method.options.as_ref().map(|options| options.idempotency_level());
                    let path = format!("/{package}{}/{}", service.name(), method.name());
                    self.0.insert(path, level.unwrap_or(IdempotencyLevel::IdempotencyUnknown));
                }
            }
        }
        Ok(())
    }

    /// Whether a second call of the method at `path` changes nothing more than the first.
    pub(super) fn is_idempotent(&self, path: &str) -> bool {
        !matches!(self.0.get(path), None | Some(IdempotencyLevel::IdempotencyUnknown))
    }

    /// Whether the method at `path` changes nothing at all.
    pub(super) fn reads(&self, path: &str) -> bool {
        self.0.get(path) == Some(&IdempotencyLevel::NoSideEffects)
    }
}
