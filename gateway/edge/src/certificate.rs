//! The certificate that a client showed on its connection, and what its authorities say of it.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicU64, Ordering},
};

use data_encoding::{BASE64, BASE64URL_NOPAD};
use http::{HeaderName, HeaderValue};
use model::{
    certificate::{
        CertificateFault, ClientCertificate, Thumbprint,
        authority::{Authority, Holder, Refused},
    },
    time::{BootNanos, Now},
};
use parking_lot::Mutex;
use rustls_pki_types::CertificateDer;

/// RFC 9440 section 2.2.
pub const CLIENT_CERT: HeaderName = HeaderName::from_static("client-cert");

/// How long an authority's word is kept. The leaf's own dates are looked at each time; within this, those above it and those of
/// revocation lists are.
const WORD_KEPT_NANOS: u64 = 60_000_000_000;
/// Authorities whose word is kept for one connection.
const WORDS_MAX: usize = 8;

/// What a client showed of itself when its connection began.
#[derive(Debug, Clone, Default)]
pub enum Shown {
    /// It was not asked: no route of the host that it named needs a certificate.
    #[default]
    NotAsked,
    /// It was asked and has none.
    Nothing,
    /// The connection is a trusted hop's, whose certificate says nothing about the client behind it.
    OfHop,
    /// A certificate whose key it holds.
    Certificate(Arc<PeerCertificate>),
    /// Something that cannot be read as one.
    Unreadable(Arc<Unreadable>),
}

/// A certificate that cannot be read.
#[derive(Debug)]
pub struct Unreadable {
    /// Why.
    pub fault: CertificateFault,
    thumbprint_text: Box<str>,
}

impl Shown {
    /// What a finished handshake showed.
    pub fn of(chain: Option<&[CertificateDer<'static>]>) -> Self {
        match chain {
            None | Some([]) => Self::Nothing,
            Some(chain) => match ClientCertificate::read(chain.to_vec()) {
                Ok(certificate) => Self::Certificate(Arc::new(PeerCertificate::new(certificate))),
                Err(fault) => {
                    let thumbprint = chain.first().map(|leaf| Thumbprint::of(leaf));
                    Self::Unreadable(Arc::new(Unreadable { fault, thumbprint_text: thumbprint.map(base64url).unwrap_or_default() }))
                }
            },
        }
    }

    /// The thumbprint of what was shown, as records have it: `x5t#S256` (RFC 8705 section 3.1).
    pub fn thumbprint_text(&self) -> Option<&str> {
        match self {
            Self::Certificate(certificate) => Some(&certificate.thumbprint_text),
            Self::Unreadable(unreadable) => Some(&unreadable.thumbprint_text),
            Self::NotAsked | Self::Nothing | Self::OfHop => None,
        }
    }

    /// The certificate.
    pub const fn certificate(&self) -> Option<&Arc<PeerCertificate>> {
        if let Self::Certificate(certificate) = self { Some(certificate) } else { None }
    }
}

/// A client's certificate, for as long as its connection lasts.
#[derive(Debug)]
pub struct PeerCertificate {
    certificate: ClientCertificate,
    thumbprint_text: Box<str>,
    field: OnceLock<Option<HeaderValue>>,
    words: Mutex<Vec<Word>>,
}

/// What an authority said.
#[derive(Debug)]
struct Word {
    authority: Thumbprint,
    at: BootNanos,
    verdict: Result<Arc<Holder>, Refused>,
}

impl PeerCertificate {
    /// A certificate that nobody was asked about yet.
    pub fn new(certificate: ClientCertificate) -> Self {
        let thumbprint_text = base64url(certificate.thumbprint());
        Self { certificate, thumbprint_text, field: OnceLock::new(), words: Mutex::new(Vec::new()) }
    }

    /// What it says.
    pub const fn facts(&self) -> &ClientCertificate {
        &self.certificate
    }

    /// Its thumbprint as records and tokens have it: `x5t#S256` (RFC 8705 section 3.1).
    pub fn thumbprint_text(&self) -> &str {
        &self.thumbprint_text
    }

    /// Whom it stands for by an authority's word, which is kept for a minute.
    ///
    /// # Errors
    /// Why it stands for nobody.
    pub fn judge(&self, authority: &Authority, now: Now) -> Result<Arc<Holder>, Refused> {
        if !self.certificate.is_within_dates(now.wall) {
            return Err(Refused::Dates);
        }
        let mut words = self.words.lock();
        words.retain(|word| now.boot.nanos_since(word.at) <= WORD_KEPT_NANOS);
        if let Some(word) = words.iter().find(|word| word.authority == authority.digest()) {
            return word.verdict.clone();
        }
        let verdict = self.asked(authority, now);
        if words.len() == WORDS_MAX {
            words.remove(0);
        }
        words.push(Word { authority: authority.digest(), at: now.boot, verdict: verdict.clone() });
        verdict
    }

    fn asked(&self, authority: &Authority, now: Now) -> Result<Arc<Holder>, Refused> {
        authority.verify(&self.certificate, now.wall).map(Arc::new)
    }

    /// The certificate as a field for services (RFC 9440 section 2.1).
    pub fn field(&self) -> Option<HeaderValue> {
        let encode = || HeaderValue::from_str(&format!(":{}:", BASE64.encode(self.certificate.leaf()))).ok();
        self.field.get_or_init(encode).clone()
    }
}

fn base64url(thumbprint: Thumbprint) -> Box<str> {
    BASE64URL_NOPAD.encode(&thumbprint.0).into()
}

/// How many certificates did not get their client in, by reason.
#[derive(Debug, Default)]
pub struct Refusals([AtomicU64; Refused::ALL.len()]);

impl Refusals {
    /// Counts one.
    pub fn add(&self, why: Refused) {
        let place = Refused::ALL.iter().position(|known| *known == why).and_then(|at| self.0.get(at));
        if let Some(count) = place {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// All, with the names of the reasons.
    pub fn counts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Refused::ALL.iter().zip(&self.0).map(|(why, count)| (why.code(), count.load(Ordering::Relaxed)))
    }
}

#[cfg(test)]
mod tests;
