//! One deployment that many tests share: two regions, and a route to each service that a test plays itself.
//!
//! Each test owns the services that it names, so that tests do not meet. The deployment ends with this process, however
//! that ends: a watchdog holds the other end of a pipe.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use harness::client::{self, Version};
use harness::dev::{self, Dev, RegionReady};
use harness::wait;
use serde_json::{Value, json};
use tokio::net::TcpSocket;
use tokio::sync::OnceCell;

use crate::service::{Act, Seen, Service};

/// How long anything in these tests may take that has no deadline of its own.
pub(crate) const SOON: Duration = Duration::from_secs(10);

/// Services without authentication: `/NAME/**` leads to the service that the test of that name plays.
const OPEN: [&str; 49] = [
    "h2length",
    "ambiguous",
    "turning",
    "malformed",
    "lawful",
    "inner",
    "pipeline",
    "reuse",
    "trailers",
    "fields",
    "upgrade",
    "expect",
    "h2fields",
    "head",
    "cookies",
    "mutants",
    "paths",
    "hosts",
    "methods",
    "download",
    "upload",
    "slowread",
    "backpressure",
    "early",
    "bad",
    "cut",
    "more",
    "interim",
    "bodiless",
    "hung",
    "stale",
    "stalepost",
    "uncounted",
    "huge",
    "abort",
    "parallel",
    "poison",
    "cap",
    "linger",
    "floods",
    "respond",
    "restart",
    "longupload",
    "reread",
    "hasty",
    "unhurried",
    "calm",
    "targets",
    "curl",
];
/// Services behind a key.
const KEYED: [&str; 18] = [
    "again",
    "events",
    "begun",
    "lent",
    "lentscoped",
    "tried",
    "leaked",
    "keyed",
    "scoped",
    "private",
    "limits",
    "rolled",
    "ontime",
    "paused",
    "bound",
    "unbound",
    "terminal",
    "counted",
];
/// Services behind an API description.
const CHECKED: [&str; 3] = ["checked", "trickle", "held"];

/// Services that are spoken to in other ways: name, scheme, protocol, name in the certificate.
const SPOKEN: [(&str, &str, &str, &str); 8] = [
    ("calls", "http", "http2", ""),
    ("h2c", "http", "http2", ""),
    ("tlsauto", "https", "auto", ""),
    ("tlsone", "https", "http1", ""),
    ("tlsname", "https", "auto", "elsewhere.example"),
    ("tlsforeign", "https", "auto", "foreign root"),
    ("h2cancel", "http", "http2", ""),
    ("wstls", "https", "auto", ""),
];

/// The shared deployment.
#[derive(Debug)]
pub(crate) struct Site {
    dev: Dev,
    listeners: HashMap<&'static str, TcpListener>,
    /// Holds a port that refuses connections.
    _refusing: TcpSocket,
    _watchdog: Child,
}

static SITE: OnceCell<Site> = OnceCell::const_new();

/// Held by tests that measure the node's memory, so that they do not measure each other.
pub(crate) static MEMORY: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// The deployment; the first caller starts it.
pub(crate) async fn site() -> &'static Site {
    SITE.get_or_init(Site::start).await
}

impl Site {
    async fn start() -> Self {
        let dir = tempfile::Builder::new().prefix("causeway-site-").tempdir().unwrap().keep();
        let dev = Dev::start_in(&dir).await.unwrap();
        let watchdog = watchdog(dev.ready().dev_pid, &dir);
        let names = OPEN
            .iter()
            .chain(&KEYED)
            .chain(&CHECKED)
            .chain(&crate::filters::SERVICES)
            .chain(&crate::caching::SERVICES)
            .chain(&crate::purging::SERVICES)
            .chain(&crate::websockets::SERVICES);
        let names = names.chain(SPOKEN.iter().map(|(name, ..)| name));
        let listeners: HashMap<&str, TcpListener> = names.map(|name| (*name, TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap())).collect();
        let refusing = TcpSocket::new_v4().unwrap();
        refusing.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
        let ports = listeners.iter().map(|(name, listener)| (*name, listener.local_addr().unwrap().port()));
        let ca = std::fs::read_to_string(&dev.ready().ca).unwrap();
        let document = document(&ports.chain([("refusing", refusing.local_addr().unwrap().port())]).collect(), &ca);
        apply(&dev, &document, &dir.join("site.json"));
        let site = Self { dev, listeners, _refusing: refusing, _watchdog: watchdog };
        for region in &site.dev.ready().regions {
            let http = client::http(&site.dev.ready().ca, Version::Http1).unwrap();
            let url = format!("{}/refusing/ready", region.data);
            wait::until("the routes", SOON, async || http.get(&url).send().await.is_ok_and(|answer| answer.status() == 502)).await.unwrap();
        }
        site
    }

    /// The region that most tests talk to: the writer's.
    pub(crate) fn region(&self) -> &RegionReady {
        self.dev.writer().unwrap()
    }

    /// Every region.
    pub(crate) fn regions(&self) -> &[RegionReady] {
        &self.ready().regions
    }

    /// What the deployment said about itself once it was up.
    pub(crate) fn ready(&self) -> &dev::Ready {
        self.dev.ready()
    }

    /// The revision of the authority lane that a region's node has in force.
    pub(crate) async fn authority(&self, region: &RegionReady) -> u64 {
        let answer = self.http(Version::Http1).get(format!("{}/status", region.control)).bearer_auth(self.operator_token()).send().await;
        let status: Value = serde_json::from_slice(&answer.unwrap().bytes().await.unwrap()).unwrap();
        status["node"]["authority_revision"].as_u64().unwrap_or_else(|| panic!("{status}"))
    }

    /// A region's metrics.
    pub(crate) async fn metrics(&self, region: &RegionReady) -> String {
        self.http(Version::Http1).get(format!("{}/metrics", region.control)).send().await.unwrap().text().await.unwrap()
    }

    /// The data listener.
    pub(crate) fn address(&self) -> SocketAddr {
        self.region().data_address().unwrap()
    }

    /// The certificate and key of the gateway, which serve for services on this machine, too.
    pub(crate) fn certificate(&self) -> (PathBuf, PathBuf) {
        let folder = self.ca().parent().unwrap();
        (folder.join("server.pem"), folder.join("server.key"))
    }

    pub(crate) fn ca(&self) -> &PathBuf {
        &self.dev.ready().ca
    }

    /// The key that the deployment came with.
    pub(crate) fn dev_key(&self) -> &str {
        &self.dev.ready().api_key
    }

    pub(crate) fn operator_token(&self) -> &str {
        &self.dev.ready().operator_token
    }

    /// `https://127.0.0.1:PORT` and a path.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.region().data)
    }

    pub(crate) fn http(&self, version: Version) -> reqwest::Client {
        client::http(self.ca(), version).unwrap()
    }

    /// Plays a service: what it does with each request is the test's.
    pub(crate) fn service(&self, name: &str, act: impl Fn(&Seen) -> Vec<Act> + Send + Sync + 'static) -> Service {
        Service::start(self.listener(name), act)
    }

    /// A service's socket, for tests that play it byte by byte.
    pub(crate) fn listener(&self, name: &str) -> tokio::net::TcpListener {
        let listener = self.listeners.get(name).unwrap_or_else(|| panic!("no service {name}")).try_clone().unwrap();
        listener.set_nonblocking(true).unwrap();
        tokio::net::TcpListener::from_std(listener).unwrap()
    }

    /// Resident memory of the node, in bytes.
    pub(crate) fn memory(&self) -> u64 {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.region().node_pid)).unwrap();
        let line = text.lines().find(|line| line.starts_with("VmRSS")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
    }

    /// Issues a key and waits until the data plane takes it.
    pub(crate) async fn key(&self, request: Value) -> Key {
        let answer = self.control(reqwest::Method::POST, "/v1/keys", Some(request)).await;
        let text = |member: &str| answer.get(member).and_then(Value::as_str).unwrap_or_else(|| panic!("no {member}: {answer}")).to_owned();
        let key = Key { id: text("id"), secret: text("secret") };
        let http = self.http(Version::Http1);
        let host = if text("tenant").contains("foreign") { "foreign.example" } else { "127.0.0.1" };
        wait::until("the key", SOON, async || {
            let probe = http.get(self.url("/any/probe")).header("host", host).header("x-api-key", &key.secret).send().await;
            probe.is_ok_and(|answer| answer.status() == 502)
        })
        .await
        .unwrap();
        key
    }

    /// Asks the control listener, as the operator.
    pub(crate) async fn control(&self, method: reqwest::Method, path: &str, body: Option<Value>) -> Value {
        let request = self.http(Version::Http1).request(method, format!("{}{path}", self.region().control)).bearer_auth(self.operator_token());
        let request = match body {
            Some(body) => request.header("content-type", "application/json").body(body.to_string()),
            None => request,
        };
        serde_json::from_slice(&request.send().await.unwrap().bytes().await.unwrap()).unwrap()
    }

    /// The records of one request, once there are `n`; then none may follow for as long as the loader is slow at most.
    pub(crate) async fn records(&self, query: &str, n: usize) -> Vec<Value> {
        let path = format!("/v1/audit/events?limit=100&{query}");
        let read = async || {
            let answer = self.control(reqwest::Method::GET, &path, None).await;
            let items = answer.get("items").or_else(|| answer.get("events")).and_then(Value::as_array);
            items.unwrap_or_else(|| panic!("no list: {answer}")).clone()
        };
        let what = format!("{n} records of {query}");
        wait::some(&what, SOON, async || Some(read().await).filter(|items| items.len() >= n)).await.unwrap().0
    }
}

/// A key that works.
#[derive(Debug, Clone)]
pub(crate) struct Key {
    pub(crate) id: String,
    pub(crate) secret: String,
}

/// Ends the deployment and removes its folder when this process is gone.
pub(crate) fn watchdog(dev_pid: u32, dir: &std::path::Path) -> Child {
    let script = r#"read -r _; kill -INT "$0" 2>/dev/null; n=0; while kill -0 "$0" 2>/dev/null && [ $n -lt 300 ]; do n=$((n+1)); sleep 0.1; done; kill -KILL "$0" 2>/dev/null; rm -rf "$1""#;
    let mut command = Command::new("sh");
    command.args(["-c", script, &dev_pid.to_string()]).arg(dir);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// Applies a gateway document to a deployment.
pub(crate) fn apply(dev: &Dev, document: &Value, file: &std::path::Path) {
    apply_text(dev, &document.to_string(), file);
}

/// The same as it is written.
pub(crate) fn apply_text(dev: &Dev, text: &str, file: &std::path::Path) {
    std::fs::write(file, text).unwrap();
    let ready = dev.ready();
    let done = Command::new(dev::binary().unwrap())
        .args(["apply", "-f"])
        .arg(file)
        .env("CAUSEWAY_CONTROL", &dev.writer().unwrap().control)
        .env("CAUSEWAY_TOKEN", &ready.operator_token)
        .env("CAUSEWAY_CA", &ready.ca)
        .output()
        .unwrap();
    assert!(done.status.success(), "{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
}

/// The upstream of a service that runs in the writer's region alone.
pub(crate) fn upstream(name: &str, port: u16) -> Value {
    json!({
        "name": name,
        "regions": { "eu-west": { "targets": [format!("http://127.0.0.1:{port}")], "role": "writer" } },
        // Tests that play `again` do something before it answers.
        "timeouts": { "connect": "2s", "response": if name == "again" { "20s" } else { "2s" }, "idle": "3s" },
    })
}

/// The upstream of a service that is spoken to in another way.
fn spoken(name: &str, port: u16, ca: &str) -> Option<Value> {
    let (_, scheme, protocol, server_name) = SPOKEN.iter().find(|spoken| spoken.0 == name)?;
    let mut upstream = upstream(name, port);
    upstream["regions"]["eu-west"]["targets"] = json!([format!("{scheme}://127.0.0.1:{port}")]);
    upstream["protocol"] = json!(protocol);
    if *scheme == "https" {
        // Without `ca` the system's roots count, and the development CA is none of them.
        upstream["tls"] = match *server_name {
            "foreign root" => json!({}),
            "" => json!({ "ca": ca }),
            other => json!({ "ca": ca, "server_name": other }),
        };
    }
    Some(upstream)
}

fn document(ports: &HashMap<&str, u16>, ca: &str) -> Value {
    let open = OPEN.iter().chain(&["refusing"]).chain(SPOKEN.iter().map(|(name, ..)| name)).map(|name| {
        json!({ "name": name, "match": { "host": ["127.0.0.1", "localhost"], "path": format!("/{name}/**") }, "auth": "none", "upstream": name, "body_max": "1GiB", "timeout": "60s" })
    });
    let upstreams: Vec<Value> = ports.iter().map(|(name, port)| spoken(name, *port, ca).unwrap_or_else(|| upstream(name, *port))).collect();
    json!({
        "version": 1,
        "regions": [{ "name": "eu-west" }, { "name": "us-east" }],
        "tenants": [{ "name": "demo", "hosts": ["127.0.0.1", "localhost"] }, { "name": "foreign", "hosts": ["foreign.example"] }],
        "plans": [{ "name": "free", "limits": { "burst": { "rate": "200/s", "burst": 400 } } }],
        "consumers": [{ "name": "demo", "tenant": "demo" }, { "name": "stranger", "tenant": "foreign" }, { "name": "second", "tenant": "demo" }],
        "applications": [
            { "name": "default", "consumer": "demo", "plan": "free", "scopes": ["items:read"] },
            { "name": "sibling", "consumer": "demo", "plan": "free", "scopes": [] },
            { "name": "abroad", "consumer": "stranger", "plan": "free", "scopes": ["items:read"] },
            { "name": "other", "consumer": "second", "plan": "free", "scopes": [] },
        ],
        "apis": [{ "name": "things", "openapi": api() }],
        "upstreams": upstreams,
        "routes": open.chain(special()).chain(crate::filters::routes()).chain(crate::caching::routes()).chain(crate::purging::routes()).chain(crate::websockets::routes()).collect::<Vec<_>>(),
    })
}

fn special() -> Vec<Value> {
    let route = |name: &str, host: &str, path: &str, upstream: &str, more: Value| {
        let mut route = json!({ "name": name, "match": { "host": host, "path": path }, "upstream": upstream });
        route.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        route
    };
    let here = "127.0.0.1";
    let limit = |name: &str, rate: &str, by: &str| json!({ "name": name, "rate": rate, "by": by });
    vec![
        route("any", here, "/any/**", "refusing", json!({})),
        route("any-foreign", "foreign.example", "/any/**", "refusing", json!({})),
        route("tried", here, "/tried/**", "tried", json!({})),
        json!({ "name": "token", "match": { "host": here, "path": "/oauth/token", "methods": ["POST"] }, "token_endpoint": {}, "limits": [limit("tokens", "60/m", "key")] }),
        json!({ "name": "token-brief", "match": { "host": here, "path": "/oauth/brief", "methods": ["POST"] }, "token_endpoint": { "lifetime": "30s" }, "allow": { "consumers": ["second"] } }),
        route("lent", here, "/lent/**", "lent", json!({})),
        route("lent-scoped", here, "/lentscoped/**", "lentscoped", json!({ "scopes": ["items:read"] })),
        route("held", here, "/held/**", "held", json!({ "api": "things" })),
        route("again", here, "/again/**", "again", json!({ "retries": { "on": [503] } })),
        route("begun", here, "/begun/**", "begun", json!({})),
        route("events", here, "/events/**", "events", json!({})),
        route("callers", here, "/callers/**", "calls", json!({})),
        route("keyed", here, "/keyed/**", "keyed", json!({})),
        route("keyed-foreign", "foreign.example", "/keyed/**", "keyed", json!({})),
        route("rolled", here, "/rolled/**", "rolled", json!({})),
        route("ontime", here, "/ontime/**", "ontime", json!({})),
        route("paused", here, "/paused/**", "paused", json!({})),
        route("bound", here, "/bound/**", "bound", json!({})),
        route("unbound", here, "/unbound/**", "unbound", json!({})),
        route("leaked", here, "/leaked/**", "leaked", json!({})),
        route("counted", here, "/counted/**", "counted", json!({})),
        route("terminal", here, "/terminal/**", "terminal", json!({})),
        route("scoped", here, "/scoped/**", "scoped", json!({ "scopes": ["items:read"] })),
        route("private", here, "/private/**", "private", json!({ "allow": { "consumers": ["second"] } })),
        route("own", here, "/paths/@me", "paths", json!({ "scopes": ["items:admin"] })),
        route("checked", here, "/checked/**", "checked", json!({ "auth": "none", "api": "things", "body_max": "64KiB" })),
        route("trickle", here, "/trickle/**", "trickle", json!({ "auth": "none", "api": "things", "body_max": "64KiB", "timeout": "2s" })),
        route("cap-small", here, "/cap/small/**", "cap", json!({ "auth": "none", "body_max": "64KiB" })),
        route("linger-small", here, "/linger/small/**", "linger", json!({ "auth": "none", "body_max": "64KiB" })),
        route("limit-burst", here, "/limits/burst", "limits", json!({ "limits": [{ "name": "exact", "rate": "20/h", "by": "key" }] })),
        route("limit-second", here, "/limits/second", "limits", json!({ "limits": [{ "name": "brief", "rate": "2/2s", "by": "key" }] })),
        route("limit-address", here, "/limits/address", "limits", json!({ "auth": "none", "limits": [limit("address", "3/h", "address")] })),
        route("limit-key", here, "/limits/key", "limits", json!({ "limits": [limit("key", "3/h", "key")] })),
        route("limit-application", here, "/limits/application", "limits", json!({ "limits": [limit("application", "3/h", "application")] })),
        route("limit-consumer", here, "/limits/consumer", "limits", json!({ "limits": [limit("consumer", "3/h", "consumer")] })),
        route("limit-two", here, "/limits/two", "limits", json!({ "limits": [limit("wide", "5/h", "consumer"), limit("narrow", "2/h", "key")] })),
    ]
}

fn api() -> Value {
    let body = json!({ "required": true, "content": { "application/json": { "schema": {
        "type": "object", "additionalProperties": false, "required": ["name", "quantity"],
        "properties": { "name": { "type": "string", "minLength": 1, "maxLength": 80 }, "quantity": { "type": "integer", "minimum": 0 }, "any": {} },
    } } } });
    let post = |id: &str| json!({ "post": { "operationId": id, "requestBody": body, "responses": { "200": { "description": "fine" } } } });
    json!({
        "openapi": "3.1.0",
        "info": { "title": "things", "version": "1" },
        "paths": {
            "/checked/things": post("makeThing"),
            "/trickle/things": post("makeThingSlowly"),
            "/held/things": post("makeThingWithKey"),
            "/checked/things/{id}": { "get": {
                "operationId": "getThing",
                "parameters": [{ "name": "id", "in": "path", "required": true, "schema": { "type": "integer", "minimum": 1 } }],
                "responses": { "200": { "description": "fine" } },
            } },
        },
    })
}

/// A source address of this machine that no other test uses: the gate counts failures by /24.
pub(crate) fn source(net: u8) -> IpAddr {
    IpAddr::from([127, 99, net, 1])
}
