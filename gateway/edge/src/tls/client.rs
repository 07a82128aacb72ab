//! Whether handshakes ask clients for a certificate, and what is required of one.

use std::sync::Arc;

use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::{WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, UnixTime},
    server::{
        NoClientAuth,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};

/// Certificates of a chain, and bytes of it: what is more is refused before anything is parsed.
const CHAIN_MAX: usize = 8;
const CHAIN_BYTES_MAX: usize = 48 << 10;

/// Whether handshakes ask clients for a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asking {
    /// They do not: no client is troubled with a choice of certificates.
    Nobody,
    /// They do, and go on without one.
    Clients,
}

impl Asking {
    pub(super) fn verifier(self) -> Arc<dyn ClientCertVerifier> {
        match self {
            Self::Nobody => Arc::new(NoClientAuth),
            Self::Clients => Arc::new(HolderOfKey(aws_lc_rs::default_provider().signature_verification_algorithms)),
        }
    }
}

/// Checks that a client holds the key of the certificate that it shows, and nothing else.
///
/// Who vouches for it is for each request's route to say, over the authorities and revocation lists of its time: a handshake happens once,
/// a connection may last for days, and a resumed session brings its certificate along without any check.
#[derive(Debug)]
struct HolderOfKey(WebPkiSupportedAlgorithms);

impl ClientCertVerifier for HolderOfKey {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(&self, leaf: &CertificateDer<'_>, above: &[CertificateDer<'_>], _: UnixTime) -> Result<ClientCertVerified, Error> {
        let bytes = above.iter().map(|certificate| certificate.len()).sum::<usize>() + leaf.len();
        if above.len() >= CHAIN_MAX || bytes > CHAIN_BYTES_MAX {
            return Err(CertificateError::BadEncoding.into());
        }
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}
