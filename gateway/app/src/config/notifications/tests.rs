use std::{fs, path::Path};

use super::NotificationsConfig;
use crate::{boot, config::SecretRef};

const NODE: &str = "\
version: 1
node: eu-1
region: eu-west
data: { listen: \"127.0.0.1:1\", certificate: a.pem, key: \"file:a.key\" }
control: { listen: \"127.0.0.1:2\", certificate: a.pem, key: \"file:a.key\" }
database: { name: c, user: c, password: \"file:p\", servers: [ { address: \"127.0.0.1:5432\", region: eu-west } ] }
spool: { dir: spool }
state: state
secrets: { peppers: [ { version: 1, key: \"file:k\" } ], snapshot_key: \"file:k\" }
notifications:
";

/// Paths of what is wrong, each with the line that is shown.
fn found(notifications: &str) -> Vec<(String, u64)> {
    let dir = tempfile::tempdir().expect("a folder");
    fs::write(dir.path().join("bad.pem"), "no certificate").expect("written");
    fs::write(dir.path().join("secret"), "short").expect("written");
    let found = boot::check_node(&dir.path().join("node.yaml"), &format!("{NODE}{notifications}"));
    let of_ours = found.into_iter().filter(|mistake| mistake.path.starts_with("notifications"));
    of_ours.map(|mistake| (mistake.path.clone(), mistake.line)).collect()
}

#[test]
fn each_mistake_is_named_with_its_place() {
    let cases = [
        ("  portal_url: http://example.com", "notifications.portal_url"),
        ("  portal_url: https://example.com/portal", "notifications.portal_url"),
        ("  smtp: { host: mail.example.com, port: 0, tls: required, from: a@example.com }", "notifications.smtp.port"),
        ("  smtp: { host: \"mail example\", port: 25, tls: starttls, from: a@example.com }", "notifications.smtp.host"),
        ("  smtp: { host: mail.example.com, port: 465, tls: required, from: nobody }", "notifications.smtp.from"),
        ("  smtp: { host: mail.example.com, port: 465, tls: required, from: a@example.com, user: a }", "notifications.smtp.user"),
        ("  operators: [ ops@example.com ]", "notifications.operators"),
        ("  operators_webhook: { url: \"http://example.com\", secret: \"file:secret\" }", "notifications.operators_webhook.url"),
    ];
    for (text, path) in cases {
        assert_eq!(found(text), [(path.to_owned(), 11)], "{text}");
    }
}

#[test]
fn files_and_secrets_of_no_use_are_found() {
    let cases = [
        ("  ca: gone.pem", "notifications.ca"),
        ("  ca: bad.pem", "notifications.ca"),
        ("  smtp: { host: mail.example.com, port: 465, tls: required, from: a@example.com, ca: gone.pem }", "notifications.smtp"),
        ("  operators_webhook: { url: \"https://example.com\", secret: \"file:secret\" }", "notifications.operators_webhook.secret"),
    ];
    for (text, path) in cases {
        assert_eq!(found(text).iter().map(|(path, _)| path.as_str()).collect::<Vec<_>>(), [path], "{text}");
    }
}

#[test]
fn relative_paths_start_at_the_files_folder() {
    let text = "{ ca: a.pem, smtp: { host: h, port: 1, tls: required, from: a@b.c, user: u, password: \"file:p\", ca: b.pem } }";
    let mut config: NotificationsConfig = model::source::read(text).expect("it parses").0;

    config.resolve_paths(Path::new("/etc/causeway"));

    assert_eq!(config.ca.as_deref(), Some(Path::new("/etc/causeway/a.pem")));
    assert_eq!(config.smtp.as_ref().and_then(|smtp| smtp.ca.as_deref()), Some(Path::new("/etc/causeway/b.pem")));
    assert!(matches!(config.secrets_mut().next(), Some(SecretRef::File(_))));
}
