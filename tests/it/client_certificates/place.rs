//! A node whose routes ask for certificates, the authorities, and those who hold certificates.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use data_encoding::BASE64URL_NOPAD;
use harness::client::Version;
use harness::issuer::Issuer;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyIdMethod,
    KeyPair, KeyUsagePurpose, RevokedCertParams, SanType, SerialNumber, date_time_ymd,
};
use reqwest::Response;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{
    ClientSessionMemoryCache, ClientSessionStore, ResolvesClientCert, Resumption, Tls12ClientSessionValue, Tls13ClientSessionValue,
};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, DigitallySignedStruct, NamedGroup, RootCertStore, SignatureScheme, SupportedProtocolVersion};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use serde_json::{Value, json};
use tokio_rustls::client::TlsStream;

use crate::operation::{Running, Station, dial, once};
use crate::service::{Service, ok, raw};
use crate::site::upstream;
use crate::tokens::verdict;

/// An authority and the chain that its certificates need.
pub(crate) struct Ca {
    issuer: CertifiedIssuer<'static, KeyPair>,
    chain: String,
}

impl Ca {
    fn params(name: &str) -> CertificateParams {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(DnType::CommonName, name);
        params
    }

    pub(crate) fn root(name: &str) -> Self {
        let issuer = CertifiedIssuer::self_signed(Self::params(name), KeyPair::generate().unwrap()).unwrap();
        Self { issuer, chain: String::new() }
    }

    fn below(&self, name: &str) -> Self {
        let issuer = CertifiedIssuer::signed_by(Self::params(name), KeyPair::generate().unwrap(), &self.issuer).unwrap();
        let chain = issuer.pem();
        Self { issuer, chain }
    }

    pub(crate) fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// Somebody with a certificate for a name.
    pub(crate) fn holder(&self, name: &str) -> Holder {
        self.holder_with(name, &|_| {})
    }

    pub(crate) fn holder_with(&self, name: &str, change: &dyn Fn(&mut CertificateParams)) -> Holder {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.subject_alt_names = vec![SanType::DnsName(name.try_into().unwrap())];
        change(&mut params);
        let leaf = params.signed_by(&key, &self.issuer).unwrap();
        let thumbprint = BASE64URL_NOPAD.encode(sha256(leaf.der()).as_ref());
        Holder { chain: format!("{}{}", leaf.pem(), self.chain), key: key.serialize_pem(), leaf: leaf.der().to_vec(), thumbprint }
    }
}

fn sha256(bytes: &[u8]) -> aws_lc_rs::digest::Digest {
    aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes)
}

/// Who holds a certificate and its key.
pub(crate) struct Holder {
    chain: String,
    key: String,
    /// The certificate, in DER form.
    pub(crate) leaf: Vec<u8>,
    /// `x5t#S256`.
    pub(crate) thumbprint: String,
}

impl Holder {
    /// The same, without what stands above the certificate.
    pub(crate) fn alone(mut self) -> Self {
        let end = self.chain.find("-----END CERTIFICATE-----").unwrap() + "-----END CERTIFICATE-----\n".len();
        self.chain.truncate(end);
        self
    }

    /// Chain and key, as files have them.
    pub(crate) fn pem(&self) -> [&str; 2] {
        [&self.chain, &self.key]
    }

    /// Certificate and key, for a client.
    pub(crate) fn identity(&self) -> reqwest::Identity {
        reqwest::Identity::from_pem(format!("{}{}", self.key, self.chain).as_bytes()).unwrap()
    }

    fn parts(&self) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let chain = CertificateDer::pem_slice_iter(self.chain.as_bytes()).map(Result::unwrap).collect();
        (chain, PrivateKeyDer::from_pem_slice(self.key.as_bytes()).unwrap())
    }
}

/// A revocation list that ends with a year's first day.
pub(crate) fn crl(ca: &Ca, until_year: i32, serials: &[u64]) -> String {
    let revoked = |serial: &u64| RevokedCertParams {
        serial_number: SerialNumber::from(*serial),
        revocation_time: date_time_ymd(2025, 6, 1),
        reason_code: None,
        invalidity_date: None,
    };
    let params = CertificateRevocationListParams {
        this_update: date_time_ymd(2025, 1, 1),
        next_update: date_time_ymd(until_year, 1, 1),
        crl_number: SerialNumber::from(1_u64),
        issuing_distribution_point: None,
        revoked_certs: serials.iter().map(revoked).collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    params.signed_by(&ca.issuer).unwrap().pem().unwrap()
}

/// How often a client was asked for a certificate.
#[derive(Debug)]
pub(crate) struct Asked {
    key: Arc<CertifiedKey>,
    times: AtomicUsize,
}

impl Asked {
    pub(crate) fn times(&self) -> usize {
        self.times.load(Ordering::SeqCst)
    }
}

impl ResolvesClientCert for Asked {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.times.fetch_add(1, Ordering::SeqCst);
        Some(Arc::clone(&self.key))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// Takes any server for the right one: names that the node's certificate lacks can be asked for.
#[derive(Debug)]
struct AnyServer;

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(&self, _: &[u8], _: &CertificateDer<'_>, _: &DigitallySignedStruct) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(&self, _: &[u8], _: &CertificateDer<'_>, _: &DigitallySignedStruct) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

/// Keeps sessions as if all servers had one name.
#[derive(Debug)]
struct OneSession(ClientSessionMemoryCache);

fn everywhere() -> ServerName<'static> {
    ServerName::try_from("everywhere.example").unwrap()
}

impl ClientSessionStore for OneSession {
    fn set_kx_hint(&self, _: ServerName<'static>, group: NamedGroup) {
        self.0.set_kx_hint(everywhere(), group);
    }

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        self.0.kx_hint(&everywhere())
    }

    fn set_tls12_session(&self, _: ServerName<'static>, value: Tls12ClientSessionValue) {
        self.0.set_tls12_session(everywhere(), value);
    }

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.0.tls12_session(&everywhere())
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {
        self.0.remove_tls12_session(&everywhere());
    }

    fn insert_tls13_ticket(&self, _: ServerName<'static>, value: Tls13ClientSessionValue) {
        self.0.insert_tls13_ticket(everywhere(), value);
    }

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.0.take_tls13_ticket(&everywhere())
    }
}

/// One connection of a holder.
pub(crate) struct Raw(TlsStream<tokio::net::TcpStream>);

impl Raw {
    /// The head of an answer.
    pub(crate) async fn request(mut self, path: &str) -> String {
        once(&mut self.0, &format!("GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n")).await.unwrap()
    }
}

/// A node with routes for certificates, alone, beside keys and beside tokens.
pub(crate) struct Place {
    pub(crate) station: Station,
    node: Running,
    pub(crate) service: Service,
    pub(crate) ca: Ca,
    pub(crate) middle: Ca,
    pub(crate) foreign: Ca,
    port: u16,
    chat_port: u16,
    _chat: harness::websocket::Echo,
}

impl Place {
    pub(crate) async fn start() -> Self {
        let station = Station::start(|text| format!("{text}limits: {{ failures_per_prefix: 100000 }}\n")).await;
        let node = station.serve().await;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        listener.set_nonblocking(true).unwrap();
        let service = Service::start(tokio::net::TcpListener::from_std(listener).unwrap(), |seen| {
            let cached = "HTTP/1.1 200 OK\r\ncache-control: public, max-age=60\r\ncontent-length: 1\r\n\r\n1";
            if seen.line().contains("/cached") { raw(cached) } else { ok("served") }
        });
        let (chat, address) = harness::websocket::Echo::anywhere().await.unwrap();
        let ca = Ca::root("partners");
        let middle = ca.below("middle");
        let foreign = Ca::root("partners");
        let place = Self { station, node, service, ca, middle, foreign, port, chat_port: address.port(), _chat: chat };
        place.apply(&json!({})).await;
        place
    }

    /// Puts the authority in force, with other members.
    pub(crate) async fn apply(&self, more: &Value) {
        self.apply_document(&self.document(more, None)).await;
    }

    /// Puts an issuer in force whose tokens may be bound.
    pub(crate) async fn apply_with_issuer(&self, issuer: &Issuer, certificate_bound: &str) {
        let issuer = json!({
            "name": "accounts", "issuer": issuer.url(), "jwks": format!("{}/keys", issuer.url()), "audiences": ["api"],
            "application_claim": "azp", "ca": std::fs::read_to_string(self.station.ca()).unwrap(), "private_addresses": true,
            "certificate_bound": certificate_bound,
        });
        self.apply_document(&self.document(&json!({}), Some(&issuer))).await;
    }

    async fn apply_document(&self, document: &Value) {
        self.station.put(document, &self.node).await;
    }

    fn document(&self, more: &Value, issuer: Option<&Value>) -> Value {
        let crls = [crl(&self.ca, 2100, &[66]), crl(&self.middle, 2100, &[67])].concat();
        let mut authority = json!({
            "name": "partners", "ca": self.ca.pem(), "crls": crls,
            "clients": [
                { "application": "default", "dns": "web.partner.example" },
                { "application": "default", "dns": "app.partner.example" },
                { "application": "rival", "dns": "rival.partner.example" },
                { "application": "stranger", "dns": "tenant.partner.example" },
                { "application": "missing", "dns": "nobody.partner.example" },
            ],
        });
        authority.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        authority.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        let route = |name: &str, auth: Value, more: Value| {
            let place = json!({ "path": format!("/{name}/**"), "host": "127.0.0.1" });
            let mut route = json!({ "name": name, "match": place, "upstream": "echo", "auth": auth });
            route.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            route
        };
        let told = json!({ "headers": { "request": { "set": { "x-who": "${subject}", "x-app": "${application}" } } } });
        let mut document = json!({
            "version": 1,
            "regions": [{ "name": "eu-west" }, { "name": "us-east" }],
            "tenants": [{ "name": "demo", "hosts": ["127.0.0.1", "localhost", "plain.example", "bound.example"] }, { "name": "foreign", "hosts": ["foreign.example"] }],
            "plans": [{ "name": "free", "limits": { "burst": { "rate": "200/s", "burst": 400 } } }],
            "consumers": [{ "name": "demo", "tenant": "demo" }, { "name": "rival", "tenant": "demo" }, { "name": "stranger", "tenant": "foreign" }],
            "applications": [
                { "name": "default", "consumer": "demo", "plan": "free", "scopes": ["read", "own"] },
                { "name": "rival", "consumer": "rival", "plan": "free" },
                { "name": "stranger", "consumer": "stranger" },
            ],
            "certificate_authorities": [authority],
            "upstreams": [upstream("echo", self.port), upstream("chat", self.chat_port)],
            "routes": [
                route("open", json!("none"), json!({})),
                route("keyless", json!("none"), json!({ "match": { "path": "/keyless/**", "host": "plain.example" } })),
                route("named", json!("mtls"), json!({ "match": { "path": "/named/**", "host": "localhost" } })),
                route("cert", json!("mtls"), told),
                route("either", json!({ "any_of": ["api_key", "mtls"] }), json!({})),
                route("both", json!({ "all_of": ["api_key", "mtls"] }), json!({})),
                route("limited", json!("mtls"), json!({ "limits": [{ "name": "few", "rate": "3/h" }] })),
                route("cached", json!("mtls"), json!({ "cache": {}, "consistency": { "reads": { "mode": "eventual" } } })),
                route("bound", json!("api_key"), json!({ "client_certificate": "ask", "match": { "path": "/bound/**", "host": ["127.0.0.1", "bound.example"] } })),
                route("unasked", json!("api_key"), json!({ "match": { "path": "/unasked/**", "host": "plain.example" } })),
                route("talk", json!("api_key"), json!({ "upstream": "chat", "websocket": {}, "client_certificate": "ask" })),
                route("chat", json!("mtls"), json!({ "upstream": "chat", "websocket": {} })),
            ],
        });
        if let Some(issuer) = issuer {
            document["issuers"] = json!([issuer]);
            document["routes"].as_array_mut().unwrap().push(route("token", json!("jwt"), json!({})));
        }
        document
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(self.station.ca()).unwrap() {
            roots.add(certificate.unwrap()).unwrap();
        }
        roots
    }

    /// How a holder connects, with sessions that can be resumed.
    pub(crate) fn tls(&self, holder: &Holder, versions: &[&'static SupportedProtocolVersion]) -> Arc<ClientConfig> {
        let (chain, key) = holder.parts();
        let builder = ClientConfig::builder_with_protocol_versions(versions).with_root_certificates(self.roots());
        let mut config = builder.with_client_auth_cert(chain, key).unwrap();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Arc::new(config)
    }

    /// The same without a look at the server's name, offering any session anywhere; and how often it was asked.
    pub(crate) fn watching(holder: &Holder) -> (Arc<Asked>, Arc<ClientConfig>) {
        let (chain, key) = holder.parts();
        let key = CertifiedKey::from_der(chain, key, &rustls::crypto::aws_lc_rs::default_provider()).unwrap();
        let asked = Arc::new(Asked { key: Arc::new(key), times: AtomicUsize::new(0) });
        let resolver: Arc<dyn ResolvesClientCert> = Arc::<Asked>::clone(&asked);
        harness::client::install_provider();
        let builder = ClientConfig::builder().dangerous().with_custom_certificate_verifier(Arc::new(AnyServer));
        let mut config = builder.with_client_cert_resolver(resolver);
        config.resumption = Resumption::store(Arc::new(OneSession(ClientSessionMemoryCache::new(8))));
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        (asked, Arc::new(config))
    }

    pub(crate) async fn connect(&self, name: &str, config: &Arc<ClientConfig>) -> TlsStream<tokio::net::TcpStream> {
        dial(self.station.address(), None, b"", name, Arc::clone(config)).await.unwrap()
    }

    pub(crate) async fn raw(&self, holder: &Holder, name: &str, versions: &[&'static SupportedProtocolVersion]) -> Raw {
        Raw(self.connect(name, &self.tls(holder, versions)).await)
    }

    /// A client that keeps its connection.
    pub(crate) fn client(&self, holder: &Holder, version: Version) -> reqwest::Client {
        harness::client::install_provider();
        let roots = reqwest::Certificate::from_pem_bundle(&std::fs::read(self.station.ca()).unwrap()).unwrap();
        let builder = reqwest::Client::builder().tls_certs_only(roots).identity(holder.identity()).no_proxy();
        match version {
            Version::Http1 => builder.http1_only(),
            Version::Http2 => builder.http2_prior_knowledge(),
        }
        .build()
        .unwrap()
    }

    async fn ask(&self, client: &reqwest::Client, path: &str, fields: &[(&str, &str)]) -> Response {
        let request = client.get(format!("{}{path}", self.station.region.data));
        fields.iter().fold(request, |request, (name, value)| request.header(*name, *value)).send().await.unwrap()
    }

    pub(crate) async fn get(&self, holder: &Holder, version: Version, path: &str, fields: &[(&str, &str)]) -> Response {
        self.ask(&self.client(holder, version), path, fields).await
    }

    /// Status and problem code.
    pub(crate) async fn judged(&self, holder: &Holder, path: &str, fields: &[(&str, &str)]) -> (u16, String) {
        verdict(self.get(holder, Version::Http2, path, fields).await).await
    }

    pub(crate) async fn verdict_of(&self, client: &reqwest::Client, path: &str) -> (u16, String) {
        verdict(self.ask(client, path, &[]).await).await
    }

    pub(crate) async fn anonymous(&self, version: Version, path: &str) -> (u16, String) {
        self.anonymous_with(version, path, &[]).await
    }

    pub(crate) async fn anonymous_with(&self, version: Version, path: &str, fields: &[(&str, &str)]) -> (u16, String) {
        verdict(self.ask(&self.station.http(version), path, fields).await).await
    }

    /// How many certificates were refused for a reason.
    pub(crate) async fn refusals(&self, reason: &str) -> f64 {
        self.station.metric(&format!("causeway_certificates_refused_total{{reason=\"{reason}\"}}")).await
    }

    pub(crate) async fn stop(self) {
        drop(self.node);
        self.station.stop().await;
    }
}
