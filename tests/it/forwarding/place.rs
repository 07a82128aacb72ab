//! Two regions, of which one alone can reach some services.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use harness::client::{self, Version};
use harness::dev::{Dev, RegionReady};
use harness::node::{Node, Under};
use harness::sql::Sql;
use harness::upstream::{Behavior, Recorder, Seen};
use harness::wait;
use rcgen::ExtendedKeyUsagePurpose;
use reqwest::{Client, Response, StatusCode};
use serde_json::{Value, json};

use crate::calls::Calls;
use crate::client_certificates::place::{Ca, Holder};

pub(super) const WITHIN: Duration = Duration::from_secs(20);

pub(super) fn name_of(region: &str) -> String {
    format!("gateway.{region}.internal")
}

/// Who serves as a gateway under a name, and calls as one.
pub(super) fn gateway(ca: &Ca, name: &str) -> Holder {
    ca.holder_with(name, &|params| params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth))
}

/// A service besides: only `eu-west` reaches it, and `/NAME/**` leads to it.
pub(super) struct Other {
    pub(super) name: &'static str,
    pub(super) address: SocketAddr,
    pub(super) protocol: &'static str,
}

/// Two regions, and a service `far` in `eu-west` that nodes of `us-east` cannot reach; `near` runs in both.
pub(super) struct Place {
    pub(super) dev: Dev,
    pub(super) nodes: BTreeMap<String, Node>,
    pub(super) ca: Ca,
    pub(super) calls: Calls,
    pub(super) client: Client,
    pub(super) far: Recorder,
    pub(super) near: Recorder,
}

impl Place {
    pub(super) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// The same with more services in `eu-west`.
    pub(super) async fn start_with(others: &[Other]) -> Self {
        let dev = Dev::start().await.unwrap();
        let (calls, client) = (Calls::of(dev.ready()).unwrap(), client::http(&dev.ready().ca, Version::Http2).unwrap());
        let ca = Ca::root("gateways");
        let mut nodes = BTreeMap::new();
        for region in dev.ready().regions.clone() {
            let mut node = Node::adopt(&dev, &region).unwrap();
            node.kill().await.unwrap();
            let holder = gateway(&ca, &name_of(&region.name));
            for (end, text) in ["pem", "key"].into_iter().zip(holder.pem()) {
                std::fs::write(region.node_config.with_file_name(format!("gateway.{end}")), text).unwrap();
            }
            let pair = "certificate: gateway.pem, key: \"file:gateway.key\"";
            let chain = format!("server.key\", certificates: [ {{ hosts: [ {} ], {pair} }} ] }}\ncontrol", name_of(&region.name));
            let identity = format!("identities: {{ gateway: {{ {pair} }} }}\nlimits: {{ failures_per_prefix: 100000 }}\n");
            node.reconfigure(|text| format!("{}{identity}", text.replacen("server.key\" }\ncontrol", &chain, 1))).unwrap();
            node.start(Under::Bare).await.unwrap();
            node.wait_ready(WITHIN).await.unwrap();
            nodes.insert(region.name, node);
        }
        let [far, near] = [Recorder::start(Behavior::ok("far")).await.unwrap(), Recorder::start(Behavior::ok("near")).await.unwrap()];
        let place = Self { dev, nodes, ca, calls, client, far, near };
        assert_eq!(place.calls.change("/v1/apply", Some(&place.document(others))).await.unwrap().status, 200);
        for region in &place.dev.ready().regions {
            let served = wait::until("the route", WITHIN, async || place.get(region, "/far/").await.status() == StatusCode::OK).await;
            assert!(served.is_ok(), "{}: {}", region.name, place.get(region, "/far/").await.text().await.unwrap());
        }
        place
    }

    pub(super) fn document(&self, others: &[Other]) -> Value {
        let region = |region: &RegionReady| {
            json!({ "name": region.name, "forwarding": {
                "targets": [region.data], "server_name": name_of(&region.name), "client_certificate": "gateway", "ca": self.ca.pem(),
            } })
        };
        let (far, near) = (format!("http://{}/base", self.far.address()), format!("http://{}", self.near.address()));
        let at_home = json!({ "targets": [far], "reach": "gateway", "role": "writer" });
        let mut document = json!({
            "version": 1,
            "regions": self.dev.ready().regions.iter().map(region).collect::<Vec<_>>(),
            "tenants": [{ "name": "demo", "hosts": ["127.0.0.1", "localhost"] }],
            "consumers": [{ "name": "demo" }],
            "applications": [{ "name": "default", "consumer": "demo", "scopes": ["items:read", "items:write"] }],
            "upstreams": [
                { "name": "far", "principal": {}, "regions": { "eu-west": at_home } },
                { "name": "either", "regions": { "eu-west": at_home, "us-east": { "targets": [near] } } },
            ],
            "routes": [
                { "name": "far", "match": { "path": "/far/**" }, "auth": "none", "upstream": "far", "rewrite": { "strip_prefix": "/far", "add_prefix": "/moved" } },
                { "name": "known", "match": { "path": "/known/**" }, "upstream": "far", "audit": "strict" },
                { "name": "either", "match": { "path": "/either/**" }, "auth": "none", "upstream": "either" },
                { "name": "talk", "match": { "path": "/talk" }, "auth": "none", "upstream": "far", "websocket": {} },
            ],
        });
        for Other { name, address, protocol } in others {
            let regions = json!({ "eu-west": { "targets": [format!("http://{address}")], "reach": "gateway", "role": "writer" } });
            let upstreams = document["upstreams"].as_array_mut().unwrap();
            upstreams.push(json!({ "name": name, "protocol": protocol, "regions": regions }));
            let routes = document["routes"].as_array_mut().unwrap();
            routes.push(json!({ "name": name, "match": { "path": format!("/{name}/**") }, "auth": "none", "upstream": name }));
        }
        document
    }

    pub(super) fn region(&self, name: &str) -> &RegionReady {
        self.dev.ready().regions.iter().find(|region| region.name == name).unwrap()
    }

    pub(super) async fn get(&self, region: &RegionReady, path: &str) -> Response {
        self.client.get(format!("{}{path}", region.data)).timeout(WITHIN).send().await.unwrap()
    }

    /// What the service saw last.
    pub(super) fn seen(&self) -> Seen {
        self.far.seen().pop().unwrap()
    }

    pub(super) fn http(&self, version: Version) -> Client {
        client::http(&self.dev.ready().ca, version).unwrap()
    }

    /// What the records of a request say, in order: of each the region, the phase and the outcome.
    pub(super) async fn records(&self, id: &str) -> Vec<String> {
        let event = "convert_from(event, 'UTF8')::json";
        let said = format!("concat_ws(' ', region, phase, {event} ->> 'outcome')");
        let select = format!("select {said} from audit_event where request_id = '{id}' order by region, phase, 1");
        self.ask(&select).await
    }

    /// Asks the writer's database; nothing while it does not answer.
    pub(super) async fn ask(&self, select: &str) -> Vec<String> {
        let database = Sql::open(self.dev.writer().unwrap().postgres_port, &self.dev.reader().unwrap().postgres_data_dir).unwrap();
        database.ask("causeway", select).await.unwrap_or_default()
    }

    /// Waits until no region's node owes a record: each request is over then, and has let go of what it held.
    pub(super) async fn wait_idle(&self) {
        for region in &self.dev.ready().regions {
            self.wait_idle_in(region).await;
        }
    }

    pub(super) async fn wait_idle_in(&self, region: &RegionReady) {
        let owed = async || {
            let text = self.calls.control(region, "/metrics").await.unwrap().body;
            let value = text.lines().find_map(|line| line.strip_prefix("causeway_audit_outstanding "));
            value.unwrap_or_else(|| panic!("{text}")).parse::<f64>().unwrap()
        };
        let idle = wait::until("the end of all requests", WITHIN, async || owed().await < 0.5).await;
        assert!(idle.is_ok(), "{}: {} records are still owed", region.name, owed().await);
    }

    pub(super) async fn stop(mut self) {
        for node in self.nodes.values_mut() {
            node.stop().await.unwrap();
        }
        self.dev.stop().await.unwrap();
    }
}
