//! Callers, and what they call, that tests of several modules are made with.

use std::sync::Arc;

use model::{
    authority::{Application, Consumer},
    change::{Environment, KeyRow, KeyState, SecretRow},
    id::{ApplicationId, ConsumerId},
    key::KeyId,
    restriction::Restrictions,
    snapshot::Snapshot,
    time::UtcMicros,
};
use uuid::Uuid;

use crate::{
    authenticate::{KeyProof, Principal, Proof},
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
        consumer: Arc::new(Consumer { name: "customer".into(), tenant: "acme".into() }),
        scopes: scopes.iter().map(|scope| (*scope).into()).collect(),
    }
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
        cells: crate::limit::Cells::default(),
        gate: crate::gate::PeerGate::new(model::limit::Rate::parse("50/s").unwrap(), None),
        health: crate::health::HealthTable::default(),
        breakers: crate::balance::fleet::Breakers::default(),
        names: crate::names::Names::default(),
        issuers: crate::issuers::Issuers::default(),
        proving: crate::proving::Proving::default(),
        certificates: crate::certificate::Refusals::default(),
        signatures: crate::authenticate::Signatures::default(),
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
