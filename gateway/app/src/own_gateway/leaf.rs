//! TLS towards this node's own data listener: it is trusted by its very certificate, and by nothing else.
//!
//! No authority could vouch for it better: the certificates in force are in this process. So no root has to be configured, and a
//! certificate that some authority made for the same name opens nothing.

use std::sync::Arc;

use edge::tls::{Certificates, ChainTable};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, SignatureScheme,
    client::{
        Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls12_signature, verify_tls13_signature},
    version::{TLS12, TLS13},
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

/// TLS for one call.
///
/// # Errors
/// Never in practice: the provider has both versions.
pub(super) fn client_config(certificates: &Arc<Certificates>) -> Result<Arc<ClientConfig>, Error> {
    let provider = aws_lc_rs::default_provider();
    let own =
        OwnLeaf { before: certificates.in_force(), certificates: Arc::clone(certificates), algorithms: provider.signature_verification_algorithms };
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&TLS13, &TLS12])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(own))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    // Each call has its own configuration: there is nothing to resume.
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// Takes a leaf that is one of this node's own, whose key the other end has.
#[derive(Debug)]
struct OwnLeaf {
    /// Those in force when the call began: a reload in the middle of a handshake must not break it.
    before: Arc<ChainTable>,
    certificates: Arc<Certificates>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for OwnLeaf {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.before.holds(leaf) || self.certificates.in_force().holds(leaf) {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(CertificateError::ApplicationVerificationFailure.into())
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, leaf, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, leaf, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
