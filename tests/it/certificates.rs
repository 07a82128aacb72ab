//! Chains by host name, and their reload while clients are connected.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use harness::wait;
use rustix::process::Signal;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use crate::command_line::NODE;
use crate::operation::{Station, dial};
use crate::program::causeway;
use crate::site::SOON;
use crate::wire::{self, Wire};

/// Makes a CA and a chain in a folder of its own, and puts the chain under `name` into `folder`: the certificate first.
pub(crate) fn renew(folder: &Path, name: &str, hosts: &[&str]) -> tempfile::TempDir {
    let own = tempfile::tempdir().unwrap();
    let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
    app::certs::development(own.path(), &hosts, time::OffsetDateTime::now_utc()).unwrap();
    for end in ["pem", "key"] {
        // Renamed over, as tools do that renew certificates.
        let (next, file) = (folder.join(format!("{name}.{end}.next")), folder.join(format!("{name}.{end}")));
        std::fs::copy(own.path().join(format!("server.{end}")), &next).unwrap();
        std::fs::rename(next, file).unwrap();
    }
    own
}

pub(crate) fn leaf(folder: &Path) -> CertificateDer<'static> {
    CertificateDer::pem_file_iter(folder.join("server.pem")).unwrap().next().unwrap().unwrap()
}

/// A client's configuration that trusts several CAs.
fn trusting(station: &Station, folders: &[&Path]) -> Arc<rustls::ClientConfig> {
    let all: String = folders.iter().map(|folder| std::fs::read_to_string(folder.join("ca.pem")).unwrap()).collect();
    let file = station.folder().join("all-ca.pem");
    std::fs::write(&file, all).unwrap();
    wire::tls(&file, "http/1.1")
}

/// The leaf that the node shows under a name; `Err` when it shows none.
async fn shown(station: &Station, name: &str, config: &Arc<rustls::ClientConfig>) -> Result<CertificateDer<'static>, String> {
    let stream = dial(station.address(), None, b"", name, Arc::clone(config)).await?;
    Ok(stream.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned())
}

fn with_chains(text: &str, unknown: &str) -> String {
    let own = |hosts: &str, name: &str| format!("{{ hosts: [ {hosts} ], certificate: {name}.pem, key: \"file:{name}.key\" }}");
    let chains = format!("[ {}, {} ]", own("shop.example.test", "shop"), own("\"*.partners.example.test\"", "partners"));
    text.replacen("server.key\" }\ncontrol", &format!("server.key\", certificates: {chains}, unknown_host: {unknown} }}\ncontrol"), 1)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_name_gets_its_chain_and_unknown_ones_what_the_node_file_says() {
    let station = Station::start(|text| with_chains(&text, "default")).await;
    let shop = renew(station.folder(), "shop", &["shop.example.test"]);
    let partners = renew(station.folder(), "partners", &["*.partners.example.test"]);
    let default = station.ca().parent().unwrap().to_owned();
    let config = trusting(&station, &[&default, shop.path(), partners.path()]);
    let mut node = station.serve().await;

    assert_eq!(shown(&station, "shop.example.test", &config).await.unwrap(), leaf(shop.path()));
    assert_eq!(shown(&station, "SHOP.example.test", &config).await.unwrap(), leaf(shop.path()));
    assert_eq!(shown(&station, "a.partners.example.test", &config).await.unwrap(), leaf(partners.path()));
    assert_eq!(shown(&station, "127.0.0.1", &config).await.unwrap(), leaf(&default), "a client that asks for no name");
    assert_eq!(shown(&station, "localhost", &config).await.unwrap(), leaf(&default));
    let other = shown(&station, "other.example.test", &config).await.unwrap_err();
    assert!(other.contains("not valid for name"), "the default chain names others: {other}");
    assert!((390.0..=397.0).contains(&station.metric("causeway_certificate_expiry_days{listener=\"data\"}").await));

    node.process.signal(Signal::TERM);
    assert_eq!(node.ended(Duration::from_secs(30)).await, Some(0));
    station.edit(|text| text.replace("unknown_host: default", "unknown_host: refuse"));
    let _node = station.launch(|_| {});
    wait::until("a refusing node", SOON * 3, async || {
        tokio::net::TcpStream::connect(station.address()).await.is_ok() && shown(&station, "shop.example.test", &config).await.is_ok()
    })
    .await
    .unwrap();
    for name in ["other.example.test", "x.a.partners.example.test", "partners.example.test", "127.0.0.1"] {
        let refused = shown(&station, name, &config).await.unwrap_err();
        assert!(refused.contains("alert"), "{name}: {refused}");
    }
    assert_eq!(shown(&station, "localhost", &config).await.unwrap(), leaf(&default), "the default chain's own names are known");
    assert_eq!(shown(&station, "a.partners.example.test", &config).await.unwrap(), leaf(partners.path()));
    station.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replaced_files_are_in_force_for_new_handshakes_and_no_connection_notices() {
    let station = Station::start(|text| with_chains(&text, "default")).await;
    let first = renew(station.folder(), "shop", &["shop.example.test"]);
    let _partners = renew(station.folder(), "partners", &["*.partners.example.test"]);
    let default = station.ca().parent().unwrap().to_owned();
    let node = station.serve().await;
    let mut old = Wire::connect(station.address(), station.ca(), "http/1.1", None).await;
    assert!(old.get("/none").await.is_some());
    let mut known = vec![first];
    let state = async || station.calls.readiness(&station.region).await.unwrap().1;

    // By itself, then by a signal.
    for signal in [None, Some(Signal::HUP)] {
        let next = renew(station.folder(), "shop", &["shop.example.test"]);
        let folders: Vec<&Path> = known.iter().map(tempfile::TempDir::path).chain([default.as_path(), next.path()]).collect();
        let config = trusting(&station, &folders);
        if let Some(signal) = signal {
            node.process.signal(signal);
        }
        let (mut tries, expected) = (0, leaf(next.path()));
        wait::until("the new chain", SOON, async || {
            tries += 1;
            // Every handshake meanwhile succeeds, with one chain or the other.
            shown(&station, "shop.example.test", &config).await.unwrap() == expected
        })
        .await
        .unwrap();
        known.push(next);
        assert!(old.get("/none").await.is_some(), "the connection from before goes on, after {tries} handshakes");
    }
    assert!((2.0..=4.0).contains(&station.metric("causeway_certificate_reloads_total").await));
    let last = known.last().unwrap();
    let config = trusting(&station, &[last.path()]);

    // What cannot be used changes nothing, and is told.
    let good = std::fs::read(station.folder().join("shop.pem")).unwrap();
    for (broken, words) in [
        (&b"-----BEGIN CERTIFICATE-----\nnothing\n"[..], "no valid PEM"),
        (&std::fs::read(default.join("server.pem")).unwrap(), "cannot be used together"),
    ] {
        std::fs::write(station.folder().join("shop.pem"), broken).unwrap();
        wait::until("a degraded node", SOON, async || state().await.contains(words)).await.unwrap();
        let text = state().await;
        assert!(text.starts_with("ready, degraded") && text.contains("shop.pem") && text.contains("what was in force stays"), "{text}");
        assert!(!text.contains("PRIVATE KEY"));
        assert!((station.metric("causeway_certificates_broken").await - 1.0).abs() < f64::EPSILON);
        assert_eq!(shown(&station, "shop.example.test", &config).await.unwrap(), leaf(last.path()));
    }
    std::fs::write(station.folder().join("shop.pem"), good).unwrap();
    wait::until("a node without a complaint", SOON, async || !state().await.contains("shop.pem")).await.unwrap();
    assert!(old.get("/none").await.is_some());
    assert!(node.said("what was in force stays") && node.process.is_alive());
    station.stop().await;
}

#[tokio::test]
async fn certificates_that_clients_would_refuse_are_told_at_their_place_in_the_node_file() {
    let dir = tempfile::tempdir().unwrap();
    let hosts = ["localhost".to_owned(), "api.example.test".to_owned()];
    app::certs::development(dir.path(), &hosts, time::OffsetDateTime::now_utc()).unwrap();
    let other = tempfile::tempdir().unwrap();
    app::certs::development(other.path(), &hosts, time::OffsetDateTime::now_utc()).unwrap();
    std::fs::copy(other.path().join("server.key"), dir.path().join("other.key")).unwrap();
    let old = tempfile::tempdir().unwrap();
    app::certs::development(old.path(), &hosts, time::OffsetDateTime::now_utc() - time::Duration::days(400)).unwrap();
    std::fs::copy(old.path().join("server.pem"), dir.path().join("old.pem")).unwrap();
    std::fs::copy(old.path().join("server.key"), dir.path().join("old.key")).unwrap();
    let own = |hosts: &str, name: &str, key: &str| {
        let more =
            format!("key: \"file:server.key\", certificates: [ {{ hosts: [ \"{hosts}\" ], certificate: {name}, key: \"file:{key}\" }} ] }}\ncontrol");
        NODE.replacen("key: \"file:server.key\" }\ncontrol", &more, 1)
    };

    for (text, words) in [
        (own("api.example.test", "server.pem", "server.key"), &[][..]),
        (own("shop.example.test", "server.pem", "server.key"), &["does not name shop.example.test", "certificates[0]"]),
        (own("*.example.test", "server.pem", "server.key"), &["does not name *.example.test"]),
        (own("api.example.test", "server.pem", "other.key"), &["cannot be used together"]),
        (own("api.example.test", "gone.pem", "server.key"), &["gone.pem", "No such file"]),
        (own("api.example.test", "old.pem", "old.key"), &["old.pem", "expired"]),
        (own("not a host", "server.pem", "server.key"), &["is not a host name"]),
    ] {
        let file = dir.path().join("node.yaml");
        std::fs::write(&file, &text).unwrap();
        let told = causeway(&["check", file.to_str().unwrap()], &[], SOON).await.expect(i32::from(!words.is_empty()));
        for word in words {
            assert!(told.stderr.contains(word) && told.stderr.contains("node.yaml:4:"), "{word:?} is missing in {}", told.stderr);
        }
        assert!(!told.stderr.contains("PRIVATE KEY"));
    }
}
