//! Development certificates: a CA of one's own and a server certificate for loopback names; and a key that signs who calls.

use std::{
    fs::OpenOptions,
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use time::{Duration, OffsetDateTime};

/// The files of a development CA, its server certificate, and the key beside them.
#[derive(Debug, Clone)]
pub struct DevCertificates {
    /// The CA's certificate: what clients trust.
    pub ca: PathBuf,
    /// The server's certificate chain.
    pub certificate: PathBuf,
    /// The server's private key.
    pub key: PathBuf,
    /// The private key that signs who calls.
    pub principal: PathBuf,
}

/// Makes a CA, a server certificate and a key that signs who calls in `dir`, or keeps those that are there.
///
/// # Errors
/// When the folder or a file cannot be written.
pub fn development(dir: &Path, hosts: &[String], now: OffsetDateTime) -> Result<DevCertificates> {
    let files = DevCertificates {
        ca: dir.join("ca.pem"),
        certificate: dir.join("server.pem"),
        key: dir.join("server.key"),
        principal: dir.join("principal.key"),
    };
    std::fs::create_dir_all(dir).with_context(|| format!("cannot make the folder {}", dir.display()))?;
    if !files.principal.exists() {
        private(&files.principal, &KeyPair::generate_for(&rcgen::PKCS_ED25519)?.serialize_pem())?;
    }
    if files.ca.exists() && files.certificate.exists() && files.key.exists() {
        return Ok(files);
    }
    let ca_key = KeyPair::generate()?;
    let ca = authority(now);
    let ca_certificate = ca.self_signed(&ca_key)?;
    let issuer = Issuer::new(ca, &ca_key);
    let server_key = KeyPair::generate()?;
    let server = server(hosts, now)?.signed_by(&server_key, &issuer)?;
    private(&dir.join("ca.key"), &ca_key.serialize_pem())?;
    private(&files.key, &server_key.serialize_pem())?;
    std::fs::write(&files.certificate, format!("{}{}", server.pem(), ca_certificate.pem()))?;
    std::fs::write(&files.ca, ca_certificate.pem())?;
    Ok(files)
}

fn authority(now: OffsetDateTime) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.distinguished_name = name("Causeway development CA");
    params.not_before = now - Duration::hours(1);
    params.not_after = now + Duration::days(3_650);
    params
}

fn server(hosts: &[String], now: OffsetDateTime) -> Result<CertificateParams> {
    let mut params = CertificateParams::new(hosts.to_vec()).context("a host name cannot stand in a certificate")?;
    params.distinguished_name = name("Causeway development server");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.use_authority_key_identifier_extension = true;
    params.not_before = now - Duration::hours(1);
    // Browsers refuse server certificates that are valid for longer.
    params.not_after = now + Duration::days(397);
    Ok(params)
}

fn name(text: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, text);
    name
}

/// Writes a file that only its owner can read.
///
/// # Errors
/// When it cannot be written.
pub fn private(path: &Path, text: &str) -> Result<()> {
    let open = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
    let mut file = open.with_context(|| format!("cannot write {}", path.display()))?;
    file.write_all(text.as_bytes()).with_context(|| format!("cannot write {}", path.display()))
}
