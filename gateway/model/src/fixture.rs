//! What tests of several modules are made with.

use uuid::Uuid;

use crate::{
    change::{Environment, KeyRow, KeyState, SecretRow},
    id::ApplicationId,
    key::KeyId,
    restriction::Restrictions,
    time::UtcMicros,
};

/// The id of a numbered key.
pub(crate) fn key_id(n: u8) -> KeyId {
    KeyId::parse(&format!("key{n:09}")).unwrap()
}

/// A key of its first secret, which is no other's.
pub(crate) fn key_row(n: u8) -> KeyRow {
    KeyRow {
        id: key_id(n),
        application: ApplicationId::new(Uuid::nil()),
        environment: Environment::Live,
        secret: SecretRow { digest: [n; 32], peppers: vec![1] },
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
