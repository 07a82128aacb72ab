//! Who vouches for client certificates, and for whom.

use std::{collections::HashMap, fmt, sync::Arc, time::Duration};

use rustls_pki_types::{TrustAnchor, UnixTime};
use webpki::{
    ALL_VERIFICATION_ALGS, CertRevocationList, EndEntityCert, Error, ExpirationPolicy, KeyUsage, RevocationCheckDepth, RevocationOptionsBuilder,
    UnknownStatusPolicy,
};

use super::{ClientCertificate, Name, Thumbprint};
use crate::time::UtcMicros;

/// A set of roots, what they have revoked, and whose certificates theirs are.
pub struct Authority {
    pub(crate) name: Arc<str>,
    /// None where certificates are known by their thumbprints alone.
    pub(crate) roots: Box<[TrustAnchor<'static>]>,
    pub(crate) crls: Box<[CertRevocationList<'static>]>,
    pub(crate) crl_depth: CrlDepth,
    pub(crate) expired_crls: ExpiredCrls,
    /// When the first of the lists ought to have been replaced.
    pub(crate) crls_end: Option<UtcMicros>,
    pub(crate) holders: Holders,
    /// Whether services get the certificate (RFC 9440).
    pub(crate) forward: bool,
    /// Of what it was made of: what tells whether another one is the same.
    pub(crate) digest: Thumbprint,
}

/// Which certificates of a chain must not stand in a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CrlDepth {
    /// The client's.
    Leaf,
    /// All but the root.
    Chain,
}

/// What a list is worth after the time at which it ought to have been replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExpiredCrls {
    /// Nothing: whom it would have been about is not known, so nobody comes in.
    Deny,
    /// What it was worth before.
    Allow,
}

/// Which applications the calls of certificates count for.
#[derive(Debug, Default)]
pub struct Holders {
    pub(crate) by_name: HashMap<Name, Arc<str>>,
    pub(crate) by_thumbprint: HashMap<Thumbprint, Arc<str>>,
    /// Of all other certificates.
    pub(crate) others: Option<Arc<str>>,
}

/// Why a certificate does not tell who calls. Nothing of it is told to the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Refused {
    /// Its dates are over, or have not begun, or those of a certificate above it.
    Dates,
    /// No chain leads from it to a root.
    Issuer,
    /// It is not for proving oneself as a client, or a name or a path is not allowed.
    Usage,
    /// It was revoked.
    Revoked,
    /// Whether it was revoked cannot be told: a list is missing, unreadable, or too old.
    RevocationUnknown,
    /// It is a certificate, but nobody's here.
    Stranger,
    /// It is one for several applications.
    Ambiguous,
    /// It is damaged, or uses what is not supported.
    Malformed,
}

impl Refused {
    /// Every reason.
    pub const ALL: [Self; 8] =
        [Self::Dates, Self::Issuer, Self::Usage, Self::Revoked, Self::RevocationUnknown, Self::Stranger, Self::Ambiguous, Self::Malformed];

    /// The name in metrics and logs.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Dates => "dates",
            Self::Issuer => "issuer-unknown",
            Self::Usage => "usage",
            Self::Revoked => "revoked",
            Self::RevocationUnknown => "revocation-unknown",
            Self::Stranger => "stranger",
            Self::Ambiguous => "ambiguous",
            Self::Malformed => "malformed",
        }
    }
}

/// Whom a certificate stands for.
#[derive(Clone, PartialEq, Eq)]
pub struct Holder {
    /// The name of the application.
    pub application: Arc<str>,
    /// What it is known by: a name, or its subject. The same for the certificates that follow it.
    pub identity: Box<str>,
}

/// Names of holders may be names of people: they stay out of logs.
impl fmt::Debug for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Holder").field("application", &self.application).finish_non_exhaustive()
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority")
            .field("name", &self.name)
            .field("roots", &self.roots.len())
            .field("crls", &self.crls.len())
            .finish_non_exhaustive()
    }
}

impl PartialEq for Authority {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest
    }
}

impl Eq for Authority {}

impl Authority {
    /// Its name here.
    pub const fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Whether services get certificates that it vouches for.
    pub const fn forward(&self) -> bool {
        self.forward
    }

    /// What tells it from another one, or from itself with other members.
    pub const fn digest(&self) -> Thumbprint {
        self.digest
    }

    /// When it stops to vouch for anybody unless another list comes.
    pub fn vouches_until(&self) -> Option<UtcMicros> {
        self.crls_end.filter(|_| self.expired_crls == ExpiredCrls::Deny)
    }

    /// When the first of its revocation lists ought to have been replaced.
    pub const fn crls_end(&self) -> Option<UtcMicros> {
        self.crls_end
    }

    /// Whether it vouches for a certificate at an instant, and for whom.
    ///
    /// It costs a signature check for each certificate of the chain, and for each of the lists that are looked at; callers keep the answer for
    /// a while. More than one candidate for a step there is only where several roots have one name.
    ///
    /// # Errors
    /// The [`Refused`] that operators are told.
    pub fn verify(&self, certificate: &ClientCertificate, now: UtcMicros) -> Result<Holder, Refused> {
        if !certificate.is_within_dates(now) {
            return Err(Refused::Dates);
        }
        if !self.roots.is_empty() {
            self.chain(certificate, now)?;
        }
        self.holders.of(certificate)
    }

    fn chain(&self, certificate: &ClientCertificate, now: UtcMicros) -> Result<(), Refused> {
        let [leaf, intermediates @ ..] = &*certificate.chain else { return Err(Refused::Malformed) };
        let leaf = EndEntityCert::try_from(leaf).map_err(|_| Refused::Malformed)?;
        let now = UnixTime::since_unix_epoch(Duration::from_micros(u64::try_from(now.0).unwrap_or(0)));
        let crls: Vec<&CertRevocationList<'static>> = self.crls.iter().collect();
        let revocation = RevocationOptionsBuilder::new(&crls).ok().map(|options| {
            let depth = match self.crl_depth {
                CrlDepth::Leaf => RevocationCheckDepth::EndEntity,
                CrlDepth::Chain => RevocationCheckDepth::Chain,
            };
            let expiration = match self.expired_crls {
                ExpiredCrls::Deny => ExpirationPolicy::Enforce,
                ExpiredCrls::Allow => ExpirationPolicy::Ignore,
            };
            options.with_depth(depth).with_status_policy(UnknownStatusPolicy::Deny).with_expiration_policy(expiration).build()
        });
        let verified =
            leaf.verify_for_usage(ALL_VERIFICATION_ALGS, &self.roots, intermediates, now, KeyUsage::client_auth(), revocation, None).map(drop);
        verified.map_err(|error| refused(&error))
    }
}

/// What the verifier's words mean here.
#[expect(clippy::wildcard_enum_match_arm, reason = "what is not told apart, and what a later verifier adds, is malformed")]
fn refused(error: &Error) -> Refused {
    match error {
        Error::CertExpired { .. } | Error::CertNotValidYet { .. } | Error::InvalidCertValidity => Refused::Dates,
        Error::UnknownIssuer | Error::InvalidSignatureForPublicKey | Error::MaximumPathBuildCallsExceeded => Refused::Issuer,
        Error::RequiredEkuNotFoundContext(_)
        | Error::NameConstraintViolation
        | Error::PathLenConstraintViolated
        | Error::CaUsedAsEndEntity
        | Error::EndEntityUsedAsCa => Refused::Usage,
        Error::CertRevoked => Refused::Revoked,
        Error::UnknownRevocationStatus
        | Error::CrlExpired { .. }
        | Error::InvalidCrlSignatureForPublicKey
        | Error::IssuerNotCrlSigner
        | Error::InvalidCrlNumber => Refused::RevocationUnknown,
        _ => Refused::Malformed,
    }
}

impl Holders {
    /// A thumbprint says most, then names; two names of two applications say nothing.
    fn of(&self, certificate: &ClientCertificate) -> Result<Holder, Refused> {
        if let Some(application) = self.by_thumbprint.get(&certificate.thumbprint) {
            return Ok(Holder { application: Arc::clone(application), identity: first_name(certificate) });
        }
        let mut found: Option<(&Name, &Arc<str>)> = None;
        for name in &certificate.names {
            let Some(application) = self.by_name.get(name) else { continue };
            match found {
                Some((_, other)) if other != application => return Err(Refused::Ambiguous),
                Some(_) => {}
                None => found = Some((name, application)),
            }
        }
        if let Some((name, application)) = found {
            return Ok(Holder { application: Arc::clone(application), identity: name.to_string().into() });
        }
        let application = self.others.as_ref().ok_or(Refused::Stranger)?;
        Ok(Holder { application: Arc::clone(application), identity: first_name(certificate) })
    }
}

fn first_name(certificate: &ClientCertificate) -> Box<str> {
    certificate.names.first().map_or_else(|| certificate.subject.clone(), |name| name.to_string().into())
}

#[cfg(test)]
mod tests;
