//! A deployment whose services the checker plays itself: byte by byte, well or badly, beside honest ones.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use harness::client::{self, Version};
use harness::dev::{self, Dev};
use harness::frames::{Frames, Wire};
use harness::node::{Node, Under};
use harness::process::Process;
use harness::wait;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;

/// How long a step of the set-up may take.
const SOON: Duration = Duration::from_secs(20);
/// Limits of the node under which one address may fail and connect as often as a checker needs.
const WIDE: &str = "handshakes_per_address: 1000000, failures_per_prefix: 10000000";

/// One region's node with routes to services of our own.
pub(crate) struct Ground {
    pub(crate) dev: Dev,
    pub(crate) node: Node,
    pub(crate) door: Door,
    files: PathBuf,
}

/// Where clients knock.
#[derive(Clone)]
pub(crate) struct Door {
    pub(crate) address: SocketAddr,
    /// `None`: plain TCP, a stand-in for the gateway that a mutant puts there.
    tls: Option<Tls>,
    ca: PathBuf,
}

#[derive(Clone)]
struct Tls {
    http1: TlsConnector,
    http2: TlsConnector,
}

impl Ground {
    /// Starts a deployment, restarts the writer's node with wide limits and `limits` (members of a YAML map), applies `document`
    /// and waits until `probe`, a path, is answered by a service.
    pub(crate) async fn start(limits: &str, document: &Value, probe: &str) -> Result<Self> {
        let dev = Dev::start().await?;
        let region = dev.writer()?.clone();
        let mut node = Node::adopt(&dev, &region)?;
        node.kill().await?;
        let comma = if limits.is_empty() { "" } else { ", " };
        node.reconfigure(|text| format!("{text}limits: {{ {WIDE}{comma}{limits} }}\n"))?;
        node.start(Under::Bare).await?;
        let ca = dev.ready().ca.clone();
        let tls = Tls { http1: connector(&ca, "http/1.1")?, http2: connector(&ca, "h2")? };
        let door = Door { address: region.data_address()?, tls: Some(tls), ca: ca.clone() };
        let ground = Self { files: ca.with_file_name("ground.json"), dev, node, door };
        ground.apply(document).await?;
        let http = client::http(&ca, Version::Http1)?;
        let url = format!("{}{probe}", region.data);
        wait::until("the routes", SOON, async || http.get(&url).send().await.is_ok_and(|answer| answer.status() == 200)).await?;
        Ok(ground)
    }

    /// Makes the deployment equal to a gateway document, as an operator does.
    pub(crate) async fn apply(&self, document: &Value) -> Result<()> {
        std::fs::write(&self.files, document.to_string())?;
        let ready = self.dev.ready();
        let done = tokio::process::Command::new(dev::binary()?)
            .args(["apply", "-f"])
            .arg(&self.files)
            .env("CAUSEWAY_CONTROL", &self.dev.writer()?.control)
            .env("CAUSEWAY_TOKEN", &ready.operator_token)
            .env("CAUSEWAY_CA", &ready.ca)
            .stdin(Stdio::null())
            .output()
            .await?;
        ensure!(done.status.success(), "apply: {}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
        Ok(())
    }

    /// The node's process.
    pub(crate) fn process(&self) -> Process {
        self.node.process()
    }

    /// Stops everything.
    pub(crate) async fn stop(mut self) -> Result<()> {
        ensure!(self.process().is_alive(), "the node has ended under the checks");
        // Not stopped in order: that would wait for the connections that a claim has left.
        self.node.kill().await?;
        self.dev.stop().await
    }
}

impl Door {
    /// A plain door at `address` in place of the gateway's.
    pub(crate) fn stand_in(&self, address: SocketAddr) -> Self {
        Self { address, tls: None, ca: self.ca.clone() }
    }

    /// `https://` or `http://` with the address.
    pub(crate) fn url(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// An ordinary client.
    pub(crate) fn client(&self, version: Version) -> Result<reqwest::Client> {
        client::http(&self.ca, version)
    }

    /// Opens a connection.
    pub(crate) async fn connect(&self, version: Version) -> Result<Box<dyn Wire>> {
        let tcp = TcpStream::connect(self.address).await?;
        self.dress(tcp, version).await
    }

    /// Opens a connection of HTTP/2 with the given settings.
    pub(crate) async fn frames(&self, settings: &[(u16, u32)]) -> Result<Frames> {
        Frames::over(self.connect(Version::Http2).await?, settings).await
    }

    /// Completes the handshake over a connection.
    pub(crate) async fn dress(&self, tcp: TcpStream, version: Version) -> Result<Box<dyn Wire>> {
        tcp.set_nodelay(true)?;
        let Some(tls) = &self.tls else {
            return Ok(Box::new(tcp));
        };
        let connector = match version {
            Version::Http1 => &tls.http1,
            Version::Http2 => &tls.http2,
        };
        let stream = connector.connect(ServerName::try_from("127.0.0.1")?, tcp).await.context("the handshake failed")?;
        Ok(Box::new(stream))
    }
}

fn connector(ca: &Path, alpn: &str) -> Result<TlsConnector> {
    client::install_provider();
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(ca).with_context(|| format!("cannot read {}", ca.display()))? {
        roots.add(certificate?)?;
    }
    let mut config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![alpn.as_bytes().to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

/// A socket for a service, on a free port of 127.0.0.1.
pub(crate) async fn listener() -> Result<(TcpListener, u16)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let port = listener.local_addr()?.port();
    Ok((listener, port))
}

/// A service behind the route `/NAME/**`.
pub(crate) struct Service {
    pub(crate) name: &'static str,
    pub(crate) port: u16,
    /// Its `response` and `idle` deadlines, as a document has them.
    pub(crate) patience: &'static str,
    /// Further members of its route.
    pub(crate) route: Value,
}

impl Service {
    pub(crate) fn new(name: &'static str, port: u16) -> Self {
        Self { name, port, patience: "5s", route: json!({}) }
    }
}

/// A gateway document with open routes to the services.
pub(crate) fn document(services: &[Service]) -> Value {
    let upstreams: Vec<Value> = services
        .iter()
        .map(|service| {
            json!({
                "name": service.name,
                "regions": { "eu-west": { "targets": [format!("http://127.0.0.1:{}", service.port)], "role": "writer" } },
                "timeouts": { "connect": "1s", "response": service.patience, "idle": service.patience },
            })
        })
        .collect();
    let routes: Vec<Value> = services
        .iter()
        .map(|service| {
            let mut route = json!({
                "name": service.name, "match": { "path": format!("/{}/**", service.name) }, "auth": "none", "upstream": service.name, "timeout": "15s",
                // These claims are not about the disk, and a disk that others use too would make a request wait for its record.
                "audit": "buffered",
            });
            if let (Some(route), Some(more)) = (route.as_object_mut(), service.route.as_object()) {
                route.extend(more.clone());
            }
            route
        })
        .collect();
    json!({
        "version": 1,
        "regions": [{ "name": "eu-west" }, { "name": "us-east" }],
        "tenants": [{ "name": "demo", "hosts": ["127.0.0.1"] }],
        "upstreams": upstreams,
        "routes": routes,
    })
}
