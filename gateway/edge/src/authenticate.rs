//! Finds out who calls; the only constructor of [`Authenticated`].

use std::sync::Arc;

use http::{HeaderMap, HeaderName, header};
use model::{
    authority::{Application, Consumer, Key},
    id::{ApplicationId, ConsumerId},
    key::{KeyId, Presented, Purpose, Which},
    problem::{Denial, ProblemKind},
    snapshot::Snapshot,
    structure::Auth,
    time::{Now, UtcMicros},
};

use crate::{head::Head, route::Matched, runtime::Edge};

const API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// Who calls.
#[derive(Debug, Clone)]
pub struct Principal {
    /// The key that proved it.
    pub key_id: KeyId,
    /// The same, with what it is bound to.
    pub key: Arc<Key>,
    /// The how manyth of the key's secrets was presented.
    pub secret_number: u32,
    /// The application that holds the key.
    pub application_id: ApplicationId,
    /// The same, with its name and plan.
    pub application: Arc<Application>,
    /// The consumer that owns the application.
    pub consumer_id: ConsumerId,
    /// The same, with its name and tenant.
    pub consumer: Arc<Consumer>,
    /// What the key may do.
    pub scopes: Arc<[Box<str>]>,
}

impl Principal {
    /// Whether the secret was one that has been replaced already.
    pub fn used_old_secret(&self) -> bool {
        self.secret_number != self.key.secret_number
    }

    /// The name of the plan whose limits apply.
    pub fn plan(&self) -> Option<&Arc<str>> {
        self.key.plan().or(self.application.plan.as_ref())
    }
}

/// A matched request whose caller is known, or whose route asks for none.
#[derive(Debug)]
pub struct Authenticated<'s> {
    matched: Matched<'s>,
    principal: Option<Principal>,
}

impl<'s> Authenticated<'s> {
    /// Who calls; `None` on routes without authentication.
    pub const fn principal(&self) -> Option<&Principal> {
        self.principal.as_ref()
    }

    /// The parts, for the next stage.
    pub fn into_parts(self) -> (Matched<'s>, Option<Principal>) {
        (self.matched, self.principal)
    }
}

/// Verifies the credential that the route asks for, over what this node may still trust.
///
/// # Errors
/// `authority-stale`, `credentials-missing`, or one uniform `credentials-invalid`: a caller cannot tell an unknown key
/// from a revoked, expired or foreign one. `seen` receives the key id of a well-formed key for the record, valid or not.
pub fn verify<'s>(matched: Matched<'s>, head: &Head, edge: &Edge, now: Now, seen: &mut Option<KeyId>) -> Result<Authenticated<'s>, Denial> {
    match matched.route().auth {
        Auth::None => Ok(Authenticated { matched, principal: None }),
        Auth::ApiKey => {
            let text = credential(&head.parts.headers)?;
            let presented = Presented::parse(text).filter(|key| key.purpose != Purpose::Operator).ok_or_else(invalid)?;
            *seen = Some(presented.id);
            let snapshot = matched.snapshot();
            edge.lease.check(matched.route().keys, head.is_read(), snapshot, now)?;
            let principal = look_up(snapshot, &presented, edge, now).filter(|principal| principal.consumer.tenant == matched.route().tenant);
            Ok(Authenticated { principal: Some(principal.ok_or_else(invalid)?), matched })
        }
    }
}

fn invalid() -> Denial {
    Denial::new(ProblemKind::CredentialsInvalid, "the key is not accepted; check that it is complete, not expired and not revoked")
}

/// The one credential that the request carries.
fn credential(headers: &HeaderMap) -> Result<&str, Denial> {
    let mut keys = headers.get_all(API_KEY).iter();
    let mut bearers = headers.get_all(header::AUTHORIZATION).iter();
    let text = match (keys.next(), bearers.next()) {
        (Some(key), None) => key.to_str().ok(),
        (None, Some(field)) => field.to_str().ok().and_then(|text| {
            let (scheme, token) = text.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
        }),
        (None, None) => {
            return Err(Denial::new(ProblemKind::CredentialsMissing, "send an API key in the X-Api-Key header, or as Authorization: Bearer"));
        }
        // Two credentials could be two callers.
        (Some(_), Some(_)) => None,
    };
    if keys.next().is_some() || bearers.next().is_some() {
        return Err(invalid());
    }
    text.ok_or_else(invalid)
}

fn look_up(snapshot: &Snapshot, presented: &Presented<'_>, edge: &Edge, now: Now) -> Option<Principal> {
    let key = snapshot.authority.keys.get(&presented.id);
    // The secret is compared first and always, so that timing tells nothing about the id.
    let which = edge.peppers.which(presented, key.map(|key| &key.secret), key.and_then(|key| key.previous(now.wall)));
    let (key, which) = key.zip(which)?;
    if key.environment.purpose() != presented.purpose {
        return None;
    }
    let secret_number = match which {
        Which::Present => key.secret_number,
        Which::Previous => key.secret_number.checked_sub(1)?,
    };
    owner(snapshot, presented.id, key, secret_number, now).map(|(principal, _)| principal)
}

/// Looks up again who holds the key that was verified before, and until when it may be used; `None` once it may not.
pub fn again(snapshot: &Snapshot, before: &Principal, tenant: &str, now: Now) -> Option<(Principal, UtcMicros)> {
    let key = snapshot.authority.keys.get(&before.key_id)?;
    owner(snapshot, before.key_id, key, before.secret_number, now).filter(|(principal, _)| *principal.consumer.tenant == *tenant)
}

/// Who holds a key, and until when, if the secret of this number may be used.
fn owner(snapshot: &Snapshot, id: KeyId, key: &Arc<Key>, secret_number: u32, now: Now) -> Option<(Principal, UtcMicros)> {
    let authority = &snapshot.authority;
    let until = key.valid_until(secret_number, now.wall)?;
    let application = authority.applications.get(&key.application)?;
    let consumer = authority.consumers.get(&application.consumer)?;
    let principal = Principal {
        key_id: id,
        key: Arc::clone(key),
        secret_number,
        application_id: key.application,
        consumer_id: application.consumer,
        scopes: key.scopes.clone().unwrap_or_else(|| Arc::clone(&application.scopes)),
        application: Arc::clone(application),
        consumer: Arc::clone(consumer),
    };
    Some((principal, until))
}
