//! What tests of a node's operation share: a deployment whose first node's processes the test starts itself.

use std::ffi::OsString;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use harness::client::{self, Version};
use harness::dev::{Dev, RegionReady};
use harness::node::Node;
use harness::process::Process;
use harness::sql::Sql;
use harness::wait;
use reqwest::Response;
use rustls_pki_types::ServerName;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::calls::Calls;
use crate::site::{SOON, apply};
use crate::wire::{self, tcp};

pub(crate) const START_WITHIN: Duration = Duration::from_secs(40);

/// A deployment whose writer's node is down until the test starts it.
pub(crate) struct Station {
    pub(crate) dev: Dev,
    pub(crate) calls: Calls,
    pub(crate) region: RegionReady,
    arguments: Vec<OsString>,
    config: PathBuf,
    number: std::sync::atomic::AtomicUsize,
}

impl Station {
    /// Starts a deployment and takes the node of the writer down; `edit` changes its file.
    pub(crate) async fn start(edit: impl FnOnce(String) -> String) -> Self {
        let dev = Dev::start().await.unwrap();
        let region = dev.writer().unwrap().clone();
        let mut node = Node::adopt(&dev, &region).unwrap();
        let arguments = node.process().arguments().unwrap();
        node.kill().await.unwrap();
        let config = region.node_config.with_extension("operation.yaml");
        let text = std::fs::read_to_string(&region.node_config).unwrap();
        std::fs::write(&config, edit(text)).unwrap();
        let calls = Calls::of(dev.ready()).unwrap();
        Self { dev, calls, region, arguments, config, number: std::sync::atomic::AtomicUsize::new(0) }
    }

    pub(crate) fn folder(&self) -> &Path {
        self.region.node_config.parent().unwrap()
    }

    pub(crate) fn ca(&self) -> &Path {
        &self.dev.ready().ca
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.region.data_address().unwrap()
    }

    /// Changes the node file for processes that start from now on.
    pub(crate) fn edit(&self, edit: impl FnOnce(String) -> String) {
        let text = std::fs::read_to_string(&self.config).unwrap();
        std::fs::write(&self.config, edit(text)).unwrap();
    }

    /// Program and arguments of a node.
    pub(crate) fn arguments(&self) -> Vec<OsString> {
        let original = self.region.node_config.as_os_str();
        self.arguments.iter().map(|word| if word == original { self.config.clone().into() } else { word.clone() }).collect()
    }

    /// Starts a process of the node, changed by `prepare`.
    pub(crate) fn launch(&self, prepare: impl FnOnce(&mut Command)) -> Running {
        let arguments = self.arguments();
        let mut command = Command::new(&arguments[0]);
        command.args(&arguments[1..]).stdin(Stdio::null());
        self.run(command, prepare)
    }

    /// Starts a command, with a log of its own.
    pub(crate) fn run(&self, mut command: Command, prepare: impl FnOnce(&mut Command)) -> Running {
        let number = self.number.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let log = self.folder().join(format!("operation-{number}.log"));
        let output = std::fs::File::create(&log).unwrap();
        command.stdout(output.try_clone().unwrap()).stderr(output);
        prepare(&mut command);
        let child = command.spawn().unwrap();
        Running { process: Process::of(child.id()).unwrap(), child, log }
    }

    /// Starts a process of the node and waits until the node is ready and this process says that it is up.
    pub(crate) async fn serve(&self) -> Running {
        let running = self.launch(|_| {});
        self.up(&running).await;
        running
    }

    pub(crate) async fn up(&self, running: &Running) {
        let up = wait::until("a process that is up", START_WITHIN, async || running.said("node is up")).await;
        assert!(up.is_ok(), "{}", running.log());
        let ready =
            wait::until("a ready node", START_WITHIN, async || self.calls.readiness(&self.region).await.is_ok_and(|(status, _)| status == 200));
        assert!(ready.await.is_ok(), "{}", running.log());
    }

    /// A metric's value, by its whole name with labels.
    pub(crate) async fn metric(&self, name: &str) -> f64 {
        let text = self.calls.control(&self.region, "/metrics").await.unwrap().body;
        let line = text.lines().find(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(' ')));
        line.and_then(|line| line.split(' ').nth(1)).unwrap_or_else(|| panic!("no {name} in {text}")).parse().unwrap()
    }

    /// Makes the deployment equal to a document, and waits until the writer's node has another structure in force.
    pub(crate) async fn put(&self, document: &Value, node: &Running) {
        let revision = async || self.metric("causeway_config_structural_revision").await;
        let before = revision().await;
        apply(&self.dev, document, &self.folder().join("document.json"));
        let applied = wait::until("the document", SOON, async || revision().await > before).await;
        assert!(applied.is_ok(), "{}", node.log());
    }

    /// The node's snapshot on disk.
    pub(crate) fn sealed(&self) -> PathBuf {
        self.folder().join("state/snapshot.sealed")
    }

    /// Waits until all that the node serves by now lies in its snapshot on disk, and returns that; `what` is a word of the caller's own.
    pub(crate) async fn resealed(&self, what: &str) -> Vec<u8> {
        let sealed = self.sealed();
        // Of two writings, the second has begun behind whatever was in force before the first of them.
        for turn in 0..2 {
            let before = std::fs::read(&sealed).unwrap_or_default();
            let consumer = serde_json::json!({ "name": format!("{what}-{turn}"), "tenant": "demo" });
            assert_eq!(self.calls.change("/v1/consumers", Some(&consumer)).await.unwrap().status, 201);
            wait::until("another snapshot on disk", SOON, async || std::fs::read(&sealed).is_ok_and(|now| now != before)).await.unwrap();
        }
        std::fs::read(&sealed).unwrap()
    }

    /// The record of a request's outcome.
    pub(crate) async fn record(&self, answer: &Response) -> Value {
        let id = answer.headers()["x-request-id"].to_str().unwrap();
        let question = format!("select convert_from(event, 'UTF8') from audit_event where request_id = '{id}' and phase = 'outcome'");
        let sql = self.sql();
        let read = async || sql.ask("causeway", &question).await.ok().filter(|rows| !rows.is_empty());
        let (rows, _) = wait::some("the record", SOON, read).await.unwrap();
        serde_json::from_str(&rows[0]).unwrap()
    }

    /// A way into the database.
    pub(crate) fn sql(&self) -> Sql {
        Sql::open(self.region.postgres_port, &self.dev.reader().unwrap().postgres_data_dir).unwrap()
    }

    pub(crate) fn http(&self, version: Version) -> reqwest::Client {
        client::http(self.ca(), version).unwrap()
    }

    pub(crate) async fn stop(self) {
        self.dev.stop().await.unwrap();
    }
}

/// A process that ends with the test.
pub(crate) struct Running {
    pub(crate) process: Process,
    child: Child,
    log: PathBuf,
}

impl Running {
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    pub(crate) fn said(&self, words: &str) -> bool {
        self.log().contains(words)
    }

    /// Waits for the process's end, and returns its exit code.
    pub(crate) async fn ended(&mut self, limit: Duration) -> Option<i32> {
        wait::some("the process's end", limit, async || self.child.try_wait().unwrap())
            .await
            .unwrap_or_else(|error| panic!("{error}: {}", self.log()))
            .0
            .code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A TLS connection for a server name, after bytes that come before TLS; `Err` holds what the handshake said.
pub(crate) async fn dial(
    to: SocketAddr,
    from: Option<IpAddr>,
    first: &[u8],
    name: &str,
    config: Arc<rustls::ClientConfig>,
) -> Result<TlsStream<tokio::net::TcpStream>, String> {
    let mut stream = tcp(to, from).await;
    stream.write_all(first).await.map_err(|error| error.to_string())?;
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let connecting = TlsConnector::from(config).connect(name, stream);
    tokio::time::timeout(SOON, connecting).await.expect("the handshake ends").map_err(|error| error.to_string())
}

/// One request on a connection of its own; the answer's head.
pub(crate) async fn once(stream: &mut TlsStream<tokio::net::TcpStream>, request: &str) -> Result<String, String> {
    stream.write_all(request.as_bytes()).await.map_err(|error| error.to_string())?;
    let mut answer = Vec::new();
    let read = async {
        loop {
            if answer.windows(4).any(|end| end == b"\r\n\r\n") {
                return Ok(());
            }
            match stream.read_buf(&mut answer).await {
                Ok(0) => return Err(format!("the connection ended after {} bytes", answer.len())),
                Ok(_) => {}
                Err(error) => return Err(error.to_string()),
            }
        }
    };
    tokio::time::timeout(SOON, read).await.map_err(|_| "no answer in time".to_owned())??;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

pub(crate) fn tls(ca: &Path) -> Arc<rustls::ClientConfig> {
    wire::tls(ca, "http/1.1")
}
