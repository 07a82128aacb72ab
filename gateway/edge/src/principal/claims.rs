//! What a token says about the caller.

use std::fmt;

use data_encoding::BASE64URL_NOPAD;
use serde::{Serialize, Serializer};

use crate::authenticate::{Principal, Proof};

/// The claims without those that differ from token to token (`iat`, `exp`, `jti`).
#[derive(Debug, Serialize)]
pub(super) struct Claims<'c> {
    /// The region whose node speaks.
    iss: &'c str,
    /// The service.
    aud: &'c str,
    /// Whom the token or the certificate names, else the application.
    sub: &'c str,
    /// The issuer or the authority that gave `sub`, by its name here: two may know one name for two people.
    #[serde(skip_serializing_if = "Option::is_none")]
    sub_issuer: Option<&'c str>,
    /// What proved who calls, and speaks for the caller.
    kind: &'static str,
    /// The owner of the consumer, and of the host that was asked.
    tenant: &'c str,
    consumer: &'c str,
    /// The application (RFC 8693 section 4.3).
    client_id: &'c str,
    /// What the caller may do (RFC 8693 section 4.2).
    scope: Scopes<'c>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_id: Option<&'c str>,
    /// Who has signed the request (RFC 9421), by the name here.
    #[serde(skip_serializing_if = "Option::is_none")]
    signer: Option<&'c str>,
    /// Every proof that was given (RFC 8176).
    amr: Methods<'c>,
    /// The certificate among them, or what the token is bound to (RFC 8705 section 3.1, RFC 9449 section 6.1).
    #[serde(skip_serializing_if = "Confirmation::is_empty")]
    cnf: Confirmation,
    /// The authority revision that the request was decided over.
    revision: u64,
}

#[derive(Debug, Serialize)]
struct Confirmation {
    #[serde(rename = "x5t#S256", skip_serializing_if = "Option::is_none", serialize_with = "base64url")]
    certificate: Option<[u8; 32]>,
    #[serde(rename = "jkt", skip_serializing_if = "Option::is_none", serialize_with = "base64url")]
    key: Option<[u8; 32]>,
}

impl Confirmation {
    /// What the caller has proved. Where both a certificate and a token are bound to one, it is the same: a connection has one.
    fn of(principal: &Principal) -> Self {
        let bound = principal.token().and_then(|token| token.confirmation);
        let shown = principal.certified().map(|certified| certified.certificate.facts().thumbprint().0);
        Self {
            certificate: shown.or_else(|| bound.and_then(|bound| bound.certificate_thumbprint)),
            key: bound.and_then(|bound| bound.key_thumbprint),
        }
    }

    const fn is_empty(&self) -> bool {
        self.certificate.is_none() && self.key.is_none()
    }
}

#[expect(clippy::ref_option, reason = "the signature that serde asks for")]
fn base64url<S: Serializer>(hash: &Option<[u8; 32]>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&BASE64URL_NOPAD.encode_display(hash.as_ref().map_or(&[][..], |hash| hash)))
}

impl<'c> Claims<'c> {
    pub(super) fn new(region: &'c str, audience: &'c str, principal: &'c Principal, revision: u64) -> Self {
        let certified = principal.certified();
        let by_token = principal.token().map(|token| (&*token.subject, &*token.issuer.name));
        let named = by_token.or_else(|| certified.map(|certified| (&*certified.holder.identity, &**certified.authority.name())));
        let (sub, sub_issuer) = named.map_or((&*principal.application.name, None), |(subject, issuer)| (subject, Some(issuer)));
        Self {
            iss: region,
            aud: audience,
            sub,
            sub_issuer,
            kind: match &principal.proof {
                Proof::Key(_) => "key",
                Proof::Token(_) => "token",
                Proof::Certificate(_) => "certificate",
                Proof::Signature(_) => "signature",
            },
            tenant: &principal.consumer.tenant,
            consumer: &principal.consumer.name,
            client_id: &principal.application.name,
            scope: Scopes(&principal.scopes),
            key_id: principal.key().map(|proof| proof.id.as_str()),
            signer: principal.signed().map(|signed| &*signed.signer.name),
            amr: Methods(principal),
            cnf: Confirmation::of(principal),
            revision,
        }
    }

    /// Appends them as a JSON object.
    pub(super) fn write(&self, out: &mut Vec<u8>) -> serde_json::Result<()> {
        serde_json::to_writer(out, self)
    }
}

/// Completes a written object for one token.
pub(super) fn finish(claims: &[u8], issued_at: i64, expires_at: i64, random: [u8; 16]) -> Vec<u8> {
    let mut whole = Vec::with_capacity(claims.len() + 96);
    whole.extend_from_slice(claims.strip_suffix(b"}").unwrap_or(claims));
    let id = BASE64URL_NOPAD.encode(&random);
    whole.extend_from_slice(format!(r#","iat":{issued_at},"exp":{expires_at},"jti":"{id}"}}"#).as_bytes());
    whole
}

/// Scopes as one text with blanks between them. None of them holds a blank: whoever brings one in is held against RFC 6749 section 3.3.
#[derive(Debug)]
struct Scopes<'c>(&'c [Box<str>]);

impl fmt::Display for Scopes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, scope) in self.0.iter().enumerate() {
            f.write_str(if position == 0 { "" } else { " " })?;
            f.write_str(scope)?;
        }
        Ok(())
    }
}

impl Serialize for Scopes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The names of the proofs, as records have them.
#[derive(Debug)]
struct Methods<'c>(&'c Principal);

impl Serialize for Methods<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.proofs().map(|proof| match proof {
            Proof::Key(_) => "api_key",
            Proof::Token(_) => "jwt",
            Proof::Certificate(_) => "mtls",
            Proof::Signature(_) => "signature",
        }))
    }
}
