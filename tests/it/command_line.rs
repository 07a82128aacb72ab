//! The command line as people and scripts use it: exit codes, places of mistakes, and secrets that are shown once.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use harness::wait;
use serde_json::Value;

use crate::calls::{Calls, shared};
use crate::program::{Ran, causeway, causeway_at};

const WITHIN: Duration = Duration::from_secs(20);

const GATEWAY: &str = r#"version: 1
regions:
- { name: eu-west, gateway: "https://gateway.example.test" }
tenants:
- name: shop
  hosts: [ shop.example.test ]
plans:
- name: free
  limits:
    burst: { rate: 200/s, burst: 400 }
consumers:
- name: shop
applications:
- name: default
  consumer: shop
  plan: free
  scopes: [ "items:read" ]
upstreams:
- name: shop
  regions:
    eu-west: { targets: [ "http://127.0.0.1:9" ] }
routes:
- name: shop
  match: { path: "/shop/**" }
  upstream: shop
  consistency: social
  limits: [ { name: burst, from: plan.burst } ]
"#;

pub(crate) const NODE: &str = r#"version: 1
node: eu-west-1
region: eu-west
data: { listen: "127.0.0.1:8443", certificate: server.pem, key: "file:server.key" }
control: { listen: "127.0.0.1:9443", certificate: server.pem, key: "file:server.key" }
database:
  name: causeway
  user: causeway
  password: "env:DATABASE_PASSWORD"
  servers:
  - { address: "127.0.0.1:5432", region: eu-west }
spool: { dir: spool, max: 1GiB, segment: 16MiB }
state: state
secrets:
  peppers: [ { version: 1, key: "file:pepper-1" } ]
  snapshot_key: "file:snapshot-key"
log: json
"#;

/// A mistake: what stands in a good file, what stands there instead, where the caret points, and words of the message and
/// of the remedy (empty when there is none to give).
type Mistake = (&'static str, &'static str, &'static str, &'static str, &'static str);

const GATEWAY_MISTAKES: &[Mistake] = &[
    ("consistency: social", "consistancy: social", "consistancy", "unknown field `consistancy`", "did you mean `consistency`?"),
    ("- name: free\n  limits", "- nam: free\n  limits", "nam: free", "unknown field `nam`", "did you mean `name`?"),
    ("upstream: shop", "upstream: shpo", "shpo", "no upstream named `shpo`", "did you mean `shop`?"),
    ("consumer: shop", "consumer: shpo", "shpo", "no consumer named `shpo`", "did you mean `shop`?"),
    ("plan: free", "plan: fre", "fre\n", "no plan named `fre`", "did you mean `free`?"),
    ("from: plan.burst", "from: plan.brust", "plan.brust", "a limit named `brust`", ""),
    ("path: \"/shop/**\"", "path: \"shop/**\"", "\"shop/**\"", "starts with a slash", ""),
    ("path: \"/shop/**\"", "path: \"/shop/{id/**\"", "\"/shop/{id/**\"", "segment `{id`", ""),
    ("200/s", "200/fortnight", "200/fortnight", "is not a rate", ""),
    ("version: 1", "version: 2", "2\nregions", "version 2 is not known", ""),
    ("eu-west: { targets", "eu-wst: { targets", "{ targets", "no region named `eu-wst`", "did you mean `eu-west`?"),
    ("http://127.0.0.1:9", "ftp://127.0.0.1:9", "\"ftp://127.0.0.1:9\"", "scheme `ftp`", ""),
    ("shop.example.test ]", "\"sh op\" ]", "\"sh op\"", "is not a host name", ""),
    ("plan.burst } ]", "plan.burst", "{ name: burst, from: plan.burst\n", "unclosed bracket", ""),
    ("  plan: free\n", "  plan: free\n  plan: free\n", "plan: free\n  scopes", "duplicate", ""),
    (
        "limits: [ { name: burst, from: plan.burst } ]\n",
        "limits: [ ]\n- name: twin\n  match: { path: \"/shop/**\" }\n  upstream: shop\n",
        "{ path: \"/shop/**\" }",
        "routes `shop` and `twin` can take the same request",
        "give them different methods, or let one of them match an additional header",
    ),
];

macro_rules! oidc {
    ($issuer:literal, $origin:literal, $role:literal) => {
        concat!(
            "\"file:server.key\",\n  sign_in: { oidc: { name: E, issuer: \"",
            $issuer,
            "\", client_id: c, client_secret: \"file:s\", origin: \"",
            $origin,
            "\",\n  roles: { claim: g, values: [ { value: a, role: ",
            $role,
            " } ] } } } }\ndatabase"
        )
    };
}

const NODE_MISTAKES: &[Mistake] = &[
    ("spool:", "spol:", "spol:", "unknown field `spol`", "did you mean `spool`?"),
    ("log: json", "limits: { head_timout: 1s }", "head_timout", "unknown field `head_timout`", "did you mean `head_timeout`?"),
    ("log: json", "log: jsno", "jsno", "unknown variant `jsno`", "did you mean `json`?"),
    ("region: eu-west\ndata", "region: EU West\ndata", "EU West", "is not a name", ""),
    ("version: 1\nnode", "version: 7\nnode", "7\nnode", "version 7 is not known", ""),
    ("segment: 16MiB", "segment: 16MB", "16MB", "is not a size", ""),
    ("segment: 16MiB", "segment: 1KiB", "1GiB", "segments of at least 1MiB", ""),
    ("127.0.0.1:5432", "nowhere", "\"nowhere\"", "is not `host:port`", ""),
    (
        "listen: \"127.0.0.1:9443\"",
        "listen: \"127.0.0.1:8443\"",
        "\"127.0.0.1:8443\", certificate: server.pem, key: \"file:server.key\" }\ndatabase",
        "different ports",
        "",
    ),
    (
        "\"file:server.key\" }\ncontrol",
        "\"file:server.key\",\n  proxy_protocol: { from: [ ] } }\ncontrol",
        "[ ] } }\ncontrol",
        "name the balancers that send the PROXY header",
        "",
    ),
    (
        "\"file:server.key\" }\ncontrol",
        "\"file:server.key\",\n  client_address: { field: forwarded, trusted: [ 10.0.0.1/8 ] } }\ncontrol",
        "10.0.0.1/8",
        "`10.0.0.0/8` is the range that holds it",
        "",
    ),
    (
        "\"file:server.key\" }\ncontrol",
        "\"file:server.key\",\n  certificates: [ { hosts: [ a.test, A.test ], certificate: a, key: \"file:a\" } ] }\ncontrol",
        "[ a.test, A.test ]",
        "`a.test` has two chains",
        "",
    ),
    #[cfg(not(feature = "http3"))]
    (
        "\"file:server.key\" }\ncontrol",
        "\"file:server.key\",\n  http3: {} }\ncontrol",
        "{} }\ncontrol",
        "built without HTTP/3: build it with `--features http3`, or leave `http3` out",
        "",
    ),
    #[cfg(feature = "http3")]
    (
        "\"file:server.key\" }\ncontrol",
        "\"file:server.key\",\n  http3: { advertised_port: 0 } }\ncontrol",
        "{ advertised_port",
        "clients must be told a port",
        "",
    ),
    ("\"file:server.key\" }\ndatabase", oidc!("http://a.test", "https://b.test", "admin"), "\"http://a.test\"", "must be an https URL", ""),
    ("\"file:server.key\" }\ndatabase", oidc!("https://a.test", "https://b.test/x", "admin"), "\"https://b.test/x\"", "where people find", ""),
    ("\"file:server.key\" }\ndatabase", oidc!("https://a.test", "https://b.test", "root"), "root }", "`root` is no role", ""),
    ("log: json", "limits: { connections_per_address: 0 }", "{ connections_per_address", "a limit of 0", ""),
    ("log: json", "limits: { connections: 0 }", "{ connections", "a limit of 0", ""),
    ("peppers: [ { version: 1, key: \"file:pepper-1\" } ]", "peppers: [ ]", "[ ]", "at least one pepper", ""),
];

fn write(dir: &Path, name: &str, text: &str) -> PathBuf {
    let path = dir.join(name);
    std::fs::write(&path, text).unwrap();
    path
}

/// Line and column, from 1, of the last place where `marker` stands.
fn place(text: &str, marker: &str) -> (u64, u64) {
    let at = text.rfind(marker).unwrap_or_else(|| panic!("{marker:?} is not in the text"));
    let before = &text[..at];
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    (line as u64, column as u64)
}

async fn shows(good: &str, mistakes: &[Mistake]) {
    let dir = tempfile::tempdir().unwrap();
    for (from, to, marker, message, help) in mistakes {
        let text = good.replacen(from, to, 1);
        assert_ne!(text, good, "{from:?} is not in the file");
        let file = write(dir.path(), "broken.yaml", &text);
        let file = file.to_str().unwrap();
        let (line, column) = place(&text, marker);

        let told = causeway(&["check", file], &[], WITHIN).await.expect(1);
        let machine = causeway(&["check", "--json", file], &[], WITHIN).await.expect(1);

        assert!(told.stdout.is_empty(), "{to:?}: mistakes are no result: {told:?}");
        for words in [format!("{file}:{line}:{column}"), "^".to_owned(), (*message).to_owned(), (*help).to_owned(), "1 mistake".to_owned()] {
            assert!(told.stderr.contains(&words), "{to:?}: {words:?} is missing in\n{}", told.stderr);
        }
        let shown = text.lines().nth(usize::try_from(line - 1).unwrap()).unwrap();
        assert!(told.stderr.contains(shown.trim()), "{to:?}: the line is missing in\n{}", told.stderr);
        let json = machine.json();
        let error = &json["errors"][0];
        assert_eq!(json["valid"], Value::Bool(false));
        assert_eq!(
            (error["file"].as_str(), error["line"].as_u64(), error["column"].as_u64()),
            (Some(file), Some(line), Some(column)),
            "{to:?}: {json}"
        );
        assert!(error["message"].as_str().unwrap().contains(message), "{to:?}: {json}");
        assert_eq!(error["help"].as_str().unwrap_or_default(), *help, "{to:?}: {json}");
    }
}

#[tokio::test]
async fn each_mistake_in_a_gateway_file_is_shown_where_it_stands_with_a_remedy() {
    shows(GATEWAY, GATEWAY_MISTAKES).await;
}

#[tokio::test]
async fn each_mistake_in_a_node_file_is_shown_where_it_stands_with_a_remedy() {
    shows(NODE, NODE_MISTAKES).await;
}

#[tokio::test]
async fn preset_with_a_slip_of_the_pen_is_named_in_words_that_an_operator_knows() {
    let dir = tempfile::tempdir().unwrap();
    for (to, wrong) in [("consistency: socail", "socail"), ("consistency: { kys: { max_staleness: 2s } }", "kys")] {
        let file = write(dir.path(), "gateway.yaml", &GATEWAY.replace("consistency: social", to));

        let told = causeway(&["check", file.to_str().unwrap()], &[], WITHIN).await.expect(1);

        assert!(!told.stderr.contains("untagged") && told.stderr.contains(&format!("`{wrong}`")), "{}", told.stderr);
    }
}

#[tokio::test]
async fn secret_that_stands_in_a_node_file_is_refused_and_not_repeated() {
    let dir = tempfile::tempdir().unwrap();
    let secret = "5f1c9a0d77e2b4486b7c0e1d";
    let file = write(dir.path(), "node.yaml", &NODE.replace("env:DATABASE_PASSWORD", secret));
    let file = file.to_str().unwrap();

    for (arguments, shown) in
        [(&["check", file][..], "node.yaml:9:13"), (&["check", "--json", file], "\"column\": 13"), (&["serve", "--config", file], "node.yaml:9:13")]
    {
        let told = causeway(arguments, &[], WITHIN).await.expect(1);

        assert!(!told.stderr.contains(secret) && !told.stdout.contains(secret), "{told:?}");
        assert!(format!("{}{}", told.stderr, told.stdout).contains("by reference"), "{told:?}");
        assert!(format!("{}{}", told.stderr, told.stdout).contains(shown), "{told:?}");
    }
}

#[tokio::test]
async fn files_without_a_mistake_pass() {
    let dir = tempfile::tempdir().unwrap();
    let (gateway, node) = (write(dir.path(), "gateway.yaml", GATEWAY), write(dir.path(), "node.yaml", NODE));
    let (gateway, node) = (gateway.to_str().unwrap(), node.to_str().unwrap());
    app::certs::development(dir.path(), &["localhost".to_owned()], time::OffsetDateTime::now_utc()).unwrap();

    let told = causeway(&["check", gateway, node], &[], WITHIN).await.expect(0);
    let machine = causeway(&["check", gateway, node, "--json"], &[], WITHIN).await.expect(0);

    assert_eq!(told.stdout, format!("{gateway}: no mistake\n{node}: no mistake\n"));
    assert_eq!(machine.json(), serde_json::json!({ "valid": true, "errors": [] }));
}

#[tokio::test]
async fn what_cannot_be_read_is_named_and_the_other_files_are_checked_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("latin"), b"version: 1 # caf\xe9\n").unwrap();
    let empty = write(dir.path(), "empty.yaml", "");
    let huge = std::fs::File::create(dir.path().join("huge.yaml")).unwrap();
    huge.set_len(64 << 20).unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();

    let files = [path("missing.yaml"), path(""), path("latin"), path("huge.yaml"), empty.to_str().unwrap().to_owned()];
    let mut arguments = vec!["check"];
    arguments.extend(files.iter().map(String::as_str));
    let told = causeway(&arguments, &[], WITHIN).await.expect(1);

    for file in &files {
        assert!(told.stderr.contains(file.as_str()), "{file} is not named in\n{}", told.stderr);
    }
    for words in ["No such file", "Is a directory", "UTF-8", "larger than", "5 mistakes"] {
        assert!(told.stderr.contains(words), "{words:?} is missing in\n{}", told.stderr);
    }
}

#[tokio::test]
async fn wrong_usage_ends_with_2_and_every_verb_has_examples() {
    for arguments in [&[][..], &["chek"], &["check"], &["keys", "list", "--limit", "0"], &["audit", "query", "sttus:>=400"], &["serve"]] {
        let told = causeway(arguments, &[], WITHIN).await.expect(2);
        assert!(!told.stderr.is_empty(), "{arguments:?}");
    }
    let verbs = "|check|apply|diff|keys create|keys list|keys show|keys revoke|keys propagation|nodes list|nodes remove|keys approve|keys refuse|keys import|accounts list|accounts approve|accounts refuse|\
                 accounts disable|accounts enable|accounts reset-password|accounts reset-second-factor|accounts link|accounts invite|consumers list|consumers show|consumers create|consumers change|consumers delete|applications list|\
                 applications show|applications create|applications delete|my|my webhook|my set-webhook|my test-webhook|my remove-webhook|my mails|my set-mails|notifications list|notifications retry|operators create|\
                 operators list|operators revoke|audit query|status|openapi|policy|serve|migrate|admin init|admin invite|admin rotate-pepper|admin begin-epoch|\
                 certs dev|dev";
    for verb in verbs.split('|') {
        let arguments: Vec<_> = verb.split_whitespace().chain(["--help"]).collect();
        let told = causeway(&arguments, &[], WITHIN).await.expect(0);
        assert!(told.stdout.contains("Example"), "{verb:?} has no example:\n{}", told.stdout);
    }
}

#[tokio::test]
async fn reader_that_went_away_is_no_panic() {
    let dev = shared().await;
    let ready = dev.ready();
    let writer = dev.writer().unwrap();
    let gateway = ready.ca.parent().unwrap().with_file_name("gateway.yaml");
    let gateway = gateway.to_str().unwrap();
    for arguments in [&["--help"][..], &["check", gateway, "--json"], &["keys", "list"], &["audit", "query", "--json"], &["diff", "-f", gateway]] {
        let (reader, stdout) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = tokio::process::Command::new(harness::dev::binary().unwrap());
        command.args(arguments).stdin(Stdio::null()).stdout(stdout).stderr(Stdio::piped()).kill_on_drop(true);
        command.env("CAUSEWAY_CONTROL", &writer.control).env("CAUSEWAY_TOKEN", &ready.operator_token).env("CAUSEWAY_CA", &ready.ca);

        let output = tokio::time::timeout(WITHIN, command.output()).await.unwrap().unwrap();

        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(!stderr.contains("panicked") && output.status.code().is_some_and(|code| code < 3), "{arguments:?}: {:?} {stderr}", output.status);
    }
}

#[tokio::test]
async fn what_keeps_the_control_plane_from_answering_is_said_with_the_remedy() {
    let dev = shared().await;
    let (ca, control) = (dev.ready().ca.to_str().unwrap(), dev.writer().unwrap().control.as_str());
    let dir = tempfile::tempdir().unwrap();
    let text = write(dir.path(), "no-certificate.pem", "nothing\n");
    let other = app::certs::development(dir.path(), &["127.0.0.1".to_owned()], time::OffsetDateTime::now_utc()).unwrap();
    let free = { std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap() };
    let closed = format!("https://{free}");
    let with = |control: &str, token: &str, ca: &str| {
        [("CAUSEWAY_CONTROL", control.to_owned()), ("CAUSEWAY_TOKEN", token.to_owned()), ("CAUSEWAY_CA", ca.to_owned())]
    };
    let cases = [
        (with(&closed, "t", ca), "Connection refused"),
        (with(control, "t", "/nowhere/ca.pem"), "--ca FILE"),
        (with(control, "t", text.to_str().unwrap()), "no certificate"),
        (with(control, "t", other.ca.to_str().unwrap()), "--ca FILE"),
        (with(&control.replace("https", "http"), "t", ca), "write https://"),
        (with(&dev.writer().unwrap().data, "t", ca), "route-not-found"),
    ];
    for (environment, words) in cases {
        let environment: Vec<_> = environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let told = causeway(&["keys", "list"], &environment, WITHIN).await.expect(1);
        assert!(told.stderr.contains(words) && told.stdout.is_empty(), "{words:?}: {told:?}");
        assert!(told.took < Duration::from_secs(5), "{told:?}");
    }
    let nothing = causeway(&["keys", "list"], &[("CAUSEWAY_CONTROL", control)], WITHIN).await.expect(1);
    assert!(nothing.stderr.contains("CAUSEWAY_TOKEN"), "{nothing:?}");
}

#[tokio::test]
async fn control_plane_that_never_answers_ends_the_command_at_its_deadline() {
    let dev = shared().await;
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let control = format!("https://{}", silent.local_addr().unwrap());
    let environment = [("CAUSEWAY_CONTROL", control.as_str()), ("CAUSEWAY_TOKEN", "t"), ("CAUSEWAY_CA", dev.ready().ca.to_str().unwrap())];

    let told = causeway(&["keys", "list"], &environment, Duration::from_secs(20)).await.expect(1);

    assert!(told.stderr.contains("did not answer within 10 s"), "{told:?}");
}

#[tokio::test]
async fn token_that_is_not_accepted_ends_with_1_and_the_code_of_the_problem() {
    let dev = shared().await;
    for verb in [&["keys", "list"][..], &["audit", "query"], &["status"]] {
        let arguments = [verb, &["--token", "cw_op_wrong"]].concat();
        let told = causeway_at(dev.ready(), &arguments).await.expect(1);
        let machine = causeway_at(dev.ready(), &[&arguments[..], &["--json"]].concat()).await.expect(1);

        assert!(told.stderr.contains("credentials-invalid") && told.stdout.is_empty(), "{told:?}");
        assert_eq!(machine.json()["code"], "credentials-invalid", "{machine:?}");
    }
}

#[tokio::test]
async fn key_goes_from_creation_to_revocation_and_its_secret_is_shown_once() {
    let dev = shared().await;
    let run = async |arguments: &[&str]| causeway_at(dev.ready(), arguments).await;
    let calls = Calls::of(dev.ready()).unwrap();
    let region = dev.writer().unwrap();

    let plain = run(&["keys", "create", "plain-round"]).await.expect(0);
    let created = run(&["keys", "create", "--name", "json-round", "--scope", "items:read", "--expires-in", "12h", "--json"]).await.expect(0).json();
    let secrets = [plain.stdout.trim().to_owned(), created["secret"].as_str().unwrap().to_owned()];
    let ids = [secrets[0].split('_').nth(2).unwrap().to_owned(), created["id"].as_str().unwrap().to_owned()];
    let mut later = Vec::<Ran>::new();
    for (id, name) in ids.iter().zip(["plain-round", "json-round"]) {
        later.push(run(&["keys", "show", id]).await.expect(0));
        later.push(run(&["keys", "show", id, "--json"]).await.expect(0));
        assert_eq!(later.last().unwrap().json()["name"], name);
    }
    later.push(run(&["keys", "list", "--limit", "200"]).await.expect(0));
    later.push(run(&["keys", "list", "--limit", "200", "--json"]).await.expect(0));
    let listed = later.last().unwrap().json();
    for secret in &secrets {
        let path = "/demo/v1/echo";
        wait::until("the key in force", WITHIN, async || calls.get(region, path, secret).await.is_ok_and(|answer| answer.status == 200))
            .await
            .unwrap();
    }
    later.push(run(&["keys", "revoke", &ids[0]]).await.expect(0));
    later.push(run(&["keys", "revoke", &ids[1], "--json"]).await.expect(0));
    later.push(run(&["keys", "revoke", &ids[1]]).await.expect(0));
    later.push(run(&["keys", "list", "--state", "revoked", "--limit", "200"]).await.expect(0));
    later.push(run(&["audit", "query", "class:admin"]).await.expect(0));

    assert_eq!(plain.stdout.lines().count(), 1, "standard output is the secret alone: {plain:?}");
    assert!(!plain.stderr.contains(&secrets[0]), "{plain:?}");
    for id in &ids {
        assert!(listed["items"].as_array().unwrap().iter().any(|key| key["id"] == **id), "{id} is not listed");
    }
    for ran in &later {
        for secret in &secrets {
            let tail = secret.rsplit('_').next().unwrap();
            assert!(!format!("{}{}", ran.stdout, ran.stderr).contains(tail), "a secret is shown again: {ran:?}");
        }
    }
    assert!(later[later.len() - 3].stdout.contains("already revoked"), "{:?}", later[later.len() - 3]);
    for secret in &secrets {
        let gone = async || calls.get(region, "/demo/v1/echo", secret).await.is_ok_and(|answer| answer.code() == "credentials-invalid");
        wait::until("the refusal of the revoked key", WITHIN, gone).await.unwrap();
    }
    let unknown = run(&["keys", "show", "AAAAAAAAAAAA"]).await.expect(1);
    assert!(unknown.stderr.contains("resource-not-found"), "{unknown:?}");
    let whole = run(&["keys", "revoke", &secrets[0]]).await.expect(1);
    assert!(whole.stderr.contains("give only its id") && !whole.stderr.contains(&secrets[0]), "{whole:?}");
}

#[tokio::test]
async fn apply_is_idempotent_and_diff_says_by_its_code_whether_something_would_change() {
    let dev = shared().await;
    let run = async |arguments: &[&str]| causeway_at(dev.ready(), arguments).await;
    let present = dev.ready().ca.parent().unwrap().with_file_name("gateway.yaml");
    let text = std::fs::read_to_string(&present).unwrap();
    let next = present.with_file_name("next.yaml");
    std::fs::write(&next, text.replace("consumers:\n- name: demo\n", "consumers:\n- name: demo\n- name: newcomer\n")).unwrap();
    let broken = present.with_file_name("broken.yaml");
    std::fs::write(&broken, text.replace("consumer: demo", "consumer: dmeo")).unwrap();
    let [present, next, broken] = [&present, &next, &broken].map(|path| path.to_str().unwrap());

    run(&["diff", "-f", present]).await.expect(0);
    let would = run(&["diff", "-f", next]).await.expect(2);
    run(&["diff", "-f", next, "--json"]).await.expect(2);
    let first = run(&["apply", "-f", next, "--json"]).await.expect(0).json();
    let second = run(&["apply", "-f", next, "--json"]).await.expect(0).json();
    run(&["diff", "-f", next]).await.expect(0);
    let refused = run(&["apply", "-f", broken]).await.expect(1);
    run(&["diff", "-f", broken]).await.expect(1);
    let after = run(&["apply", "-f", next, "--json"]).await.expect(0).json();
    let back = run(&["apply", "-f", present]).await.expect(0);

    assert!(would.stdout.contains("+ consumer newcomer") && would.stdout.contains("1 would be created"), "{would:?}");
    assert_eq!((&first["changed"], first["created"].as_array().unwrap().len()), (&Value::Bool(true), 1), "{first}");
    assert_eq!((&second["changed"], second["created"].as_array().unwrap().len()), (&Value::Bool(false), 0), "{second}");
    assert_eq!(first["revisions"], second["revisions"], "what changes nothing takes no revision");
    assert!(refused.stderr.contains("did you mean `demo`?") && refused.stderr.contains("broken.yaml:"), "{refused:?}");
    assert_eq!(after["revisions"], first["revisions"], "nothing of a file with a mistake is applied");
    assert!(back.stdout.contains("- consumer newcomer"), "{back:?}");
}

#[tokio::test]
async fn access_log_is_searched_by_key_and_by_status() {
    let dev = shared().await;
    let calls = Calls::of(dev.ready()).unwrap();
    let region = dev.writer().unwrap();
    let key = calls.issue("searched").await.unwrap();
    wait::until("the key in force", WITHIN, async || calls.get(region, "/demo/v1/echo", &key.secret).await.is_ok_and(|answer| answer.status == 200))
        .await
        .unwrap();
    assert_eq!(calls.get(region, "/demo/v1/items/0x", &key.secret).await.unwrap().status, 422);
    let by_key = format!("key:{}", key.id);

    let found = wait::some("the refusal in the log", WITHIN, async || {
        let page = causeway_at(dev.ready(), &["audit", "query", &by_key, "status:>=400", "--json"]).await.expect(0).json();
        // The last call's record comes last: then those of the calls before it are there, too.
        page["items"].as_array().filter(|items| items.iter().any(|record| record["status"] == 422)).cloned()
    })
    .await
    .unwrap()
    .0;
    let good = causeway_at(dev.ready(), &["audit", "query", &by_key, "status:2xx", "--json"]).await.expect(0).json();
    let table = causeway_at(dev.ready(), &["audit", "query", &by_key, "status:>=400"]).await.expect(0);
    let none = causeway_at(dev.ready(), &["audit", "query", &by_key, "status:500-599"]).await.expect(0);
    let wrong = causeway_at(dev.ready(), &["audit", "query", "status:often"]).await.expect(1);

    assert!(found.iter().all(|record| record["key_id"] == *key.id && record["status"].as_u64().unwrap() >= 400), "{found:?}");
    assert!(good["items"].as_array().unwrap().iter().all(|record| record["status"] == 200), "{good}");
    assert_eq!(table.stdout.lines().count(), 1 + found.len(), "{table:?}");
    assert_eq!(none.stdout.lines().count(), 1, "{none:?}");
    assert!(wrong.stderr.contains("status"), "{wrong:?}");
}
