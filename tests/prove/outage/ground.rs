//! The deployment of the claim: that of `causeway dev`, with routes of every kind, a fronted database of its own that stays, nodes that are
//! added, and database servers that are stopped and come back.

use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use app::dev::demo::{self, Demo};
use app::postgres::{Binaries, Cluster, Fsync, SUPERUSER, Stop};
use data_encoding::{BASE64, BASE64URL_NOPAD, HEXLOWER};
use edge::listener::{self, Reserved};
use harness::dev::{self, Dev, RegionReady};
use harness::issuer::Signer;
use harness::node::{Node, Under};
use harness::process::Process;
use harness::wait;
use model::secret::SecretText;
use rustix::process::Signal;
use serde_json::{Value, json};
use store::bootstrap::{self, Which};
use store::demo::DemoDatabase;
use store::pool::{Credentials, Tls};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// How long a server may take to end, and to answer.
const WITHIN: Duration = Duration::from_secs(30);
const PASSWORD: &str = "of-a-private-server";
/// The domain whose database stays, and the service in front of it.
pub(super) const FRONTED: &str = "fronted";

/// What is stopped: a database server as it was started.
struct Server {
    arguments: Vec<std::ffi::OsString>,
    data: PathBuf,
    process: Process,
    port: u16,
    child: Option<Child>,
}

/// Everything that runs beside the nodes.
pub(super) struct Ground {
    pub(super) dev: Dev,
    pub(super) nodes: Vec<Node>,
    /// A token of the issuer in the document.
    pub(super) jwt: String,
    servers: Vec<Server>,
    fronted: Cluster,
    ports: Vec<Reserved>,
    _serving: JoinSet<Result<()>>,
    _dir: tempfile::TempDir,
}

impl Ground {
    pub(super) async fn start() -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("causeway-outage-").tempdir()?;
        // The server runs as another user where this runs as root, and must reach its folder.
        std::fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
        let dev = Dev::start().await?;
        let root = dev.ready().ca.parent().and_then(Path::parent).context("the CA lies in no folder")?.to_owned();
        let password = SecretText::new(std::fs::read_to_string(root.join("secrets/demo-password"))?.trim().to_owned());
        let fronted = Cluster::primary(&Binaries::find(None)?, dir.path(), 0, PASSWORD, Fsync::Off).await?;
        let service = reserve()?;
        let mut serving = JoinSet::new();
        serve(&fronted, &password, &service, &mut serving).await?;

        let signer = Signer::p256("outage-1")?;
        let text = std::fs::read_to_string(root.join("gateway.yaml"))?;
        let text = document(&text, &signer, fronted.port(), service.address().port())?;
        let file = root.join("gateway.outage.yaml");
        std::fs::write(&file, text)?;
        let mut nodes = dev.ready().regions.iter().map(|region| Node::adopt(&dev, region)).collect::<Result<Vec<_>>>()?;
        for node in &mut nodes {
            node.kill().await?;
            node.reconfigure(with_domain)?;
            node.start(Under::Bare).await?;
        }
        apply(&dev, &file).await?;
        let expires = time::OffsetDateTime::now_utc().unix_timestamp() + 3_600;
        let claims = json!({ "iss": "https://issuer.example", "sub": "somebody", "aud": "outage", "exp": expires });
        let jwt = signer.token(&claims)?;
        let servers = dev.ready().regions.iter().map(Server::of).collect::<Result<_>>()?;
        Ok(Self { dev, nodes, jwt, servers, fronted, ports: vec![service], _serving: serving, _dir: dir })
    }

    /// Stops every server of the control database.
    pub(super) async fn stop_servers(&mut self) -> Result<()> {
        // The standby first: a primary waits for what its standby has not received.
        for server in self.servers.iter().rev() {
            server.process.signal(Signal::INT);
            server.process.wait_gone(WITHIN).await?;
        }
        Ok(())
    }

    /// Starts them again.
    pub(super) async fn start_servers(&mut self) -> Result<()> {
        for server in &mut self.servers {
            server.start().await?;
        }
        Ok(())
    }

    /// A node of the first one's region that was never there, with the state folder of that one if it is given along.
    pub(super) async fn add(&mut self, name: &str, state: Given) -> Result<()> {
        let model = self.nodes.first().context("there is no node")?;
        let [data, control] = [reserve()?, reserve()?];
        let place = added(model.region(), name, [data.address().port(), control.address().port()])?;
        if state == Given::Copy {
            let (from, to) = (place.node_config.with_file_name("state"), place.node_config.with_file_name(format!("state-{name}")));
            std::fs::create_dir_all(&to)?;
            for entry in std::fs::read_dir(from)? {
                let path = entry?.path();
                if path.is_file() {
                    std::fs::copy(&path, to.join(path.file_name().unwrap_or_default()))?;
                }
            }
        }
        let node = model.beside(place).await.with_context(|| name.to_owned())?;
        self.nodes.push(node);
        self.ports.extend([data, control]);
        Ok(())
    }

    /// Stops everything.
    pub(super) async fn stop(mut self) -> Result<()> {
        for node in &mut self.nodes {
            node.kill().await?;
        }
        self.fronted.stop(Stop::Immediate).await?;
        for server in &mut self.servers {
            server.end().await?;
        }
        self.dev.stop().await
    }
}

/// Whether an added node gets what another one has sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Given {
    Nothing,
    Copy,
}

impl Server {
    fn of(region: &RegionReady) -> Result<Self> {
        let process = Process::of(region.postgres_pid)?;
        Ok(Self { arguments: process.arguments()?, data: region.postgres_data_dir.clone(), process, port: region.postgres_port, child: None })
    }

    /// Starts it as `causeway dev` has, which does not do it again.
    async fn start(&mut self) -> Result<()> {
        let (program, arguments) = self.arguments.split_first().context("a server without a name")?;
        let owner = std::fs::metadata(&self.data)?;
        let mut command = Command::new(program);
        command.args(arguments).env_clear().env("LC_ALL", "C").env("TZ", "UTC").current_dir("/");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        if rustix::process::geteuid().is_root() {
            command.uid(owner.uid()).gid(owner.gid());
        }
        self.child = Some(command.spawn().context("a database server that comes back")?);
        let port = self.port;
        wait::until("a database server that comes back", WITHIN, async || TcpStream::connect(("127.0.0.1", port)).await.is_ok()).await?;
        Ok(())
    }

    async fn end(&mut self) -> Result<()> {
        let Some(child) = &mut self.child else { return Ok(()) };
        Process::of(child.id())?.signal(Signal::QUIT);
        wait::until("the end of a database server", WITHIN, async || matches!(child.try_wait(), Ok(Some(_)))).await?;
        self.child = None;
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            if let Ok(process) = Process::of(child.id()) {
                process.signal(Signal::QUIT);
            }
            drop(child.wait());
        }
    }
}

fn reserve() -> Result<Reserved> {
    listener::reserve(([127, 0, 0, 1], 0).into()).context("no free port")
}

/// Makes the fronted database, and starts the service in front of it.
async fn serve(cluster: &Cluster, password: &SecretText, port: &Reserved, serving: &mut JoinSet<Result<()>>) -> Result<()> {
    let database = format!("127.0.0.1:{}", cluster.port());
    let credentials = |name: &str, user: &str, password: SecretText| Credentials { name: name.into(), user: user.into(), password, tls: Tls::Plain };
    let admin = credentials("postgres", SUPERUSER, SecretText::new(PASSWORD.to_owned()));
    bootstrap::create_if_missing(&database, &admin, Which::Demo, password).await?;
    let demo = credentials("demo", "demo", password.clone());
    DemoDatabase::connect(&database, &demo, 1)?.migrate().await?;
    let listen = port.address();
    let demo = Demo { listen, region: "eu-west".to_owned(), database, credentials: demo };
    serving.spawn(demo::serve(demo, std::future::pending()));
    wait::until("the fronted service", WITHIN, async || TcpStream::connect(listen).await.is_ok()).await?;
    Ok(())
}

async fn apply(dev: &Dev, file: &Path) -> Result<()> {
    let ready = dev.ready();
    let done = tokio::process::Command::new(dev::binary()?)
        .args(["apply", "-f"])
        .arg(file)
        .env("CAUSEWAY_CONTROL", &dev.writer()?.control)
        .env("CAUSEWAY_TOKEN", &ready.operator_token)
        .env("CAUSEWAY_CA", &ready.ca)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await?;
    ensure!(done.status.success(), "apply: {}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    Ok(())
}

/// The node file with the fronted domain.
fn with_domain(text: &str) -> String {
    let entry = format!("domains:\n- {{ name: {FRONTED}, database: demo, user: demo, password: \"file:../secrets/demo-password\" }}\n");
    let limits = "limits: { failures_per_prefix: 1000000, handshakes_per_address: 1000000 }\n";
    format!("{}{limits}", text.replace("domains:\n", &entry))
}

/// The place of a node that is added: its file, beside the first one's.
fn added(model: &RegionReady, name: &str, ports: [u16; 2]) -> Result<RegionReady> {
    let base = std::fs::read_to_string(model.node_config.with_extension("edited.yaml"))?;
    let port = |url: &str| url.rsplit(':').next().map(str::to_owned).context("a listener without a port");
    let edits = [
        (format!(":{}\"", port(&model.data)?), format!(":{}\"", ports[0])),
        (format!(":{}\"", port(&model.control)?), format!(":{}\"", ports[1])),
        ("\nnode: eu-west-1\n".to_owned(), format!("\nnode: {name}\n")),
        ("spool: { dir: spool,".to_owned(), format!("spool: {{ dir: spool-{name},")),
        ("\nstate: state\n".to_owned(), format!("\nstate: state-{name}\n")),
    ];
    let text = edits.iter().try_fold(base, |text, (from, to)| {
        ensure!(text.contains(from), "the node file has another form: there is no {from:?}");
        Ok(text.replace(from, to))
    })?;
    let node_config = model.node_config.with_file_name(format!("{name}.yaml"));
    std::fs::write(&node_config, text)?;
    Ok(RegionReady {
        name: name.to_owned(),
        data: format!("https://127.0.0.1:{}", ports[0]),
        control: format!("https://127.0.0.1:{}", ports[1]),
        spool_dir: node_config.with_file_name(format!("spool-{name}")),
        node_config,
        ..model.clone()
    })
}

/// The document with a route of each kind.
fn document(base: &str, signer: &Signer, database: u16, service: u16) -> Result<String> {
    let key = json!({ "kid": signer.key_id, "algorithm": signer.algorithm(), "pem": pem(signer)? });
    let issuer = json!([{
        "name": "issuer", "issuer": "https://issuer.example", "keys": [key], "audiences": ["outage"], "application": "default",
    }]);
    let sections = [
        ("domains:\n", format!("- {{ name: {FRONTED}, servers: [ {{ address: \"127.0.0.1:{database}\", region: eu-west }} ] }}\n")),
        (
            "upstreams:\n",
            format!("- {{ name: {FRONTED}, domain: {FRONTED}, regions: {{ eu-west: {{ targets: [ \"http://127.0.0.1:{service}\" ] }} }} }}\n"),
        ),
    ];
    let mut text = sections.iter().try_fold(base.to_owned(), |text, (section, more)| {
        let start = format!("\n{section}");
        ensure!(text.matches(&start).count() == 1, "the document has another form: {section:?}");
        Ok(text.replace(&start, &format!("{start}{more}")))
    })?;
    // This is not about the disk of the nodes: on a busy one a record that is late would be the answer.
    text = text.replace("\n  upstream: demo\n", "\n  upstream: demo\n  audit: buffered\n");
    let mut route = |name: &str, path: &str, to: &str, upstream: &str, more: &str| {
        let added = format!(
            "\n- name: {name}\n  match: {{ path: \"{path}/**\" }}\n  upstream: {upstream}\n  rewrite: {{ strip_prefix: {path}, add_prefix: {to} }}\n\
             \x20 audit: buffered\n{more}"
        );
        text.push_str(&added);
    };
    for (kind, preset) in [("deny", "finance"), ("allow", "social")] {
        route(&format!("jwt-{kind}"), &format!("/jwt/{kind}"), "/demo/v1", "demo", &format!("  auth: jwt\n  consistency: {preset}\n"));
    }
    route("soft", "/soft", "/demo/v1", "demo", "  consistency: social\n  limits: [ { name: soft, rate: 2/s } ]\n");
    for kind in ["refuse", "primary", "stale"] {
        let keys = "keys: { max_staleness: 300s, on_stale: allow }";
        let reads = format!("reads: {{ mode: read_your_writes, wait: 100ms, else: {kind} }}");
        route(&format!("own-{kind}"), &format!("/own/{kind}"), "/demo/v1", FRONTED, &format!("  consistency: {{ {keys}, {reads} }}\n"));
    }
    Ok(format!("{text}\nissuers: {issuer}\n"))
}

/// The public half of a key on P-256 (RFC 5480 section 2).
fn pem(signer: &Signer) -> Result<String> {
    let jwk = signer.jwk()?;
    let half = |name: &str| BASE64URL_NOPAD.decode(jwk.get(name).and_then(Value::as_str).unwrap_or_default().as_bytes());
    let head = HEXLOWER.decode(b"3059301306072a8648ce3d020106082a8648ce3d03010703420004")?;
    let der = [head, half("x")?, half("y")?].concat();
    Ok(format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", BASE64.encode(&der)))
}
