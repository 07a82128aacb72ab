//! Keys that another system has issued: taken over by their hashes, used as they are, and ended like any other.

use std::net::Ipv4Addr;
use std::path::Path;

use harness::client::Version;
use harness::wait;
use serde_json::{Value, json};

use crate::operation::{Running, START_WITHIN, Station};
use crate::program::causeway_at;
use crate::service::{Service, ok};
use crate::site::{SOON, apply, upstream};

const TEXT: &str = "kong-9Xv4c2nQ8mW1";

fn hash(text: &str) -> String {
    data_encoding::HEXLOWER.encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes()).as_ref())
}

/// A node whose routes take keys of other systems.
pub(crate) struct Place {
    pub(crate) station: Station,
    node: Option<Running>,
    _service: Service,
}

impl Place {
    pub(crate) async fn start() -> Self {
        let station = Station::start(|text| format!("{text}limits: {{ failures_per_prefix: 100000 }}\n")).await;
        let node = station.serve().await;
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let service = Service::start(listener, |_| ok("served"));
        let route = |name: &str, more: Value| {
            let mut route = json!({ "name": name, "match": { "path": format!("/{name}/**") }, "upstream": "echo" });
            route.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            route
        };
        let document = json!({
            "version": 1,
            "regions": [{ "name": "eu-west" }, { "name": "us-east" }],
            "tenants": [{ "name": "demo", "hosts": ["127.0.0.1"] }],
            "consumers": [{ "name": "demo", "tenant": "demo" }],
            "applications": [{ "name": "default", "consumer": "demo", "scopes": ["read", "own"] }],
            "certificate_authorities": [{ "name": "partners", "clients": [{ "application": "default", "thumbprint": "ab".repeat(32) }] }],
            "upstreams": [upstream("echo", port)],
            "routes": [
                route("taken", json!({ "imported_keys": "accept" })),
                route("plain", json!({})),
                route("either", json!({ "imported_keys": "accept", "auth": { "any_of": ["api_key", "mtls"] } })),
                route("own", json!({ "imported_keys": "accept", "scopes": ["own"] })),
            ],
        });
        apply(&station.dev, &document, &station.folder().join("imported.json"));
        let place = Self { station, node: Some(node), _service: service };
        wait::until("the routes", SOON, async || place.status("/taken/x", ("x-api-key", "x")).await == 401).await.unwrap();
        place
    }

    /// Stops the node, and starts it again.
    pub(crate) async fn restart(&mut self) {
        let mut before = self.node.take().unwrap();
        before.process.signal(rustix::process::Signal::TERM);
        before.ended(START_WITHIN).await;
        self.node = Some(self.station.serve().await);
    }

    pub(crate) async fn status(&self, path: &str, (name, value): (&str, &str)) -> u16 {
        let request = self.station.http(Version::Http1).get(format!("{}{path}", self.station.region.data)).header(name, value);
        request.send().await.unwrap().status().as_u16()
    }

    pub(crate) async fn becomes(&self, path: &str, key: &str, expected: u16) {
        wait::until("the change", SOON, async || self.status(path, ("x-api-key", key)).await == expected).await.unwrap();
    }

    pub(crate) async fn run(&self, arguments: &[&str], code: i32) -> crate::program::Ran {
        causeway_at(self.station.dev.ready(), arguments).await.expect(code)
    }

    pub(crate) async fn import(&self, file: &Path, more: &[&str], code: i32) -> Value {
        let file = file.to_str().unwrap();
        let arguments = [&["keys", "import", file, "--application", "default", "--from", "kong", "--json"], more].concat();
        self.run(&arguments, code).await.json()
    }
}

fn file(place: &Place) -> std::path::PathBuf {
    let rows = [
        "id,name,hash,algorithm,scopes,expires_at,rate_limit,tags".to_owned(),
        format!("k-1,\"shop, web\",{},sha256,read admin,2099-01-01T00:00:00Z,5/s,x", hash(TEXT)),
        "k-2,,$argon2id$v=19$abc,argon2id,,,,".to_owned(),
        format!("k-3,,{},,,2020-01-01T00:00:00Z,,", hash("other")),
        format!("k-4,,{},,,,,", hash(TEXT)),
    ];
    let file = place.station.folder().join("keys.csv");
    std::fs::write(&file, rows.join("\n")).unwrap();
    file
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_another_system_works_where_such_are_taken_until_it_is_rolled_or_revoked() {
    let place = Place::start().await;
    let file = file(&place);

    let dry = place.import(&file, &["--dry-run"], 1).await;
    assert_eq!((&dry["imported"], &dry["refused"], &dry["items"][0]["id"]), (&json!(1), &json!(3), &Value::Null), "{dry}");
    let report = place.import(&file, &[], 1).await;
    let item = |n: usize| {
        let codes: Vec<_> = report["items"][n]["losses"].as_array().unwrap().iter().map(|loss| loss["code"].as_str().unwrap()).collect();
        (report["items"][n]["outcome"].as_str().unwrap(), codes)
    };
    assert_eq!(item(0), ("imported", vec!["expiry-shortened", "scopes-unknown", "rate-limit"]));
    assert_eq!(
        [item(1), item(2), item(3)].map(|(outcome, losses)| (outcome, losses[0])),
        [("refused", "algorithm-unknown"), ("refused", "expired"), ("refused", "duplicate"),]
    );
    assert_eq!(report["ignored"], json!(["tags"]));
    let id = report["items"][0]["id"].as_str().unwrap().to_owned();

    used(&place, &id).await;
    let again = place.import(&file, &[], 1).await;
    assert_eq!((&again["before"], &again["items"][0]["id"]), (&json!(1), &json!(id)), "{again}");
    ended(&place, &file, &id).await;
    place.station.stop().await;
}

async fn used(place: &Place, id: &str) {
    place.becomes("/taken/x", TEXT, 200).await;
    let bearer = format!("Bearer {TEXT}");
    for (path, field, expected) in [
        ("/taken/x", ("authorization", bearer.as_str()), 200),
        ("/taken/x", ("x-api-key", "kong-9Xv4c2nQ8mW2"), 401),
        ("/taken/x", ("x-api-key", ""), 401),
        ("/taken/x", ("x-api-key", &hash(TEXT)), 401),
        ("/taken/x", ("authorization", "Bearer eyJhbGciOiJub25lIn0.e30.c2ln"), 401),
        ("/plain/x", ("x-api-key", TEXT), 401),
        ("/plain/x", ("authorization", bearer.as_str()), 401),
        ("/either/x", ("x-api-key", TEXT), 200),
        ("/either/x", ("authorization", bearer.as_str()), 401),
        ("/own/x", ("x-api-key", TEXT), 403),
    ] {
        assert_eq!(place.status(path, field).await, expected, "{path} {}", field.0);
    }
    let listed = place.run(&["keys", "list", "--application", "default"], 0).await;
    assert!(listed.stdout.contains("kong k-1") && !listed.stdout.contains(TEXT), "{listed:?}");
    let sql = place.station.sql();
    let question = format!("select count(*) from audit_event where convert_from(event, 'UTF8')::jsonb ->> 'key_id' = '{id}' and phase = 'outcome'");
    let recorded = async || sql.ask("causeway", &question).await.ok().filter(|rows| rows[0].parse::<u64>().is_ok_and(|n| n >= 3));
    wait::some("records with the key's id", SOON, recorded).await.unwrap();
}

async fn ended(place: &Place, file: &Path, id: &str) {
    place.run(&["keys", "disable", id], 0).await;
    place.becomes("/taken/x", TEXT, 401).await;
    place.run(&["keys", "enable", id], 0).await;
    place.becomes("/taken/x", TEXT, 200).await;
    place.run(&["keys", "change", id, "--method", "PUT"], 0).await;
    place.becomes("/taken/x", TEXT, 403).await;
    place.run(&["keys", "change", id, "--reset", "methods"], 0).await;

    let new = place.run(&["keys", "roll", id, "--overlap", "1h"], 0).await.stdout.trim().to_owned();
    place.becomes("/plain/x", &new, 200).await;
    place.becomes("/taken/x", TEXT, 200).await;
    place.run(&["keys", "end-overlap", id], 0).await;
    place.becomes("/taken/x", TEXT, 401).await;
    place.becomes("/taken/x", &new, 200).await;
    place.run(&["keys", "revoke", id], 0).await;
    place.becomes("/taken/x", &new, 401).await;
    let again = place.import(file, &[], 1).await;
    assert_eq!((&again["imported"], &again["before"]), (&json!(0), &json!(1)), "{again}");
    let shown = place.run(&["keys", "show", id, "--json"], 0).await.json();
    let imported = json!({ "from": "kong", "source_id": "k-1", "awaits_first_use": false });
    assert_eq!((&shown["state"], &shown["imported"]), (&json!("revoked"), &imported), "{shown}");
}
