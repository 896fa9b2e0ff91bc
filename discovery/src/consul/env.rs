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
    let url = match address.split_once("://") {
        None => format!("{scheme}://{address}"),
        // The switch wins over a scheme, as it does for Consul's tools.
        Some(("http", rest)) => format!("{scheme}://{rest}"),
        Some(_) => address,
    };
    let mut builder = certificates(ConsulBuilder::new(&url), &set)?;
    if let Some(auth) = set("CONSUL_HTTP_AUTH") {
        let (user, password) = auth.split_once(':').unwrap_or((&auth, ""));
        builder = builder.basic_auth(user, password);
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

type Set<'a> = dyn Fn(&str) -> Option<String> + 'a;

#[cfg(feature = "consul-tls")]
fn certificates(mut builder: ConsulBuilder, set: &Set<'_>) -> Result<ConsulBuilder, ConfigError> {
    if let Some(path) = set("CONSUL_CACERT") {
        builder = builder.ca_pem(read("CONSUL_CACERT", path.as_ref())?);
    }
    if let Some(path) = set("CONSUL_CAPATH") {
        let refused = |error| unreadable("CONSUL_CAPATH", path.as_ref(), &error);
        for entry in std::fs::read_dir(&path).map_err(refused)? {
            let entry = entry.map_err(refused)?;
            builder = builder.ca_pem(read("CONSUL_CAPATH", &entry.path())?);
        }
    }
    match (set("CONSUL_CLIENT_CERT"), set("CONSUL_CLIENT_KEY")) {
        (None, None) => {}
        (Some(certificate), Some(key)) => {
            let certificate = read("CONSUL_CLIENT_CERT", certificate.as_ref())?;
            let key = read("CONSUL_CLIENT_KEY", key.as_ref())?;
            builder = builder.identity_pem(certificate, key);
        }
        (Some(_), None) => return Err(alone("CONSUL_CLIENT_CERT")),
        (None, Some(_)) => return Err(alone("CONSUL_CLIENT_KEY")),
    }
    if set("CONSUL_HTTP_SSL_VERIFY").is_some()
        && !switch("CONSUL_HTTP_SSL_VERIFY", set("CONSUL_HTTP_SSL_VERIFY"))?
    {
        builder = builder.danger_trust_any_certificate();
    }
    match set("CONSUL_TLS_SERVER_NAME") {
        Some(name) => {
            let allowed = "unset: the name is that of the address";
            Err(ConfigError::new("CONSUL_TLS_SERVER_NAME", name, allowed))
        }
        None => Ok(builder),
    }
}

#[cfg(feature = "consul-tls")]
fn alone(name: &'static str) -> ConfigError {
    ConfigError::new(name, "alone", "certificate and key, or neither")
}

#[cfg(feature = "consul-tls")]
fn read(name: &'static str, path: &std::path::Path) -> Result<Vec<u8>, ConfigError> {
    std::fs::read(path).map_err(|error| unreadable(name, path, &error))
}

#[cfg(feature = "consul-tls")]
fn unreadable(name: &'static str, path: &std::path::Path, error: &std::io::Error) -> ConfigError {
    ConfigError::new(name, format_args!("{path:?}: {error}"), "what can be read")
}

#[cfg(not(feature = "consul-tls"))]
fn certificates(builder: ConsulBuilder, set: &Set<'_>) -> Result<ConsulBuilder, ConfigError> {
    for name in [
        "CONSUL_CACERT",
        "CONSUL_CAPATH",
        "CONSUL_CLIENT_CERT",
        "CONSUL_CLIENT_KEY",
        "CONSUL_HTTP_SSL_VERIFY",
        "CONSUL_TLS_SERVER_NAME",
    ] {
        if let Some(value) = set(name) {
            let allowed = "unset without the feature `consul-tls`";
            return Err(ConfigError::new(name, format_args!("{value:?}"), allowed));
        }
    }
    Ok(builder)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn base(vars: &[(&str, &str)]) -> Result<String, ConfigError> {
        let vars: HashMap<_, _> = vars.iter().copied().collect();
        let consul = builder(|name| vars.get(name).map(|v| (*v).to_owned()))?.build()?;
        Ok(consul.shared.http.at(0).name().trim_start_matches("consul at ").to_owned())
    }

    #[test]
    fn an_address_is_read_with_and_without_a_scheme() {
        let address = |text| base(&[("CONSUL_HTTP_ADDR", text)]).unwrap();
        assert_eq!(base(&[]).unwrap(), "http://127.0.0.1:8500");
        assert_eq!(address("consul:1234"), "http://consul:1234");
        assert_eq!(address("http://consul:1234"), "http://consul:1234");
        assert_eq!(address("https://consul:1234/below"), "https://consul:1234/below");
        assert_eq!(address("unix:///run/consul.sock"), "unix:///run/consul.sock");
        assert_eq!(address(""), "http://127.0.0.1:8500");
        let secure = base(&[("CONSUL_HTTP_ADDR", "consul:1"), ("CONSUL_HTTP_SSL", "true")]);
        assert_eq!(secure.unwrap(), "https://consul:1");
    }

    #[test]
    fn what_cannot_be_followed_is_refused_by_the_name_of_its_variable() {
        for (name, value) in [
            ("CONSUL_HTTP_SSL", "maybe"),
            ("CONSUL_CACERT", "/no/ca.pem"),
            ("CONSUL_CAPATH", "/no/folder"),
            ("CONSUL_CLIENT_CERT", "/no/certificate.pem"),
            ("CONSUL_CLIENT_KEY", "/no/key.pem"),
            ("CONSUL_HTTP_SSL_VERIFY", "maybe"),
            ("CONSUL_TLS_SERVER_NAME", "server.dc1.consul"),
        ] {
            assert_eq!(base(&[(name, value)]).unwrap_err().field(), name);
        }
        assert_eq!(base(&[("CONSUL_HTTP_ADDR", "unix://relative")]).unwrap_err().field(), "url");
        assert_eq!(base(&[("CONSUL_HTTP_ADDR", "ftp://h")]).unwrap_err().field(), "url");
    }

    #[test]
    fn a_token_or_a_password_shows_nowhere() {
        for (name, value) in [("CONSUL_HTTP_TOKEN", "hush"), ("CONSUL_HTTP_AUTH", "user:hush")] {
            let vars = |asked: &str| (asked == name).then(|| value.to_owned());
            let shown = format!("{:?}", builder(vars).unwrap().build().unwrap());
            assert!(shown.contains("(..)") && !shown.contains("hush"), "{shown}");
        }
    }
}
