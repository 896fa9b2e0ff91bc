//! The environment variables of Consul's own tools.

use seawall_core::ConfigError;

use super::ConsulBuilder;

const DEFAULT: &str = "127.0.0.1:8500";

/// A builder that has what the variables say; `var` reads one.
pub(super) fn builder(var: impl Fn(&str) -> Option<String>) -> Result<ConsulBuilder, ConfigError> {
    let set = |name: &str| var(name).filter(|value| !value.is_empty());
    let address = set("CONSUL_HTTP_ADDR").unwrap_or_else(|| DEFAULT.to_owned());
    let ssl = switch("CONSUL_HTTP_SSL", set("CONSUL_HTTP_SSL"))?;
    let scheme = if ssl { "https" } else { "http" };
    let mut builder = match address.split_once("://") {
        None => ConsulBuilder::new(&format!("{scheme}://{address}")),
        Some(("unix", path)) => unix(path)?,
        // The switch wins over a scheme, as it does for Consul's tools.
        Some(("http", rest)) => ConsulBuilder::new(&format!("{scheme}://{rest}")),
        Some(_) => ConsulBuilder::new(&address),
    };
    for name in ["CONSUL_CACERT", "CONSUL_CAPATH", "CONSUL_CLIENT_CERT", "CONSUL_CLIENT_KEY"] {
        if let Some(path) = set(name) {
            let allowed = "unset: give certificates to `customize_client` of the builder";
            return Err(ConfigError::new(name.to_owned(), format_args!("{path:?}"), allowed));
        }
    }
    // As with Consul's tools, a token beats a file with one.
    if let Some(token) = set("CONSUL_HTTP_TOKEN") {
        builder = builder.token(&token);
    } else if let Some(path) = set("CONSUL_HTTP_TOKEN_FILE") {
        builder = builder.token_file(path);
    }
    if let Some(name) = set("CONSUL_NAMESPACE") {
        builder = builder.namespace(name);
    }
    if let Some(name) = set("CONSUL_PARTITION") {
        builder = builder.partition(name);
    }
    Ok(builder)
}

/// What Go reads as a boolean.
fn switch(name: &'static str, value: Option<String>) -> Result<bool, ConfigError> {
    match value.as_deref() {
        None | Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Ok(false),
        Some("1" | "t" | "T" | "true" | "TRUE" | "True") => Ok(true),
        Some(other) => Err(ConfigError::new(name, format_args!("{other:?}"), "true or false")),
    }
}

#[cfg(unix)]
fn unix(path: &str) -> Result<ConsulBuilder, ConfigError> {
    let path = std::path::PathBuf::from(path);
    let builder = ConsulBuilder::new("http://localhost");
    Ok(builder.customize_client(move |client| client.unix_socket(path.clone())))
}

#[cfg(not(unix))]
fn unix(path: &str) -> Result<ConsulBuilder, ConfigError> {
    Err(ConfigError::new("CONSUL_HTTP_ADDR", path, "no Unix socket on this system"))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn base(vars: &[(&str, &str)]) -> Result<String, ConfigError> {
        let vars: HashMap<_, _> = vars.iter().copied().collect();
        let consul = builder(|name| vars.get(name).map(|v| (*v).to_owned()))?.build()?;
        Ok(consul.shared.settings.base.to_string())
    }

    #[test]
    fn an_address_is_read_with_and_without_a_scheme() {
        let address = |text| base(&[("CONSUL_HTTP_ADDR", text)]).unwrap();
        assert_eq!(base(&[]).unwrap(), "http://127.0.0.1:8500/");
        assert_eq!(address("consul:1234"), "http://consul:1234/");
        assert_eq!(address("http://consul:1234"), "http://consul:1234/");
        assert_eq!(address("https://consul:1234/below"), "https://consul:1234/below");
        assert_eq!(address(""), "http://127.0.0.1:8500/");
        let secure = base(&[("CONSUL_HTTP_ADDR", "consul:1"), ("CONSUL_HTTP_SSL", "true")]);
        assert_eq!(secure.unwrap(), "https://consul:1/");
    }

    #[test]
    fn what_cannot_be_followed_is_refused_by_the_name_of_its_variable() {
        for (name, value) in [
            ("CONSUL_HTTP_SSL", "maybe"),
            ("CONSUL_CACERT", "/ca.pem"),
            ("CONSUL_CLIENT_KEY", "/key.pem"),
        ] {
            assert_eq!(base(&[(name, value)]).unwrap_err().field(), name);
        }
        assert_eq!(base(&[("CONSUL_HTTP_ADDR", "ftp://h")]).unwrap_err().field(), "url");
    }

    #[test]
    fn a_token_shows_nowhere() {
        let vars = |name: &str| (name == "CONSUL_HTTP_TOKEN").then(|| "hush".to_owned());
        let shown = format!("{:?}", builder(vars).unwrap().build().unwrap());
        assert!(shown.contains("Value(..)") && !shown.contains("hush"), "{shown}");
    }
}
