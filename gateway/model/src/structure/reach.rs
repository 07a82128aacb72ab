//! How a service's endpoints are spoken to: which HTTP, and TLS.

use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject};
use serde::{Deserialize, Serialize};

/// Which HTTP, and TLS or none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Reach {
    /// Which HTTP.
    pub version: HttpVersion,
    /// TLS, for `https://` targets.
    pub tls: Option<ReachTls>,
    /// For another region's gateway: the service behind it. Each has connections of its own, so that none waits for another's slow clients.
    pub behind: Option<Box<str>>,
}

/// Which HTTP a service is spoken to with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum HttpVersion {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2: by prior knowledge without TLS (RFC 9113 section 3.3), by ALPN with it.
    Http2,
    /// What the service chooses by ALPN, HTTP/2 preferred.
    Negotiated,
}

/// TLS towards a service.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ReachTls {
    /// The roots that are trusted; the system's when `None`.
    pub ca: Option<Box<[CertificateDer<'static>]>>,
    /// The name that the certificate must have, and the SNI.
    pub server_name: Box<str>,
    /// The identity of the node by which it proves itself to the service.
    pub identity: Option<Box<str>>,
}

/// `upstreams[].protocol`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProtocolDoc {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2.
    Http2,
    /// What the service chooses by ALPN: only with `https://`.
    Auto,
}

/// `upstreams[].tls`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct UpstreamTlsDoc {
    /// PEM certificates of the roots to trust instead of the system's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca: Option<String>,
    /// The name in the certificate, when it is not the target's host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
    /// The name of an identity: each node file says where its certificate and key lie.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_certificate: Option<String>,
}

impl UpstreamTlsDoc {
    /// The roots, decoded.
    ///
    /// # Errors
    /// A sentence for the person who wrote them.
    pub fn roots(&self) -> Result<Option<Box<[CertificateDer<'static>]>>, String> {
        roots(self.ca.as_deref())
    }
}

/// The certificates of a PEM text, if there is one.
///
/// # Errors
/// A sentence for the person who wrote it.
pub fn roots(text: Option<&str>) -> Result<Option<Box<[CertificateDer<'static>]>>, String> {
    let Some(text) = text else { return Ok(None) };
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
    match found {
        // A private key that was pasted along would be stored, and shown to whoever may read the configuration.
        Ok(found) if found.len() < text.matches("-----BEGIN ").count() && !found.is_empty() => {
            Err("it holds other sections beside `CERTIFICATE`; paste the certificates alone, and never a private key".to_owned())
        }
        Ok(found) if found.is_empty() => Err("it holds no `-----BEGIN CERTIFICATE-----`; paste the PEM text of the CA".to_owned()),
        Ok(found) => Ok(Some(found.into())),
        Err(error) => Err(format!("it is not valid PEM: {error}")),
    }
}

/// Whether a certificate can carry this name.
pub fn is_server_name(text: &str) -> bool {
    ServerName::try_from(text).is_ok()
}
