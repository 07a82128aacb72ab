use std::{fs, path::Path};

use super::{check, dotted, gateway};

const GATEWAY: &str = "\
version: 1
regions:
- name: eu-west
tenants:
- name: main
  hosts: [localhost]
apis:
- name: items
  openapi: items.yaml
upstreams:
- name: items
  regions:
    eu-west: { targets: [\"http://127.0.0.1:9000\"], role: writer }
routes:
- name: items
  match: { host: localhost, path: /items/** }
  api: items
  upstream: items
";

const OPENAPI: &str = "\
openapi: 3.1.0
info: { title: Items, version: '1' }
paths:
  /items:
    get:
      operationId: listItems
      responses: { '200': { description: The items } }
";

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(dir.path().join(name), text).unwrap();
    }
    dir
}

#[test]
fn a_gateway_file_is_read_together_with_the_openapi_files_beside_it() {
    let dir = folder(&[("gateway.yaml", GATEWAY), ("items.yaml", OPENAPI)]);

    let loaded = gateway(&dir.path().join("gateway.yaml")).unwrap();

    assert!(loaded.document.apis[0].openapi.is_object());
    assert_eq!(loaded.document.apis[0].openapi["info"]["title"], "Items");
}

#[test]
fn every_mistake_is_found_with_its_line_and_none_is_told_twice() {
    let text = GATEWAY.replace("upstream: items", "upstream: itmes").replace("name: eu-west", "name: eu-wset").replace("items.yaml", "gone.yaml");
    let dir = folder(&[("gateway.yaml", &text)]);

    let found = gateway(&dir.path().join("gateway.yaml")).unwrap_err();

    let mut seen: Vec<_> = found.iter().map(|mistake| (mistake.line, mistake.path.as_str(), mistake.help.as_deref())).collect();
    seen.sort_unstable();
    assert_eq!(
        seen,
        [
            (9, "apis[0].openapi", None),
            (13, "upstreams[0].regions.eu-west", Some("did you mean `eu-wset`?")),
            (18, "routes[0].upstream", Some("did you mean `items`?")),
        ],
        "{found:#?}"
    );
}

#[test]
fn a_mistake_in_an_openapi_file_is_shown_in_that_file() {
    let broken = OPENAPI.replace("openapi: 3.1.0", "openapi: 2.0.0");
    let dir = folder(&[("gateway.yaml", GATEWAY), ("items.yaml", &broken)]);

    let found = gateway(&dir.path().join("gateway.yaml")).unwrap_err();

    assert!(!found.is_empty());
    assert!(found.iter().all(|mistake| mistake.file.ends_with("items.yaml")), "{found:#?}");
    assert_eq!(found[0].line, 1, "{found:#?}");
}

#[test]
fn an_unknown_key_is_told_with_its_place_and_what_was_meant() {
    let dir = folder(&[("gateway.yaml", &GATEWAY.replace("  upstream: items", "  upstraem: items"))]);

    let found = gateway(&dir.path().join("gateway.yaml")).unwrap_err();

    assert_eq!((found[0].line, found[0].column), (18, 3));
    assert_eq!(found[0].help.as_deref(), Some("did you mean `upstream`?"));
}

#[test]
fn a_node_file_is_told_from_a_gateway_file_and_checked_as_one() {
    let dir = folder(&[("node.yaml", "version: 1\nnode: n1\nregion: eu-west\ncolour: blue\n")]);

    let found = check(&dir.path().join("node.yaml"));

    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(found[0].message.contains("colour"), "{found:#?}");
    assert_eq!(found[0].line, 4);
}

#[test]
fn a_file_that_is_not_there_or_not_a_text_is_a_mistake_and_no_panic() {
    let dir = folder(&[]);
    fs::write(dir.path().join("binary"), [0xff, 0xfe, 0]).unwrap();

    for name in ["gone.yaml", "binary", "."] {
        let found = check(&dir.path().join(name));
        assert_eq!(found.len(), 1, "{name}");
        assert_eq!(found[0].line, 0, "{name}");
    }
    assert!(!check(Path::new("/dev/null")).is_empty());
}

#[test]
fn pointers_become_paths() {
    assert_eq!(dotted("/paths/~1items~1{id}/get/parameters/0"), "paths./items/{id}.get.parameters[0]");
    assert_eq!(dotted(""), "");
}
