//! One certificate chain with its key, and what can be said about it before a client sees it.

use std::{net::IpAddr, sync::Arc};

use rustls::{
    RootCertStore,
    client::{verify_server_cert_signed_by_trust_anchor, verify_server_name},
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
    server::{ParsedCertificate, WebPkiClientVerifier},
    sign::CertifiedKey,
};
use x509_parser::{
    certificate::X509Certificate,
    extensions::GeneralName,
    prelude::{FromDer, ParsedExtension},
};

use super::TlsError;

/// What stands in place of the asterisk when a certificate is asked whether it covers a wildcard: no other name would match.
const PROBE_LABEL: &str = "causeway-wildcard-probe";

/// A certificate chain, leaf first, with the private key of the leaf.
#[derive(Debug, Clone)]
pub struct Chain {
    key: Arc<CertifiedKey>,
    names: Vec<String>,
    not_before_unix: i64,
    not_after_unix: i64,
}

/// Why clients would not accept a chain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChainFault {
    /// The leaf's last day is over.
    #[error("the certificate expired {days} days ago")]
    Expired {
        /// Whole days since.
        days: i64,
    },
    /// The leaf's first day is still to come.
    #[error("the certificate is not valid for another {days} days; is the clock right?")]
    NotYetValid {
        /// Whole days until.
        days: i64,
    },
    /// A host that the chain is configured for does not stand in the certificate.
    #[error("the certificate does not name {host}; it names {names}")]
    Name {
        /// The host.
        host: String,
        /// What it names, separated by commas.
        names: String,
    },
    /// A certificate of the chain was not signed by the next one, or may not be used for servers.
    #[error("the certificates of the chain do not belong together: {reason}")]
    Chain {
        /// What the verifier said.
        reason: String,
    },
}

impl Chain {
    /// Reads a chain and its key.
    ///
    /// # Errors
    /// [`TlsError`] says which of the two texts is wrong, or that they do not belong together.
    pub fn read(certificate_pem: &[u8], key_pem: &[u8]) -> Result<Self, TlsError> {
        let chain: Vec<CertificateDer<'static>> =
            CertificateDer::pem_slice_iter(certificate_pem).collect::<Result<_, _>>().map_err(TlsError::Certificate)?;
        let leaf = chain.first().ok_or(TlsError::Certificate(rustls::pki_types::pem::Error::NoItemsFound))?;
        let (_, parsed) = X509Certificate::from_der(leaf).map_err(|_| TlsError::Leaf)?;
        let validity = parsed.validity();
        let (names, not_before_unix, not_after_unix) = (names(&parsed), validity.not_before.timestamp(), validity.not_after.timestamp());
        let key = PrivateKeyDer::from_pem_slice(key_pem).map_err(TlsError::Key)?;
        let key = CertifiedKey::from_der(chain, key, &provider()).map_err(TlsError::Pair)?;
        Ok(Self { key: Arc::new(key), names, not_before_unix, not_after_unix })
    }

    /// The names that the leaf is valid for: DNS names and addresses of its subject alternative name (RFC 5280 section 4.2.1.6).
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The end of the leaf's validity, in seconds since 1970.
    pub const fn not_after_unix(&self) -> i64 {
        self.not_after_unix
    }

    /// What rustls signs and sends.
    pub(super) const fn certified(&self) -> &Arc<CertifiedKey> {
        &self.key
    }

    /// Whether clients can accept it at `now_unix` (seconds since 1970): its dates, its names, and that each certificate
    /// signed the one before. The last certificate is taken for trusted, because only clients know what they trust.
    ///
    /// # Errors
    /// The first [`ChainFault`].
    pub fn verify(&self, hosts: &[String], now_unix: i64) -> Result<(), ChainFault> {
        self.dates(now_unix)?;
        let broken = |reason: &dyn std::fmt::Display| ChainFault::Chain { reason: reason.to_string() };
        let leaf = self.key.end_entity_cert().map_err(|error| broken(&error))?;
        let leaf = ParsedCertificate::try_from(leaf).map_err(|error| broken(&error))?;
        for host in hosts {
            let asked = host.strip_prefix("*.").map_or_else(|| host.clone(), |rest| format!("{PROBE_LABEL}.{rest}"));
            let is_named = ServerName::try_from(asked).is_ok_and(|name| verify_server_name(&leaf, &name).is_ok());
            if !is_named {
                return Err(ChainFault::Name { host: host.clone(), names: self.names.join(", ") });
            }
        }
        let [_, intermediates @ .., last] = self.key.cert.as_slice() else { return Ok(()) };
        let mut roots = RootCertStore::empty();
        roots.add(last.clone()).map_err(|error| broken(&error))?;
        let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(u64::try_from(now_unix).unwrap_or(0)));
        verify_server_cert_signed_by_trust_anchor(&leaf, &roots, intermediates, now, provider().signature_verification_algorithms.all)
            .map_err(|error| broken(&error))
    }

    /// Whether a service can accept it at `now_unix` from a client: its dates, and that each certificate signed the one before.
    ///
    /// # Errors
    /// The first [`ChainFault`].
    pub fn verify_for_clients(&self, now_unix: i64) -> Result<(), ChainFault> {
        self.dates(now_unix)?;
        let [leaf, intermediates @ .., last] = self.key.cert.as_slice() else { return Ok(()) };
        let broken = |reason: &dyn std::fmt::Display| ChainFault::Chain { reason: reason.to_string() };
        let mut roots = RootCertStore::empty();
        roots.add(last.clone()).map_err(|error| broken(&error))?;
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::new(provider())).build().map_err(|error| broken(&error))?;
        let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(u64::try_from(now_unix).unwrap_or(0)));
        verifier.verify_client_cert(leaf, intermediates, now).map(drop).map_err(|error| broken(&error))
    }

    /// Whether the leaf is valid at `now_unix`.
    ///
    /// # Errors
    /// [`ChainFault::Expired`] or [`ChainFault::NotYetValid`].
    pub const fn dates(&self, now_unix: i64) -> Result<(), ChainFault> {
        if now_unix > self.not_after_unix {
            return Err(ChainFault::Expired { days: (now_unix - self.not_after_unix) / 86_400 });
        }
        if now_unix < self.not_before_unix {
            return Err(ChainFault::NotYetValid { days: (self.not_before_unix - now_unix) / 86_400 });
        }
        Ok(())
    }
}

fn names(leaf: &X509Certificate<'_>) -> Vec<String> {
    let alternatives = leaf.extensions().iter().filter_map(|extension| {
        let ParsedExtension::SubjectAlternativeName(names) = extension.parsed_extension() else { return None };
        Some(&names.general_names)
    });
    alternatives.flatten().filter_map(name).collect()
}

fn name(name: &GeneralName<'_>) -> Option<String> {
    if let GeneralName::DNSName(name) = name {
        return Some(name.to_ascii_lowercase());
    }
    let GeneralName::IPAddress(bytes) = name else { return None };
    let address = <[u8; 4]>::try_from(*bytes).map(IpAddr::from).or_else(|_| <[u8; 16]>::try_from(*bytes).map(IpAddr::from));
    address.ok().map(|address| address.to_string())
}

fn provider() -> CryptoProvider {
    rustls::crypto::aws_lc_rs::default_provider()
}
