//! Who calls, by what proof, and whether that still holds.

use std::{fmt, sync::Arc};

use aws_lc_rs::digest;
use model::{
    access_token::Lent,
    authority::{Application, Consumer, Key},
    denial::Traits,
    id::{ApplicationId, ConsumerId},
    jwt::issuer::{Confirmation, Rules},
    key::KeyId,
    residency::Within,
    snapshot::Snapshot,
    structure::identity::{Holder, Issuer},
    time::{Now, UtcMicros},
};
use uuid::Uuid;

use super::{certificate::Certified, signature::Signed};

/// Who calls.
#[derive(Debug, Clone)]
pub struct Principal {
    /// What proved it, and speaks for the caller.
    pub proof: Proof,
    /// What the route asked for besides.
    pub also: Vec<Proof>,
    /// The application that the call counts for.
    pub application_id: ApplicationId,
    /// The same, with its name and plan.
    pub application: Arc<Application>,
    /// The consumer that owns the application.
    pub consumer_id: ConsumerId,
    /// The same, with its name and tenant.
    pub consumer: Arc<Consumer>,
    /// What the caller may do: with several proofs, what all allow.
    pub scopes: Arc<[Box<str>]>,
}

/// What proves who calls.
#[derive(Debug, Clone)]
pub enum Proof {
    /// An API key.
    Key(KeyProof),
    /// A token of an issuer.
    Token(Arc<Token>),
    /// A client certificate.
    Certificate(Arc<Certified>),
    /// A signature over the request.
    Signature(Arc<Signed>),
}

/// A key whose secret was presented.
#[derive(Debug, Clone)]
pub struct KeyProof {
    /// Its public id.
    pub id: KeyId,
    /// What it is bound to.
    pub key: Arc<Key>,
    /// The how manyth of its secrets was presented.
    pub secret_number: u32,
    /// The access token that stood for it; `None` where the key itself came.
    pub lent: Option<Arc<Lent>>,
}

/// A token that holds.
#[derive(Clone)]
pub struct Token {
    /// Who issued it.
    pub issuer: Arc<Issuer>,
    /// The rules that it was held against.
    pub rules: Arc<Rules>,
    /// About whom.
    pub subject: Box<str>,
    /// The same with the issuer and the application, as one number: limits and stored responses are told apart by it.
    pub subject_id: Uuid,
    /// Its own id, if it has one.
    pub id: Option<Box<str>>,
    /// When it was issued, if it says so.
    pub issued_at: Option<UtcMicros>,
    /// The client that it was issued to.
    pub client: Option<Box<str>>,
    /// What it may be used for.
    pub scopes: Arc<[Box<str>]>,
    /// Until when it is taken, the issuer's leeway added.
    pub until: UtcMicros,
    /// What it is bound to, all of which its sender has proved.
    pub confirmation: Option<Confirmation>,
}

/// Subjects are names of people: they stay out of logs.
impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").field("issuer", &self.issuer.name).field("until", &self.until).finish_non_exhaustive()
    }
}

impl Principal {
    /// Every proof.
    pub fn proofs(&self) -> impl Iterator<Item = &Proof> {
        std::iter::once(&self.proof).chain(&self.also)
    }

    /// The key among them.
    pub fn key(&self) -> Option<&KeyProof> {
        self.proofs().find_map(|proof| match proof {
            Proof::Key(key) => Some(key),
            Proof::Token(_) | Proof::Certificate(_) | Proof::Signature(_) => None,
        })
    }

    /// The token among them.
    pub fn token(&self) -> Option<&Arc<Token>> {
        self.proofs().find_map(|proof| match proof {
            Proof::Token(token) => Some(token),
            Proof::Key(_) | Proof::Certificate(_) | Proof::Signature(_) => None,
        })
    }

    /// The certificate among them.
    pub fn certified(&self) -> Option<&Arc<Certified>> {
        self.proofs().find_map(|proof| match proof {
            Proof::Certificate(certified) => Some(certified),
            Proof::Key(_) | Proof::Token(_) | Proof::Signature(_) => None,
        })
    }

    /// The signature among them.
    pub fn signed(&self) -> Option<&Arc<Signed>> {
        self.proofs().find_map(|proof| match proof {
            Proof::Signature(signed) => Some(signed),
            Proof::Key(_) | Proof::Token(_) | Proof::Certificate(_) => None,
        })
    }

    /// What the caller is known by, where that is more than an application: whom its token is about, or what its certificate names.
    pub fn subject(&self) -> Option<&str> {
        self.token().map(|token| &*token.subject).or_else(|| self.certified().map(|certified| &*certified.holder.identity))
    }

    /// Who vouches for the caller: the issuer of its token, the authority of its certificate, or who has signed, by their names here.
    pub fn issuer(&self) -> Option<&str> {
        let certified = || self.certified().map(|certified| &**certified.authority.name());
        self.token().map(|token| &*token.issuer.name).or_else(certified).or_else(|| self.signed().map(|signed| &*signed.signer.name))
    }

    /// Until when the tokens among the proofs are taken; `None` where there are none.
    pub fn tokens_until(&self) -> Option<UtcMicros> {
        let lent = self.key().and_then(|proof| proof.lent.as_ref()).map(|lent| lent.until);
        self.token().map(|token| token.until).into_iter().chain(lent).min()
    }

    /// Whether the secret was one that has been replaced already.
    pub fn used_old_secret(&self) -> bool {
        self.key().is_some_and(|proof| proof.secret_number != proof.key.secret_number)
    }

    /// The regions in which the caller's data may lie. One that asks for no labels is looked up nowhere.
    pub fn within<'s>(&self, snapshot: &'s Snapshot) -> Within<'s> {
        if self.consumer.residency.is_none() { Within::default() } else { snapshot.within(self.consumer_id) }
    }

    /// The name of the plan whose limits apply.
    pub fn plan(&self) -> Option<&Arc<str>> {
        self.key().and_then(|proof| proof.key.plan()).or(self.application.plan.as_ref())
    }
}

/// Who a proof stands for, and until when it does; `None` when it does not, or not any more.
struct Standing<'s> {
    application: ApplicationId,
    scopes: Option<&'s Arc<[Box<str>]>>,
    /// What these are narrowed to.
    within: Option<&'s Arc<[Box<str>]>>,
    until: UtcMicros,
}

impl Proof {
    fn standing<'s>(&'s self, snapshot: &'s Snapshot, now: Now) -> Option<Standing<'s>> {
        match self {
            Self::Key(proof) => {
                // The key as it is now: it may have been changed since it was presented.
                let key = snapshot.authority.keys.get(&proof.id)?;
                let mut until = key.valid_until(proof.secret_number, now.wall)?;
                if let Some(lent) = &proof.lent {
                    until = until.min(lent.until);
                }
                let within = proof.lent.as_ref().map(|lent| &lent.scopes);
                (now.wall < until).then(|| Standing { application: key.application, scopes: key.scopes.as_ref(), within, until })
            }
            Self::Token(token) => {
                let issuer = token.issuer.rules.issuer();
                let traits = Traits { issuer, subject: &token.subject, id: token.id.as_deref(), issued_at: token.issued_at };
                if snapshot.authority.denials.refuses(&traits) {
                    return None;
                }
                let name = match &token.issuer.holder {
                    Holder::Application(name) => name,
                    Holder::Client => token.client.as_deref()?,
                };
                let is_trusted = snapshot.structure.issuers.iter().any(|known| known.rules.issuer() == issuer);
                let application = snapshot.authority.application_ids.get(name)?;
                let standing = Standing { application: *application, scopes: Some(&token.scopes), within: None, until: token.until };
                (is_trusted && now.wall < token.until).then_some(standing)
            }
            Self::Certificate(certified) => {
                let application = certified.application(snapshot, now)?;
                Some(Standing { application, scopes: None, within: None, until: certified.until(now) })
            }
            Self::Signature(signed) => {
                let application = signed.application(snapshot)?;
                Some(Standing { application, scopes: None, within: None, until: Signed::UNTIL })
            }
        }
    }

    /// The same, with what its key is bound to now.
    fn renewed(&self, snapshot: &Snapshot) -> Option<Self> {
        Some(match self {
            Self::Key(proof) => {
                let key = Arc::clone(snapshot.authority.keys.get(&proof.id)?);
                Self::Key(KeyProof { id: proof.id, key, secret_number: proof.secret_number, lent: proof.lent.clone() })
            }
            Self::Token(_) | Self::Certificate(_) | Self::Signature(_) => self.clone(),
        })
    }
}

/// Who calls by these proofs. Several must stand for one consumer: a token of one customer with a key of another is nobody's call.
pub(super) fn of(snapshot: &Snapshot, proof: Proof, also: Vec<Proof>, now: Now) -> Option<Principal> {
    until(snapshot, proof, also, now).map(|(principal, _)| principal)
}

fn until(snapshot: &Snapshot, proof: Proof, also: Vec<Proof>, now: Now) -> Option<(Principal, UtcMicros)> {
    let authority = &snapshot.authority;
    let first = proof.standing(snapshot, now)?;
    let application = authority.applications.get(&first.application)?;
    let consumer = authority.consumers.get(&application.consumer)?;
    let mut scopes = Arc::clone(first.scopes.unwrap_or(&application.scopes));
    if let Some(within) = first.within {
        scopes = both(&scopes, within);
    }
    let mut until = first.until;
    for also in &also {
        let second = also.standing(snapshot, now)?;
        let other = authority.applications.get(&second.application)?;
        if other.consumer != application.consumer {
            return None;
        }
        scopes = both(&scopes, second.scopes.unwrap_or(&other.scopes));
        if let Some(within) = second.within {
            scopes = both(&scopes, within);
        }
        until = until.min(second.until);
    }
    let application_id = first.application;
    let principal = Principal {
        proof,
        also,
        application_id,
        consumer_id: application.consumer,
        scopes,
        application: Arc::clone(application),
        consumer: Arc::clone(consumer),
    };
    Some((principal, until))
}

fn both(some: &[Box<str>], others: &[Box<str>]) -> Arc<[Box<str>]> {
    some.iter().filter(|scope| others.contains(scope)).cloned().collect()
}

/// Looks up again who calls by proofs that were verified before, and until when they hold; `None` once they do not.
pub fn again(snapshot: &Snapshot, before: &Principal, tenant: &str, now: Now) -> Option<(Principal, UtcMicros)> {
    let also = before.also.iter().map(|also| also.renewed(snapshot)).collect::<Option<Vec<_>>>()?;
    let (principal, until) = until(snapshot, before.proof.renewed(snapshot)?, also, now)?;
    // The application of a token, a certificate or a signature is known by its name, which may be another's by now.
    let is_same = matches!(principal.proof, Proof::Key(_)) && principal.also.is_empty() || principal.application_id == before.application_id;
    (is_same && *principal.consumer.tenant == *tenant).then_some((principal, until))
}

/// One number for whom an issuer or an authority vouches for, in an application: in another one, the same person is another caller. None of
/// the texts can hold a NUL, so no two are hashed alike.
pub(super) fn subject_id(application: ApplicationId, voucher: &str, subject: &str) -> Uuid {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in [application.uuid().as_bytes(), voucher.as_bytes(), b"\0", subject.as_bytes()] as [&[u8]; 4] {
        context.update(part);
    }
    let mut bytes = [0; 16];
    for (to, from) in bytes.iter_mut().zip(context.finish().as_ref()) {
        *to = *from;
    }
    Uuid::from_bytes(bytes)
}

/// Whether proofs that were verified before still hold.
pub fn is_still_valid(snapshot: &Snapshot, principal: &Principal, now: Now) -> bool {
    principal.proofs().all(|proof| proof.standing(snapshot, now).is_some())
}

#[cfg(test)]
mod tests;
