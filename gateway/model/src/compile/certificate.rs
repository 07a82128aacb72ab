//! Compiles certificate authorities.

use std::{collections::HashMap, sync::Arc};

use rustls_pki_types::{CertificateRevocationListDer, TrustAnchor, pem::PemObject};
use webpki::{CertRevocationList, OwnedCertRevocationList, anchor_from_trusted_cert};
use x509_parser::{certificate::X509Certificate, prelude::FromDer, revocation_list::CertificateRevocationList};

use super::{Errors, is_name, names};
use crate::{
    certificate::{
        Name, Thumbprint,
        authority::{Authority, CrlDepth, ExpiredCrls, Holders},
    },
    identity::{CertificateAuthorityDoc, CertificateClientDoc, CrlDepthDoc, ExpiredCrlsDoc},
    structure::reach::roots,
    time::UtcMicros,
};

/// Sets of roots.
const AUTHORITIES_MAX: usize = 64;
/// Entries of one authority; a look-up costs the same for all.
const CLIENTS_MAX: usize = 10_000;
/// Lists of one authority: one for each issuer between a leaf and a root.
const CRLS_MAX: usize = 32;

/// The authorities that routes may name, in document order; one with a mistake is there as `None`.
pub(super) struct Authorities<'d> {
    pub(super) by_name: HashMap<&'d str, Option<Arc<Authority>>>,
    pub(super) order: Vec<&'d str>,
}

impl Authorities<'_> {
    /// Those without a mistake.
    pub(super) fn all(&self) -> Vec<Arc<Authority>> {
        self.order.iter().filter_map(|name| self.by_name.get(name)?.clone()).collect()
    }
}

/// Compiles `certificate_authorities`.
pub(super) fn authorities<'d>(docs: &'d [CertificateAuthorityDoc], errors: &mut Errors) -> Authorities<'d> {
    if docs.len() > AUTHORITIES_MAX {
        errors.add("certificate_authorities", format!("there are at most {AUTHORITIES_MAX} certificate authorities"));
    }
    let known = names("certificate_authorities", docs.iter().map(|doc| doc.name.as_str()), errors);
    let mut out = Authorities { by_name: HashMap::new(), order: Vec::new() };
    for (index, (doc, name)) in docs.iter().zip(known).enumerate() {
        out.order.push(&doc.name);
        out.by_name.insert(&doc.name, authority(doc, name, &format!("certificate_authorities[{index}]"), errors));
    }
    out
}

fn authority(doc: &CertificateAuthorityDoc, name: Arc<str>, at: &str, errors: &mut Errors) -> Option<Arc<Authority>> {
    let before = errors.0.len();
    let help = "trust a single client by its `thumbprint` in `clients`";
    let roots = anchors(doc.ca.as_deref(), Some(help), at, errors);
    let (crls, crls_end) = crls(doc, at, errors);
    let holders = holders(doc, at, errors);
    if errors.0.len() > before {
        return None;
    }
    let crl_depth = match doc.crl_depth {
        CrlDepthDoc::Leaf => CrlDepth::Leaf,
        CrlDepthDoc::Chain => CrlDepth::Chain,
    };
    let expired_crls = match doc.expired_crls {
        ExpiredCrlsDoc::Deny => ExpiredCrls::Deny,
        ExpiredCrlsDoc::Allow => ExpiredCrls::Allow,
    };
    let digest = Thumbprint::of(serde_json::to_string(doc).unwrap_or_default().as_bytes());
    Some(Arc::new(Authority { name, roots, crls, crl_depth, expired_crls, crls_end, holders, forward: doc.forward, digest }))
}

/// The roots of a set.
pub(super) type Anchors = Box<[TrustAnchor<'static>]>;

/// The roots of a PEM text; `help` is for whoever names what is no root.
pub(super) fn anchors(ca: Option<&str>, help: Option<&str>, at: &str, errors: &mut Errors) -> Anchors {
    let certificates = roots(ca).unwrap_or_else(|message| {
        errors.add(format!("{at}.ca"), message);
        None
    });
    let mut out = Vec::new();
    for (position, certificate) in certificates.iter().flatten().enumerate() {
        let parsed = X509Certificate::from_der(certificate).ok().map(|(_, parsed)| parsed);
        match (anchor_from_trusted_cert(certificate), parsed) {
            (Ok(anchor), Some(parsed)) if may_issue(&parsed) => out.push(anchor.to_owned()),
            (Ok(_), Some(_)) => errors.add_with_help(
                format!("{at}.ca"),
                format!("certificate {} of the text is no authority's: whoever holds its key could make certificates for every name", position + 1),
                help.map(ToOwned::to_owned),
            ),
            _ => errors.add(format!("{at}.ca"), format!("certificate {} of the text cannot be read", position + 1)),
        }
    }
    out.into()
}

/// Whether a certificate says that it is an authority's (RFC 5280 sections 4.2.1.3 and 4.2.1.9).
fn may_issue(certificate: &X509Certificate<'_>) -> bool {
    let signs = certificate.key_usage().map(|usage| usage.is_none_or(|usage| usage.value.key_cert_sign()));
    certificate.is_ca() && signs.unwrap_or(false)
}

type Crls = (Box<[CertRevocationList<'static>]>, Option<UtcMicros>);

fn crls(doc: &CertificateAuthorityDoc, at: &str, errors: &mut Errors) -> Crls {
    let at = format!("{at}.crls");
    let Some(text) = doc.crls.as_deref() else { return Crls::default() };
    if doc.ca.is_none() {
        errors.add(&at, "without `ca` there is nobody whose list this could be");
    }
    let Ok(lists) = CertificateRevocationListDer::pem_slice_iter(text.as_bytes()).collect::<Result<Vec<_>, _>>() else {
        errors.add(at, "the text is damaged: write PEM sections `X509 CRL`");
        return Crls::default();
    };
    if lists.is_empty() || lists.len() > CRLS_MAX {
        errors.add(&at, format!("write 1 to {CRLS_MAX} PEM sections `X509 CRL`; leave `crls` out where nothing is revoked this way"));
    }
    if lists.len() < text.matches("-----BEGIN ").count() && !lists.is_empty() {
        errors.add(&at, "the text holds other sections beside `X509 CRL`");
    }
    let (mut out, mut end) = (Vec::<CertRevocationList<'static>>::new(), None::<UtcMicros>);
    for (position, list) in lists.iter().enumerate() {
        let parsed = CertificateRevocationList::from_der(list);
        let (Ok(owned), Ok((_, parsed))) = (OwnedCertRevocationList::from_der(list), parsed) else {
            errors.add(&at, format!("list {} of the text cannot be read, or is of a kind that is not supported (RFC 5280 section 5)", position + 1));
            continue;
        };
        if let Some(next) = parsed.next_update() {
            let next = UtcMicros(next.timestamp().saturating_mul(1_000_000));
            end = Some(end.map_or(next, |end| end.min(next)));
        }
        let list = CertRevocationList::Owned(owned);
        // The verifier takes the first that fits: an old one before the new one would hide what the new one revokes.
        if out.iter().any(|other| other.issuer() == list.issuer() && other.issuing_distribution_point() == list.issuing_distribution_point()) {
            errors.add(&at, format!("list {} of the text has the same issuer as another one; keep the newest alone", position + 1));
        }
        out.push(list);
    }
    (out.into(), end)
}

fn holders(doc: &CertificateAuthorityDoc, at: &str, errors: &mut Errors) -> Holders {
    let mut out = Holders::default();
    let application = |name: &str, at: String, errors: &mut Errors| {
        if !is_name(name) {
            errors.add(at, format!("`{name}` is not the name of an application"));
        }
        Arc::<str>::from(name)
    };
    out.others = doc.application.as_ref().map(|name| application(name, format!("{at}.application"), errors));
    if doc.ca.is_none() && out.others.is_some() {
        errors.add_with_help(
            format!("{at}.application"),
            "without `ca` this would let everybody in who can make a certificate",
            Some("write `clients` with thumbprints, or the roots in `ca`".to_owned()),
        );
    }
    if out.others.is_none() && doc.clients.is_empty() {
        errors.add(at, "it is not said whose its certificates are: write `application`, or `clients`");
    }
    if doc.clients.len() > CLIENTS_MAX {
        errors.add(format!("{at}.clients"), format!("there are at most {CLIENTS_MAX} clients"));
    }
    for (position, client) in doc.clients.iter().enumerate() {
        let at = format!("{at}.clients[{position}]");
        let holder = application(&client.application, format!("{at}.application"), errors);
        let is_new = match known_by(client, &at, doc.ca.is_some(), errors) {
            None => continue,
            Some(KnownBy::Name(name)) => out.by_name.insert(name, holder).is_none(),
            Some(KnownBy::Thumbprint(thumbprint)) => out.by_thumbprint.insert(thumbprint, holder).is_none(),
        };
        if !is_new {
            errors.add(at, "another entry has the same name");
        }
    }
    out
}

enum KnownBy {
    Name(Name),
    Thumbprint(Thumbprint),
}

fn known_by(client: &CertificateClientDoc, at: &str, has_roots: bool, errors: &mut Errors) -> Option<KnownBy> {
    let (kind, text, name): (&str, &str, fn(&str) -> Name) = match (&client.dns, &client.uri, &client.email, &client.thumbprint) {
        (Some(text), None, None, None) => ("dns", text, |text| Name::Dns(text.to_ascii_lowercase().into())),
        (None, Some(text), None, None) => ("uri", text, |text| Name::Uri(text.into())),
        (None, None, Some(text), None) => ("email", text, |text| Name::Email(text.into())),
        (None, None, None, Some(text)) => {
            let thumbprint = Thumbprint::parse(text);
            if thumbprint.is_none() {
                errors.add(format!("{at}.thumbprint"), "write the certificate's SHA-256 hash: 64 hexadecimal digits, with or without colons");
            }
            return thumbprint.map(KnownBy::Thumbprint);
        }
        _ => {
            errors.add(at, "write exactly one of `dns`, `uri`, `email` and `thumbprint`");
            return None;
        }
    };
    let at = format!("{at}.{kind}");
    if !has_roots {
        errors.add(&at, "without `ca` anybody could write this name into a certificate; write `thumbprint`, or the roots in `ca`");
    }
    if kind == "dns" && text.contains('*') {
        errors.add(&at, "a wildcard is no client's name; write the name that stands in the certificate");
    }
    if text.is_empty() || text.len() > 1_024 || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        errors.add(&at, "write 1 to 1024 visible ASCII characters, as the certificate has them");
        return None;
    }
    Some(KnownBy::Name(name(text)))
}

#[cfg(test)]
mod tests;
