//! Callers, and what they call, that tests of several modules are made with.

use std::sync::Arc;

use model::{
    authority::{Application, Authority, Consumer},
    change::{ApplicationRow, ConsumerRow, Environment, KeyRow, KeyState, Revisions, SecretRow},
    compile::compile,
    document::Document,
    id::{ApplicationId, ConsumerId},
    key::KeyId,
    restriction::Restrictions,
    snapshot::Snapshot,
    time::{BootNanos, Now, UtcMicros},
};
use serde_json::json;
use uuid::Uuid;

use crate::{
    authenticate::{self, KeyProof, Principal, Proof},
    authorize::{self, Use},
    certificate::Shown,
    limit::{self, Admitted},
    runtime::Edge,
};

/// A key that is bound to nothing.
pub(crate) fn key_row() -> KeyRow {
    KeyRow {
        id: KeyId::parse("AbCdEf123456").unwrap(),
        application: ApplicationId::new(Uuid::nil()),
        environment: Environment::Live,
        secret: SecretRow { digest: [0; 32], peppers: vec![1] },
        secret_number: 1,
        lookup: None,
        bcrypt: None,
        previous: None,
        scopes: None,
        plan: None,
        restrictions: Restrictions::default(),
        state: KeyState::Active,
        expires_at: UtcMicros(9),
    }
}

/// Its first secret.
pub(crate) fn key() -> Proof {
    let row = key_row();
    Proof::Key(KeyProof { id: row.id, secret_number: 1, lent: None, key: Arc::new(row.into()) })
}

/// Somebody of the application `web` of the consumer `customer`, by these proofs.
pub(crate) fn principal(scopes: &[&str], proof: Proof, also: Vec<Proof>) -> Principal {
    let application = Application { name: "web".into(), consumer: ConsumerId::new(Uuid::nil()), plan: None, scopes: [].into() };
    Principal {
        proof,
        also,
        application_id: ApplicationId::new(Uuid::nil()),
        application: Arc::new(application),
        consumer_id: ConsumerId::new(Uuid::nil()),
        consumer: Arc::new(Consumer { name: "customer".into(), tenant: "acme".into(), residency: None }),
        scopes: scopes.iter().map(|scope| (*scope).into()).collect(),
    }
}

/// A key's consumer that asks for labels, with the routes `key`, `strict` and `open` to a service in two regions. `more` says who asks for `eu` besides:
/// the `route`s or the `service`; or that the `regions` have changed their labels.
pub(crate) fn labeled(asked: Option<&[&str]>, more: &str) -> Snapshot {
    let asks = |what: &str| (more == what).then_some(["eu"]);
    let labels = if more == "regions" { ["us", "eu"] } else { ["eu", "us"] };
    let target = json!({ "targets": ["http://10.0.0.1:80"] });
    let writer = json!({ "targets": ["http://10.0.0.2:80"], "role": "writer" });
    let route = |name: &str, auth: &str, on_stale: &str| {
        json!({ "name": name, "match": { "path": format!("/{name}"), "methods": ["GET"] }, "upstream": "shop", "auth": auth, "residency": asks("route"),
            "consistency": { "keys": { "max_staleness": "5m", "on_stale": on_stale } } })
    };
    let document = json!({
        "version": 1, "tenants": [{ "name": "acme", "hosts": ["api.example"] }],
        "regions": [{ "name": "eu-west", "residency": [labels[0]] }, { "name": "us-east", "residency": [labels[1]] }],
        "upstreams": [{ "name": "shop", "regions": { "eu-west": writer, "us-east": target }, "residency": asks("service") }],
        "routes": [route("key", "api_key", "allow"), route("strict", "api_key", "deny"), route("open", "none", "allow")],
    });
    let document: Document = serde_json::from_value(document).unwrap();
    let residency = asked.map(|labels| labels.iter().map(|label| (*label).to_owned()).collect());
    let consumer = ConsumerRow { id: ConsumerId::new(Uuid::nil()), name: "customer".to_owned(), tenant: "acme".to_owned(), residency };
    let application =
        ApplicationRow { id: ApplicationId::new(Uuid::nil()), consumer: consumer.id, name: "web".to_owned(), plan: None, scopes: Vec::new() };
    Snapshot {
        revisions: Revisions::default(),
        structure: Arc::new(compile(&document).unwrap()),
        authority: Arc::new(Authority::from_rows([consumer], [application], [key_row()], [])),
        writers: Arc::default(),
        booted_from: None,
    }
}

/// What the key of [`key_row`] asks for, let in over a snapshot; nobody calls on the route `open`.
pub(crate) fn admitted<T>(snapshot: &Snapshot, edge: &Edge, path: &str, act: impl FnOnce(Admitted<'_>) -> T) -> T {
    let now = Now { boot: BootNanos(1), wall: UtcMicros(1) };
    let parts = http::Request::get(path).header("host", "api.example").body(()).unwrap().into_parts().0;
    let head = crate::head::check(Box::new(parts), 100).unwrap();
    edge.lease.reported(60_000_000_000, BootNanos(0));
    edge.lease.confirm(now.boot);
    let matched = crate::route::find(snapshot, &head).unwrap();
    let caller = authenticate::again(snapshot, &principal(&[], key(), Vec::new()), "acme", now).unwrap().0;
    let known = authenticate::follow(matched, Some(&caller).filter(|_| path != "/open"), true, edge, now).unwrap();
    let usage = Use { method: "GET", address: [192, 0, 2, 1].into(), shown: &Shown::NotAsked, now };
    act(limit::readmit(authorize::check(known, usage).unwrap()))
}

/// An edge of one node, with this in force.
pub(crate) fn edge(snapshot: Snapshot) -> Edge {
    let edge = Edge {
        clock: crate::clock::Clock,
        region: "eu".into(),
        node: "eu-1".into(),
        current: crate::current::Current::default(),
        lease: crate::lease::Lease::new(1),
        peppers: model::key::Peppers::new([(1, model::secret::SecretKey::new([7; 32]))]).unwrap(),
        cells: limit::Cells::default(),
        gate: crate::gate::PeerGate::new(model::limit::Rate::parse("50/s").unwrap(), None),
        health: crate::health::HealthTable::default(),
        breakers: crate::balance::fleet::Breakers::default(),
        names: crate::names::Names::default(),
        issuers: crate::issuers::Issuers::default(),
        proving: crate::proving::Proving::default(),
        certificates: crate::certificate::Refusals::default(),
        signatures: authenticate::Signatures::default(),
        cache: crate::cache::Cache::new(0),
        bodies: Arc::new(crate::body::BodyMemory::new(0)),
        tally: crate::balance::tally::Tally::default(),
        identities: Arc::default(),
        keyring: crate::principal::key::Keyring::default(),
        tokens: model::access_token::TokenKeys::default(),
        consistency_keys: model::consistency_token::ConsistencyKeys::default(),
        positions: crate::positions::Positions::default(),
        websockets: Arc::default(),
        settings: crate::runtime::Settings::default(),
    };
    edge.current.publish(Arc::new(snapshot)).unwrap();
    edge
}
