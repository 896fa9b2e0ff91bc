//! TLS, Unix sockets and access tokens, with a real agent.

#![cfg(feature = "consul")]
#![allow(clippy::unwrap_used)] // A helper of tests is no test to the lint.

mod log;
mod real;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use log::Log;
use real::{next, until};
use seawall_discovery::{Consul, RegisterError, Registrar as _, Registration, Resolver as _};
use seawall_test_support::ConsulServer;

const ROOT: &str = "11111111-2222-3333-4444-555555555555";

fn registration() -> Registration {
    let registration = Registration::builder("orders", "127.0.0.1:1".parse().unwrap());
    registration.ttl(Duration::from_secs(1)).build().unwrap()
}

/// Registers, follows and deregisters.
async fn works(consul: &Consul) {
    consul.ping().await.unwrap();
    let mut watch = consul.watch("orders");
    let lease = consul.register(registration()).await.unwrap();
    assert_eq!(next(&mut watch).await, ["+1"]);
    assert!(consul.has("orders-127.0.0.1-1").await.unwrap());
    lease.shutdown().await.unwrap();
    assert_eq!(next(&mut watch).await, ["-orders-127.0.0.1-1"]);
    assert!(!consul.has("orders-127.0.0.1-1").await.unwrap());
}

#[cfg(feature = "consul-tls")]
mod tls {
    use std::fs;

    use rcgen::{
        BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa,
        KeyPair,
    };

    use super::*;

    type Authority = CertifiedIssuer<'static, KeyPair>;

    fn authority() -> Authority {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
    }

    /// Certificate and key, in PEM, for a server at `localhost` that may be a client too.
    fn issue(by: &Authority) -> (String, String) {
        let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, by).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    #[tokio::test]
    async fn an_agent_that_asks_for_certificates_is_talked_to_with_one_and_by_nobody_else() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let ours = authority();
        let (server_certificate, server_key) = issue(&ours);
        fs::write(at("ca.pem"), ours.pem()).unwrap();
        fs::write(at("server.pem"), server_certificate).unwrap();
        fs::write(at("server.key"), server_key).unwrap();
        let config = format!(
            r#"{{"verify_incoming": true, "verify_outgoing": true,
                 "ca_file": {:?}, "cert_file": {:?}, "key_file": {:?}}}"#,
            at("ca.pem"),
            at("server.pem"),
            at("server.key"),
        );
        let agent = ConsulServer::builder().https().config(config).start().await;
        let builder = || Consul::builder(&agent.https_url());
        let (certificate, key) = issue(&ours);
        works(&builder().ca_pem(ours.pem()).identity_pem(&certificate, &key).build().unwrap())
            .await;

        let unreachable = |consul: Consul| async move {
            let error = consul.ping().await.unwrap_err();
            assert!(matches!(error, RegisterError::Unreachable { .. }), "{error:?}");
            error.line()
        };
        let bare = unreachable(builder().ca_pem(ours.pem()).build().unwrap()).await;
        let (stranger, key_of_stranger) = issue(&authority());
        let foreign = builder().ca_pem(ours.pem()).identity_pem(stranger, key_of_stranger);
        let foreign = unreachable(foreign.build().unwrap()).await;
        let unknown = builder().ca_pem(authority().pem()).identity_pem(&certificate, &key);
        let unknown = unreachable(unknown.build().unwrap()).await;
        println!("no certificate: {bare}\nof a stranger: {foreign}\nunknown agent: {unknown}");
        assert!(unknown.to_lowercase().contains("certificate"), "{unknown}");
        let careless = builder().danger_trust_any_certificate().identity_pem(&certificate, &key);
        careless.build().unwrap().ping().await.unwrap();
    }
}

#[cfg(unix)]
#[tokio::test]
async fn an_agent_is_talked_to_over_a_unix_socket() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("consul.sock");
    let config = format!(r#"{{"addresses": {{"http": "127.0.0.1 unix://{}"}}}}"#, socket.display());
    let _agent = ConsulServer::builder().config(config).start().await;
    let consul = Consul::new(&format!("unix://{}", socket.display())).unwrap();
    works(&consul).await;
    let nobody = Consul::new(&format!("unix://{}.not", socket.display())).unwrap();
    let error = nobody.ping().await.unwrap_err().line();
    assert!(error.starts_with(&format!("consul at unix://{}.not", socket.display())), "{error}");
}

#[tokio::test]
async fn a_token_that_is_rotated_takes_effect_while_everything_runs_and_shows_nowhere() {
    let log = Log::default();
    let _guard = tracing::subscriber::set_default(log.clone());
    let acl = format!(
        r#"{{"acl": {{"enabled": true, "default_policy": "deny", "tokens": {{"master": "{ROOT}"}}}},
            "primary_datacenter": "dc1"}}"#
    );
    let agent = ConsulServer::builder().config(acl).start().await;
    const WRONG: &str = "99999999-8888-7777-6666-555555555555";
    let token = Arc::new(Mutex::new(WRONG));
    let given = Arc::clone(&token);
    let builder = Consul::builder(&agent.http_url())
        .backoff(Duration::from_millis(20), Duration::from_millis(100))
        .token_with(move || (*given.lock().unwrap()).to_owned());
    let consul = builder.build().unwrap();
    let mut shown = format!("{consul:?}");
    let refused = consul.register(registration()).await.unwrap_err();
    shown += &format!("{refused} {refused:?} {}", refused.line());
    assert!(matches!(refused, RegisterError::Denied { .. }), "{refused:?}");

    let mut watch = consul.watch("orders");
    *token.lock().unwrap() = ROOT;
    // The management token takes a moment to exist after the start.
    until("granted", || watch.state().is_fresh()).await;
    let lease = consul.register(registration()).await.unwrap();
    assert_eq!(next(&mut watch).await, ["+1"]);
    *token.lock().unwrap() = WRONG;
    until("denied", || !lease.state().is_registered()).await;
    shown += &format!("{:?} {:?} {lease:?} {watch:?}", lease.state(), watch.state());
    *token.lock().unwrap() = ROOT;
    until("granted again", || lease.state().is_registered() && watch.state().is_fresh()).await;
    lease.shutdown().await.unwrap();

    let by_value = Consul::builder(&agent.http_url()).token(WRONG).build().unwrap();
    by_value.ping().await.unwrap();
    let error = by_value.register(registration()).await.unwrap_err();
    shown += &format!("{by_value:?} {error:?}");
    let log = log.text();
    assert!(log.contains("denies access"), "the log is empty: {log}");
    for secret in [ROOT, WRONG] {
        assert!(!log.contains(secret), "{log}");
        assert!(!shown.contains(secret), "{shown}");
    }
    // A log of the agent's shows the URLs that it was asked for.
    let told = std::fs::read_to_string(agent.log_path()).unwrap();
    assert!(!told.contains(WRONG), "{told}");
}
