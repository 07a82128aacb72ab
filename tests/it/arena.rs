//! A deployment for tests about several endpoints: each test has a service of its own, whose endpoints it plays.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;

use harness::client::{self, Version};
use harness::dev::Dev;
use harness::wait;
use serde_json::{Value, json};
use tokio::net::TcpSocket;
use tokio::sync::OnceCell;

use crate::service::{Act, Seen, Service};
use crate::site::{SOON, apply, watchdog};

/// The shared deployment.
#[derive(Debug)]
pub(crate) struct Arena {
    dev: Dev,
    listeners: HashMap<&'static str, Vec<TcpListener>>,
    /// Holds a port that refuses connections.
    refusing: TcpSocket,
    _watchdog: std::process::Child,
}

static ARENA: OnceCell<Arena> = OnceCell::const_new();

/// A service of the arena: its name, how many endpoints it has, and what its upstream and its route say besides.
pub(crate) struct Part {
    name: &'static str,
    endpoints: usize,
    host: &'static str,
    is_refusing: bool,
    upstream: Value,
    route: Value,
}

pub(crate) fn part(name: &'static str, endpoints: usize, upstream: Value, route: Value) -> Part {
    Part { name, endpoints, host: "127.0.0.1", is_refusing: false, upstream, route }
}

/// Outliers that never rest, so that a test sees what it is about.
pub(crate) fn patient() -> Value {
    json!({ "gateway_failures": 0, "server_errors": 0 })
}

fn parts() -> Vec<Part> {
    let plain = || json!({});
    let no_retries = || json!({ "retries": { "max": 0 } });
    let generous = json!({ "percent": 100, "per_second": 100 });
    vec![
        part("turns", 3, json!({ "balance": "round_robin" }), plain()),
        part("byheader", 4, json!({ "balance": { "hash": { "header": "x-user" } } }), plain()),
        part("bycookie", 4, json!({ "balance": { "hash": { "cookie": "sid" } } }), plain()),
        part("byaddress", 4, json!({ "balance": { "hash": "address" } }), plain()),
        part("bypath", 4, json!({ "balance": { "hash": "path" } }), plain()),
        part("outlier", 2, json!({ "outliers": { "server_errors": 5, "rest": "1s", "rest_max": "1s" } }), plain()),
        part(
            "share",
            2,
            // By turns: a choice by latency may give the worse one too few requests for a verdict.
            json!({ "balance": "round_robin", "outliers": { "gateway_failures": 0, "server_errors": 0, "success_percent": 80, "requests": 20, "rest": "5m", "rest_max": "5m" } }),
            plain(),
        ),
        part("lone", 1, json!({ "timeouts": { "connect": "1s", "response": "300ms", "idle": "3s" } }), plain()),
        part("capped", 1, json!({ "in_flight": { "max": 1, "queue": 0 } }), plain()),
        part("queued", 1, json!({ "in_flight": { "max": 1, "queue": 1, "wait": "5s" } }), plain()),
        part("spill", 2, json!({ "in_flight": { "max": 1, "queue": 0 } }), plain()),
        part("byhttp", 2, json!({ "health": { "path": "/well", "interval": "100ms", "healthy": 2, "unhealthy": 2 } }), plain()),
        part("bytcp", 2, json!({ "outliers": patient(), "health": { "check": "tcp", "interval": "100ms", "unhealthy": 2 } }), no_retries()),
        Part { host: "localhost", ..part("named", 1, json!({ "resolve_every": "100ms" }), plain()) },
        Part {
            is_refusing: true,
            ..part("refused", 1, json!({ "balance": "round_robin", "outliers": patient(), "retry_budget": generous }), plain())
        },
        part(
            "safe",
            2,
            json!({ "balance": "round_robin", "outliers": patient(), "retry_budget": generous }),
            json!({ "retries": { "on": ["reset", 503] } }),
        ),
        part(
            "pertry",
            2,
            json!({ "balance": "round_robin", "outliers": patient(), "retry_budget": generous }),
            json!({ "retries": { "on": ["timeout"], "per_try": "300ms" } }),
        ),
        part(
            "total",
            1,
            json!({ "outliers": patient(), "retry_budget": generous }),
            json!({ "timeout": "1s", "retries": { "max": 5, "on": ["timeout"], "per_try": "300ms" } }),
        ),
        part(
            "budget",
            2,
            json!({ "outliers": patient(), "retry_budget": { "percent": 20, "per_second": 0 } }),
            json!({ "retries": { "on": [503], "backoff": "1ms" } }),
        ),
        part("breaker", 1, json!({ "outliers": patient(), "breaker": { "failures": 5, "open": "1s", "trials": 2 } }), plain()),
        part("ratio", 1, json!({ "outliers": patient(), "breaker": { "success_percent": 50, "requests": 20, "open": "5m" } }), plain()),
        part(
            "stable",
            1,
            plain(),
            json!({ "split": [{ "upstream": "next", "percent": 25 }], "canary": [{ "upstream": "next", "header": "x-canary", "value": "yes" }, { "upstream": "third", "header": "x-third" }] }),
        ),
        part("next", 1, plain(), plain()),
        part("noted", 1, plain(), json!({ "canary": [{ "upstream": "taker", "header": "x-canary" }] })),
        part("taker", 1, plain(), plain()),
        Part { host: "nowhere.invalid", ..part("unnamed", 1, json!({ "resolve_every": "1s" }), plain()) },
        part("third", 1, plain(), plain()),
        part("primary", 1, plain(), json!({ "mirror": { "upstream": "shadow" } })),
        part("shadow", 1, plain(), plain()),
        part("steady", 1, plain(), json!({ "mirror": { "upstream": "hung" } })),
        part("hung", 1, json!({ "timeouts": { "connect": "1s", "response": "5m", "idle": "5m" } }), plain()),
    ]
}

/// The deployment; the first caller starts it.
pub(crate) async fn arena() -> &'static Arena {
    ARENA.get_or_init(Arena::start).await
}

impl Arena {
    async fn start() -> Self {
        let dir = tempfile::Builder::new().prefix("causeway-arena-").tempdir().unwrap().keep();
        let dev = Dev::start_in(&dir).await.unwrap();
        let watchdog = watchdog(dev.ready().dev_pid, &dir);
        let refusing = TcpSocket::new_v4().unwrap();
        refusing.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
        let parts: Vec<Part> = parts().into_iter().chain(crate::grpc::parts()).chain(crate::interim::parts()).collect();
        let listeners: HashMap<_, Vec<_>> = parts
            .iter()
            .map(|part| (part.name, (0..part.endpoints).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap()).collect()))
            .collect();
        let arena = Self { dev, listeners, refusing, _watchdog: watchdog };
        arena.apply(&parts, &dir.join("arena.json"));
        // The first route that a client can see; all of them came in one revision.
        let http = arena.http();
        wait::until("the routes", SOON, async || http.get(arena.url("/absent/ready")).send().await.is_ok_and(|answer| answer.status() == 502))
            .await
            .unwrap();
        arena
    }

    fn apply(&self, parts: &[Part], file: &Path) {
        let refusing = format!("http://127.0.0.1:{}", self.refusing.local_addr().unwrap().port());
        let (mut upstreams, mut routes) = (Vec::new(), Vec::new());
        let mut add = |name: &str, targets: Vec<String>, upstream: &Value, route: &Value| {
            let mut value = json!({ "name": name, "regions": { "eu-west": { "targets": targets, "role": "writer" } }, "timeouts": { "connect": "2s", "response": "5s", "idle": "3s" } });
            value.as_object_mut().unwrap().extend(upstream.as_object().unwrap().clone());
            upstreams.push(value);
            let mut value = json!({ "name": name, "match": { "path": format!("/{name}/**") }, "auth": "none", "upstream": name });
            value.as_object_mut().unwrap().extend(route.as_object().unwrap().clone());
            routes.push(value);
        };
        for part in parts {
            let own = self.listeners[part.name].iter().map(|listener| listener.local_addr().unwrap().port());
            let mut targets: Vec<String> = own.map(|port| format!("http://{}:{port}", part.host)).collect();
            targets.extend(part.is_refusing.then(|| refusing.clone()));
            add(part.name, targets, &part.upstream, &part.route);
        }
        add("absent", vec![refusing.clone()], &json!({}), &json!({}));
        let document = json!({
            "version": 1,
            "regions": [{ "name": "eu-west" }, { "name": "us-east" }],
            "tenants": [{ "name": "demo", "hosts": ["127.0.0.1", "localhost"] }],
            "upstreams": upstreams,
            "routes": routes,
        });
        apply(&self.dev, &document, file);
    }

    /// Plays the endpoints of a service; `act` gets the endpoint's number and the request.
    pub(crate) fn play(&self, name: &str, act: impl Fn(usize, &Seen) -> Vec<Act> + Clone + Send + Sync + 'static) -> Vec<Service> {
        (0..self.listeners[name].len()).map(|index| self.play_one(name, index, act.clone())).collect()
    }

    /// Plays one endpoint of a service.
    pub(crate) fn play_one(&self, name: &str, index: usize, act: impl Fn(usize, &Seen) -> Vec<Act> + Send + Sync + 'static) -> Service {
        Service::start(self.listener(name, index), move |seen| act(index, seen))
    }

    /// The socket of an endpoint, for tests that play it otherwise.
    pub(crate) fn listener(&self, name: &str, index: usize) -> tokio::net::TcpListener {
        let listener = self.listeners[name][index].try_clone().unwrap();
        listener.set_nonblocking(true).unwrap();
        tokio::net::TcpListener::from_std(listener).unwrap()
    }

    /// Where clients connect.
    pub(crate) fn address(&self) -> SocketAddr {
        self.dev.writer().unwrap().data_address().unwrap()
    }

    pub(crate) fn ca(&self) -> &Path {
        &self.dev.ready().ca
    }

    /// Makes an endpoint refuse connections, as one whose process has ended does.
    pub(crate) fn close(&self, name: &str, index: usize) {
        rustix::net::shutdown(&self.listeners[name][index], rustix::net::Shutdown::Both).unwrap();
    }

    /// The port of an endpoint.
    pub(crate) fn port(&self, name: &str, index: usize) -> u16 {
        self.listeners[name][index].local_addr().unwrap().port()
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.dev.writer().unwrap().data)
    }

    /// A client with connections of its own; requests one after another share one, and with it a core.
    pub(crate) fn http(&self) -> reqwest::Client {
        client::http(&self.dev.ready().ca, Version::Http1).unwrap()
    }

    /// One request on a connection of its own: its status and its body.
    pub(crate) async fn get(&self, path: &str) -> (u16, String) {
        let answer = self.http().get(self.url(path)).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    /// A number of the node that serves [`Self::url`]; those of an endpoint are there once it was asked for or checked.
    pub(crate) async fn metric(&self, name: &str) -> u64 {
        let url = format!("{}/metrics", self.dev.writer().unwrap().control);
        let http = self.http();
        let read = async || {
            let text = http.get(&url).bearer_auth(&self.dev.ready().operator_token).send().await.unwrap().text().await.unwrap();
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
            Some(line.trim_end_matches(".0").parse().unwrap())
        };
        wait::some(name, SOON, read).await.unwrap().0
    }

    /// The records of one request.
    pub(crate) async fn records(&self, request_id: &str) -> Vec<Value> {
        let url = format!("{}/v1/audit/events?limit=10&request_id={request_id}", self.dev.writer().unwrap().control);
        let http = self.http();
        let read = async || {
            let answer = http.get(&url).bearer_auth(&self.dev.ready().operator_token).send().await.unwrap();
            let answer: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
            answer.get("items").or_else(|| answer.get("events")).and_then(Value::as_array).cloned().filter(|items| !items.is_empty())
        };
        wait::some("the record", SOON, read).await.unwrap().0
    }
}
