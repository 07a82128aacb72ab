//! Finds out who calls; the only constructor of [`Authenticated`].

use std::sync::Arc;

use http::{HeaderMap, HeaderName, header};
use model::{
    authority::{Application, Consumer, Key},
    change::KeyState,
    id::{ApplicationId, ConsumerId},
    key::{KeyId, Presented, Purpose},
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
    let genuine = edge.peppers.verify(presented, key.map(|key| (key.pepper_version, &key.digest)));
    owner(snapshot, presented.id, key.filter(|_| genuine)?, now)
}

/// Looks up again whose a key is that was verified before, and until when it may be used; `None` once it may not.
pub fn again(snapshot: &Snapshot, id: KeyId, tenant: &str, now: Now) -> Option<(Principal, UtcMicros)> {
    let key = snapshot.authority.keys.get(&id)?;
    let principal = owner(snapshot, id, key, now).filter(|principal| *principal.consumer.tenant == *tenant)?;
    Some((principal, key.expires_at))
}

/// Who holds a key, if it may be used.
fn owner(snapshot: &Snapshot, id: KeyId, key: &Key, now: Now) -> Option<Principal> {
    let authority = &snapshot.authority;
    if key.state != KeyState::Active || now.wall >= key.expires_at {
        return None;
    }
    let application = authority.applications.get(&key.application)?;
    let consumer = authority.consumers.get(&application.consumer)?;
    Some(Principal {
        key_id: id,
        application_id: key.application,
        consumer_id: application.consumer,
        scopes: key.scopes.clone().unwrap_or_else(|| Arc::clone(&application.scopes)),
        application: Arc::clone(application),
        consumer: Arc::clone(consumer),
    })
}
