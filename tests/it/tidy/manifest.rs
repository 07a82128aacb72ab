//! Rules about manifests and the dependency tree.

use toml::{Table, Value};

/// Crates that must not appear in a crate's `[dependencies]`: the *must not* column, and the floors above.
const FORBIDDEN: [(&str, &[&str]); 5] = [
    ("model", &["tokio", "hyper", "sqlx", "axum", "audit", "edge", "store", "control", "app", "tests"]),
    ("audit", &["sqlx", "hyper", "axum", "edge", "store", "control", "app", "tests"]),
    ("edge", &["store", "control", "sqlx", "axum", "app", "tests"]),
    ("store", &["edge", "control", "hyper", "axum", "app", "tests"]),
    ("control", &["edge", "rustls", "governor", "app", "tests"]),
];

/// Packages that would be a second crypto provider.
const FOREIGN: [&str; 6] = ["ring", "openssl", "openssl-sys", "native-tls", "rsa", "rustls-openssl"];

/// Sentences for the forbidden imports of one manifest. Development dependencies do not ship, so they are free.
pub(super) fn broken_floors(path: &str, text: &str) -> Vec<String> {
    let manifest: Table = text.parse().unwrap_or_else(|error| panic!("{path}: {error}"));
    let name = string(manifest.get("package").and_then(|package| package.get("name")));
    let Some((_, forbidden)) = FORBIDDEN.iter().find(|(krate, _)| *krate == name) else {
        // A new crate has no floor yet: it must be given one here, unless it is the top.
        return if name == "app" { Vec::new() } else { vec![format!("{name} has no floor: name it in ARCHITECTURE.md and in {}", file!())] };
    };
    let mut broken = Vec::new();
    for table in dependency_tables(&manifest) {
        for (alias, spec) in table {
            let renamed = string(spec.get("package"));
            let package = if renamed.is_empty() { alias } else { &renamed };
            if forbidden.contains(&package.as_str()) {
                broken.push(format!("{name} gained a dependency on {package}: see docs/adr/0001"));
            }
        }
    }
    broken
}

/// Sentences for a manifest that opts out of the shared lints or runs documentation tests.
pub(super) fn broken_lints(path: &str, text: &str) -> Vec<String> {
    let manifest: Table = text.parse().unwrap_or_else(|error| panic!("{path}: {error}"));
    let flag = |table: &str, key: &str| manifest.get(table).and_then(|table| table.get(key)).and_then(Value::as_bool);
    let mut broken = Vec::new();
    if flag("lints", "workspace") != Some(true) {
        broken.push(format!("{path} does not take the workspace's lints: add `[lints] workspace = true`"));
    }
    if manifest.contains_key("lib") && flag("lib", "doctest") != Some(false) {
        broken.push(format!("{path} runs documentation tests in an internal crate: add `doctest = false`"));
    }
    broken
}

/// Sentences for the packages in `cargo tree --format {p}` that are foreign crypto.
pub(super) fn foreign_crypto(tree: &str) -> Vec<String> {
    let mut found: Vec<&str> = tree.lines().filter_map(|line| line.split_whitespace().next()).filter(|package| FOREIGN.contains(package)).collect();
    found.sort_unstable();
    found.dedup();
    let sentence =
        |package: &&str| format!("{package} is compiled for Linux: find who asks with `cargo tree --invert {package} --edges normal,build`");
    found.iter().map(sentence).collect()
}

/// `[dependencies]` and `[build-dependencies]`, also those of a target.
fn dependency_tables(manifest: &Table) -> Vec<&Table> {
    let mut tables = Vec::new();
    let mut places = vec![manifest];
    if let Some(targets) = manifest.get("target").and_then(Value::as_table) {
        places.extend(targets.values().filter_map(Value::as_table));
    }
    for place in places {
        for kind in ["dependencies", "build-dependencies"] {
            tables.extend(place.get(kind).and_then(Value::as_table));
        }
    }
    tables
}

fn string(value: Option<&Value>) -> String {
    value.and_then(Value::as_str).unwrap_or_default().to_owned()
}

#[test]
fn planted_floor_breaks_are_told_in_a_sentence() {
    let manifest = |name: &str, rest: &str| format!("[package]\nname = \"{name}\"\n{rest}");
    let cases = [
        ("edge", "[dependencies]\nsqlx = \"1\"", Some("edge gained a dependency on sqlx: see docs/adr/0001")),
        ("edge", "[dependencies]\nhyper = \"1\"", None),
        ("edge", "[dev-dependencies]\nsqlx = \"1\"", None),
        (
            "store",
            "[target.'cfg(unix)'.dependencies]\nweb = { package = \"hyper\", version = \"1\" }",
            Some("store gained a dependency on hyper: see docs/adr/0001"),
        ),
        ("model", "[build-dependencies]\ntokio = \"1\"", Some("model gained a dependency on tokio: see docs/adr/0001")),
        ("control", "[dependencies.edge]\npath = \"x\"", Some("control gained a dependency on edge: see docs/adr/0001")),
        ("app", "[dependencies]\nsqlx = \"1\"", None),
    ];

    for (name, rest, expected) in cases {
        let broken = broken_floors("Cargo.toml", &manifest(name, rest));
        assert_eq!(broken, expected.map(str::to_owned).into_iter().collect::<Vec<_>>(), "{name} {rest}");
    }
    assert!(broken_floors("Cargo.toml", &manifest("cellar", ""))[0].starts_with("cellar has no floor"));
}

#[test]
fn planted_lint_opt_out_is_told() {
    let kept = "[lib]\ndoctest = false\n[lints]\nworkspace = true\n";

    assert_eq!(broken_lints("a/Cargo.toml", kept), [""; 0]);
    assert_eq!(broken_lints("a/Cargo.toml", "[lib]\n").len(), 2);
}

#[test]
fn planted_foreign_crypto_is_told_and_names_that_only_contain_it_are_not() {
    let tree = "aws-lc-rs v1.19.0\nring v0.17.8 (*)\nstring v1\nring v0.17.8\n\nrsa v0.9.6\n";

    let broken = foreign_crypto(tree);

    assert_eq!(broken.len(), 2);
    assert!(broken[0].starts_with("ring is compiled for Linux"), "{broken:?}");
}
