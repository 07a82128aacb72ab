use std::{fs, path::Path};

use edge::tls::UnknownHost;
use rcgen::{CertificateParams, KeyPair};

use super::{Entry, Look, Owner, Source, Tell};
use crate::config::SecretRef;

/// Writes a self-signed certificate and its key under a name.
fn write(dir: &Path, name: &str, hosts: &[&str]) {
    let key = KeyPair::generate().unwrap();
    let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
    let certificate = CertificateParams::new(hosts).unwrap().self_signed(&key).unwrap();
    fs::write(dir.join(format!("{name}.pem")), certificate.pem()).unwrap();
    fs::write(dir.join(format!("{name}.key")), key.serialize_pem()).unwrap();
}

fn source(dir: &Path, hosts: &[&str]) -> Source {
    let entry = |name: &str, hosts: &[&str]| Entry {
        hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
        certificate: dir.join(format!("{name}.pem")),
        key: SecretRef::File(dir.join(format!("{name}.key"))),
    };
    Source { owner: Owner::Listener("data"), entries: vec![entry("default", &[]), entry("own", hosts)], unknown: UnknownHost::Default }
}

#[test]
fn files_that_cannot_be_used_keep_what_is_in_force_and_are_told_once_they_stay_so() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "default", &["a.test"]);
    write(dir.path(), "own", &["b.test"]);
    let mut watched = source(dir.path(), &["b.test"]).start().unwrap();
    assert_eq!(watched.look(Tell::Later), Look::Same);

    // Only the certificate has been replaced: half of a renewal.
    let old_key = fs::read(dir.path().join("own.key")).unwrap();
    write(dir.path(), "own", &["b.test"]);
    let new_key = fs::read(dir.path().join("own.key")).unwrap();
    fs::write(dir.path().join("own.key"), &old_key).unwrap();
    assert_eq!(watched.look(Tell::Later), Look::Unsure);
    let Look::Broken(sentence) = watched.look(Tell::Later) else { panic!("it stays broken") };
    assert!(sentence.contains("own.pem") && sentence.contains("cannot be used together"), "{sentence}");

    // The other half.
    fs::write(dir.path().join("own.key"), &new_key).unwrap();
    assert_eq!(watched.look(Tell::Later), Look::Replaced);
    assert_eq!(watched.look(Tell::Later), Look::Same);

    // A person who asks is told at once.
    for (text, word) in [("", "no valid PEM"), ("-----BEGIN CERTIFICATE-----\n!\n", "no valid PEM")] {
        fs::write(dir.path().join("default.pem"), text).unwrap();
        let Look::Broken(sentence) = watched.look(Tell::Now) else { panic!("{text:?} is no certificate") };
        assert!(sentence.contains("default.pem") && sentence.contains(word), "{sentence}");
    }
    fs::remove_file(dir.path().join("default.pem")).unwrap();
    assert!(matches!(watched.look(Tell::Now), Look::Broken(sentence) if sentence.contains("cannot read")));
}

#[test]
fn chain_that_does_not_name_its_hosts_neither_starts_nor_replaces_one_that_does() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "default", &["a.test"]);
    write(dir.path(), "own", &["*.b.test"]);
    assert!(format!("{:#}", source(dir.path(), &["b.test"]).start().unwrap_err()).contains("does not name b.test"));
    let mut watched = source(dir.path(), &["x.b.test", "*.b.test"]).start().unwrap();

    write(dir.path(), "own", &["x.b.test"]);

    let Look::Broken(sentence) = watched.look(Tell::Now) else { panic!("the wildcard is not covered any more") };
    assert!(sentence.contains("does not name *.b.test; it names x.b.test"), "{sentence}");
}

#[test]
fn mistakes_are_told_by_their_place_in_the_node_file() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "default", &["a.test"]);
    write(dir.path(), "own", &["b.test"]);
    assert_eq!(source(dir.path(), &["b.test"]).mistakes(), []);

    fs::remove_file(dir.path().join("default.key")).unwrap();
    let found = source(dir.path(), &["c.test"]).mistakes();

    let places: Vec<&str> = found.iter().map(|(place, _)| place.as_str()).collect();
    assert_eq!(places, ["data.certificate", "data.certificates[0].certificate"], "{found:?}");
    assert!(found[0].1.contains("default.key") && found[1].1.contains("c.test"), "{found:?}");
}
