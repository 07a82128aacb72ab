//! Looks an API key up: one that was sent itself, one that an access token stands for, or one that another system has issued.

use std::{net::IpAddr, sync::Arc};

use model::{
    access_token::{self, Lent},
    identity::ImportedKeysDoc,
    key::{KeyId, Presented, foreign::Foreign},
    problem::Denial,
    snapshot::Snapshot,
    structure::Route,
    time::Now,
};

use super::{credential, foreign, principal::KeyProof};
use crate::{route::Matched, runtime::Edge};

/// What was sent in a key's place.
#[derive(Debug)]
pub(super) enum Offered<'h> {
    /// One of ours.
    Own(Presented<'h>),
    /// An access token of this deployment, whose signature and dates are right.
    Lent(Arc<Lent>),
    /// One that another system has issued.
    Foreign(Foreign<'h>),
}

impl<'h> Offered<'h> {
    /// Reads it. One of another system is read on the routes that take such, and anywhere else refused like garbage.
    ///
    /// # Errors
    /// `credentials-invalid`.
    pub(super) fn read(text: &'h str, route: &Route, edge: &Edge, now: Now) -> Result<Self, Denial> {
        let offered = match Presented::parse(text) {
            Some(own) => own.purpose.is_api_key().then_some(Self::Own(own)),
            None if access_token::is_own(text) => edge.tokens.read(text, now.wall).map(|lent| Self::Lent(Arc::new(lent))),
            None if route.imported_keys == ImportedKeysDoc::Accept => Foreign::parse(text).map(Self::Foreign),
            None => None,
        };
        offered.ok_or_else(credential::invalid_key)
    }

    /// The id of the key that it is, or stands for, where that can be read.
    pub(super) fn id(&self) -> Option<KeyId> {
        match self {
            Self::Own(presented) => Some(presented.id),
            Self::Lent(lent) => Some(lent.key),
            Self::Foreign(_) => None,
        }
    }

    /// The proof that it gives; `None` unless the key is known and its secret is right. `seen` receives an id that was found only now.
    pub(super) fn verify(&self, snapshot: &Snapshot, edge: &Edge, now: Now, seen: &mut Option<KeyId>) -> Option<KeyProof> {
        match self {
            Self::Own(presented) => of_secret(snapshot, presented, edge, now),
            // Whether the key still has the secret that the token was given for is asked where every proof is (see `principal`).
            Self::Lent(lent) => {
                let key = snapshot.authority.keys.get(&lent.key)?.clone();
                Some(KeyProof { id: lent.key, key, secret_number: lent.secret_number, lent: Some(Arc::clone(lent)) })
            }
            Self::Foreign(text) => {
                let found = foreign::verify(snapshot, text, edge, now);
                *seen = found.seen;
                found.proof
            }
        }
    }
}

/// What verifies texts the first time that they are shown.
impl Offered<'_> {
    /// Whether [`Self::prove`] may find what [`Self::verify`] does not.
    pub(super) const fn may_wait(&self) -> bool {
        matches!(self, Self::Foreign(_))
    }

    /// Verifies a text of another system against what that system has hashed with bcrypt, if it begins like one.
    ///
    /// # Errors
    /// `overloaded`.
    pub(super) async fn prove(
        &self,
        matched: &Matched<'_>,
        address: IpAddr,
        edge: &Edge,
        now: Now,
        seen: &mut Option<KeyId>,
    ) -> Result<Option<KeyProof>, Denial> {
        let Self::Foreign(text) = self else { return Ok(None) };
        let proof = foreign::prove(matched, text, address, edge, now).await?;
        *seen = proof.as_ref().map(|proof| proof.id).or(*seen);
        Ok(proof)
    }
}

fn of_secret(snapshot: &Snapshot, presented: &Presented<'_>, edge: &Edge, now: Now) -> Option<KeyProof> {
    let key = snapshot.authority.keys.get(&presented.id);
    // The secret is compared first and always, so that timing tells nothing about the id.
    let which = edge.peppers.which(presented, key.map(|key| &key.secret), key.and_then(|key| key.previous(now.wall)));
    let (key, which) = key.zip(which)?;
    if key.environment.purpose() != presented.purpose {
        return None;
    }
    Some(KeyProof { id: presented.id, key: key.clone(), secret_number: key.number_of(which)?, lent: None })
}
