//! A client's certificate: what it says, and whether an authority vouches for it.
//!
//! # Source
//! RFC 5280 §4.1, §4.2.1.6 and §6; RFC 8705 §3.1; RFC 9440 §2.1.

pub mod authority;

use std::fmt;

use data_encoding::HEXLOWER;
use rustls_pki_types::CertificateDer;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use x509_parser::{
    certificate::X509Certificate,
    extensions::GeneralName,
    objects::{oid_registry, oid2abbrev},
    oid_registry::OID_X509_EXT_SUBJECT_ALT_NAME,
    prelude::{FromDer, ParsedExtension},
    x509::X509Name,
};

use crate::{key::fingerprint_plain, time::UtcMicros};

/// A leaf and what stands between it and a root.
const CHAIN_MAX: usize = 8;
/// One certificate of a chain; usual ones have one or two KiB.
const CERTIFICATE_BYTES_MAX: usize = 16 << 10;
/// Names that are read; a certificate with more is refused, so that none is overlooked.
const NAMES_MAX: usize = 64;
/// One name, and a subject in a record.
const NAME_BYTES_MAX: usize = 1_024;

/// Why a certificate cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CertificateFault {
    /// There is none.
    #[error("the chain is empty")]
    Empty,
    /// More than 8 certificates, or one above 16 KiB.
    #[error("the chain has more than {CHAIN_MAX} certificates, or one of more than 16 KiB")]
    Large,
    /// The leaf is no X.509 certificate.
    #[error("the first certificate cannot be read")]
    Leaf,
    /// Two certificates of one subject, or one above the leaf that cannot be read. Each step of a chain must have one candidate: with several,
    /// somebody unknown could have a hundred signatures checked.
    #[error("two certificates of the chain have the same subject, or one cannot be read")]
    Chain,
    /// More than 64 names, or one above 1 KiB.
    #[error("the first certificate has more than {NAMES_MAX} names, or one that cannot be read")]
    Names,
}

/// A name of a certificate's holder (`subjectAltName`).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Name {
    /// A host name, in lower case.
    Dns(Box<str>),
    /// A URI, as it stands; SPIFFE ids are such.
    Uri(Box<str>),
    /// An address of mail, as it stands.
    Email(Box<str>),
}

impl Name {
    /// The name without its kind.
    pub const fn text(&self) -> &str {
        match self {
            Self::Dns(text) | Self::Uri(text) | Self::Email(text) => text,
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self {
            Self::Dns(_) => "dns",
            Self::Uri(_) => "uri",
            Self::Email(_) => "email",
        };
        write!(f, "{kind}:{}", self.text())
    }
}

/// The SHA-256 hash of a certificate's DER form: `x5t#S256` of RFC 8705 §3.1.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Thumbprint(pub [u8; 32]);

impl Thumbprint {
    /// The hash of a certificate.
    pub fn of(certificate: &[u8]) -> Self {
        Self(fingerprint_plain(certificate))
    }

    /// The first half of the hash, as a number that tells certificates apart.
    pub fn number(self) -> u128 {
        self.0.first_chunk().copied().map_or(0, u128::from_be_bytes)
    }

    /// Reads 64 hexadecimal digits, with or without colons, as `openssl x509 -fingerprint -sha256` writes them.
    pub fn parse(text: &str) -> Option<Self> {
        let digits: String = text.chars().filter(|char| *char != ':').map(|char| char.to_ascii_lowercase()).collect();
        HEXLOWER.decode(digits.as_bytes()).ok()?.try_into().ok().map(Self)
    }
}

impl Serialize for Thumbprint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Thumbprint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| de::Error::custom("a thumbprint has 64 hexadecimal digits"))
    }
}

impl fmt::Display for Thumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for Thumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A chain that a client sent, leaf first. The client has proved that it holds the leaf's key, and nothing else yet.
pub struct ClientCertificate {
    chain: Box<[CertificateDer<'static>]>,
    thumbprint: Thumbprint,
    names: Box<[Name]>,
    subject: Box<str>,
    not_before: UtcMicros,
    not_after: UtcMicros,
    /// When the others of the chain end.
    ends_above: Box<[UtcMicros]>,
}

/// Names of holders may be names of people: they stay out of logs.
impl fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientCertificate").field("thumbprint", &self.thumbprint).finish_non_exhaustive()
    }
}

impl ClientCertificate {
    /// Reads a chain.
    ///
    /// # Errors
    /// A [`CertificateFault`] when it is too large or its leaf cannot be read. Whether the chain is one is for
    /// [`authority::Authority::verify`] to say.
    pub fn read(chain: Vec<CertificateDer<'static>>) -> Result<Self, CertificateFault> {
        let leaf = chain.first().ok_or(CertificateFault::Empty)?;
        if chain.len() > CHAIN_MAX || chain.iter().any(|certificate| certificate.len() > CERTIFICATE_BYTES_MAX) {
            return Err(CertificateFault::Large);
        }
        let (rest, parsed) = X509Certificate::from_der(leaf).map_err(|_| CertificateFault::Leaf)?;
        if !rest.is_empty() {
            return Err(CertificateFault::Leaf);
        }
        let names = names(&parsed)?;
        let thumbprint = Thumbprint::of(leaf);
        let subject = subject(parsed.subject()).unwrap_or_else(|| format!("sha256:{thumbprint}").into());
        let validity = parsed.validity();
        let (not_before, not_after) = (micros(validity.not_before.timestamp()), micros(validity.not_after.timestamp()));
        let ends_above = above(&chain, &parsed)?;
        Ok(Self { thumbprint, names, subject, not_before, not_after, ends_above, chain: chain.into() })
    }

    /// The hash of the leaf.
    pub const fn thumbprint(&self) -> Thumbprint {
        self.thumbprint
    }

    /// The names of the leaf's holder, in the certificate's order.
    pub fn names(&self) -> &[Name] {
        &self.names
    }

    /// The leaf's subject as RFC 4514 writes it, in no way that another subject could be written; its thumbprint where it has none, or none
    /// that can be written so.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// When the first of its certificates ends that has not ended at an instant: until then, a chain that held then holds.
    pub fn ends_after(&self, now: UtcMicros) -> UtcMicros {
        self.ends_above.iter().copied().filter(|end| *end > now).fold(self.not_after, UtcMicros::min)
    }

    /// The leaf in DER form.
    pub fn leaf(&self) -> &[u8] {
        self.chain.first().map_or(&[], |leaf| leaf)
    }

    /// Whether the leaf is valid at an instant.
    pub fn is_within_dates(&self, now: UtcMicros) -> bool {
        (self.not_before..=self.not_after).contains(&now)
    }
}

fn micros(seconds: i64) -> UtcMicros {
    UtcMicros(seconds.saturating_mul(1_000_000))
}

fn names(leaf: &X509Certificate<'_>) -> Result<Box<[Name]>, CertificateFault> {
    let mut out = Vec::new();
    for extension in leaf.extensions() {
        if extension.oid != OID_X509_EXT_SUBJECT_ALT_NAME {
            continue;
        }
        let ParsedExtension::SubjectAlternativeName(alternatives) = extension.parsed_extension() else { return Err(CertificateFault::Names) };
        for name in &alternatives.general_names {
            let name = match name {
                GeneralName::DNSName(text) => Name::Dns(text.to_ascii_lowercase().into()),
                GeneralName::URI(text) => Name::Uri((*text).into()),
                GeneralName::RFC822Name(text) => Name::Email((*text).into()),
                GeneralName::Invalid(..) => return Err(CertificateFault::Names),
                // Nobody is known by these here.
                GeneralName::OtherName(..)
                | GeneralName::X400Address(_)
                | GeneralName::DirectoryName(_)
                | GeneralName::EDIPartyName(_)
                | GeneralName::IPAddress(_)
                | GeneralName::RegisteredID(_) => continue,
            };
            if out.len() == NAMES_MAX || name.text().len() > NAME_BYTES_MAX || !is_readable(name.text()) {
                return Err(CertificateFault::Names);
            }
            out.push(name);
        }
    }
    Ok(out.into())
}

/// Whether a name can stand in a record, in a header field and before a person: visible ASCII, as `IA5String` names have it.
fn is_readable(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// The ends of the certificates above a leaf, whose subjects must all differ.
fn above(chain: &[CertificateDer<'_>], leaf: &X509Certificate<'_>) -> Result<Box<[UtcMicros]>, CertificateFault> {
    let mut subjects = vec![leaf.subject().as_raw().to_vec()];
    let mut ends = Vec::new();
    for certificate in chain.iter().skip(1) {
        let (_, parsed) = X509Certificate::from_der(certificate).map_err(|_| CertificateFault::Chain)?;
        let subject = parsed.subject().as_raw().to_vec();
        if subjects.contains(&subject) {
            return Err(CertificateFault::Chain);
        }
        subjects.push(subject);
        ends.push(micros(parsed.validity().not_after.timestamp()));
    }
    Ok(ends.into())
}

/// A subject in one line (RFC 4514 section 2), the attributes in the certificate's order; `None` for one that is empty, too long, or has what
/// cannot be written as text.
fn subject(name: &X509Name<'_>) -> Option<Box<str>> {
    let mut out = String::new();
    for (position, part) in name.iter_rdn().enumerate() {
        for (place, attribute) in part.iter().enumerate() {
            if position + place > 0 {
                out.push(if place == 0 { ',' } else { '+' });
            }
            let value = attribute.as_str().ok().filter(|value| !value.chars().any(char::is_control))?;
            match oid2abbrev(attribute.attr_type(), oid_registry()) {
                Ok(short) => out.push_str(short),
                Err(_) => out.push_str(&attribute.attr_type().to_id_string()),
            }
            out.push('=');
            escape(value, &mut out);
        }
    }
    (1..=NAME_BYTES_MAX).contains(&out.len()).then(|| out.into())
}

/// RFC 4514 section 2.4.
fn escape(value: &str, out: &mut String) {
    for (at, char) in value.char_indices() {
        let is_edge = (at == 0 && matches!(char, ' ' | '#')) || (at + 1 == value.len() && char == ' ');
        if is_edge || matches!(char, '"' | '+' | ',' | ';' | '<' | '=' | '>' | '\\') {
            out.push('\\');
        }
        out.push(char);
    }
}

#[cfg(test)]
mod tests;
