//! Callers that tests of several modules are made with.

use std::sync::Arc;

use model::{
    authority::{Application, Consumer},
    change::{Environment, KeyRow, KeyState, SecretRow},
    id::{ApplicationId, ConsumerId},
    key::KeyId,
    restriction::Restrictions,
    time::UtcMicros,
};
use uuid::Uuid;

use crate::authenticate::{KeyProof, Principal, Proof};

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
