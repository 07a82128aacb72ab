//! `causeway dev`: a whole deployment on one machine, for trying and for tests.
//!
//! It only writes files and starts processes: PostgreSQL with a streaming standby, two nodes, a demo service in each
//! region. The nodes are ordinary `causeway serve` processes and know nothing of it.

pub mod child;
pub mod demo;
pub mod files;
pub mod probe;
pub mod ready;
pub mod tour;

use std::{
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use edge::listener::{self, Reserved};
use model::{
    key::{self, Peppers, Purpose},
    secret::SecretText,
    time::UtcMicros,
};
use store::{
    actor::{Actor, ActorKind},
    bootstrap::{self, Which},
    pool::{Credentials, Primary, Tls},
    topology::{DatabaseConfig, Server, Topology},
};

use self::{
    child::Process,
    files::{Layout, REGIONS, RegionPorts},
    ready::{Ready, ReadyRegion},
};
use crate::{
    boot,
    config::{PepperConfig, SecretRef},
    postgres::{Binaries, Cluster, Fsync, Stop, Upstream},
    wire,
};

/// What `causeway dev` was asked for.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where state is kept between runs; a temporary folder that goes away when absent.
    pub data: Option<PathBuf>,
    /// The first of the ports; 0 takes free ones.
    pub port: u16,
    /// Where to write what scripts need.
    pub ready_file: Option<PathBuf>,
}

/// Whom the first operator's account is for.
const FIRST_OPERATOR: &str = "admin@example.com";

/// How long all processes may take to answer.
const UP_WITHIN: Duration = Duration::from_mins(1);

/// Runs a deployment until `stop` resolves.
///
/// # Errors
/// When a part does not start; the parts that had started are stopped.
pub async fn run(options: Options, stop: impl Future<Output = ()>) -> Result<()> {
    let clock = edge::clock::Clock;
    let started = clock.boot();
    if let Some(file) = &options.ready_file {
        // An old file must not be taken for this run's.
        match std::fs::remove_file(file) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("cannot replace the ready file {}", file.display()));
            }
            _ => {}
        }
    }
    let temporary = options.data.is_none();
    let root = options.data.clone().unwrap_or_else(|| std::env::temp_dir().join(format!("causeway-dev-{}", std::process::id())));
    let layout = Layout::new(&root)?;
    let mut deployment = None;
    let mut stop = std::pin::pin!(stop);
    let result = tokio::select! {
        started = Deployment::start(&layout, options.port) => match started {
            Ok(started) => { deployment = Some(started); Ok(true) }
            Err(error) => Err(error),
        },
        () = stop.as_mut() => Ok(false),
    };
    let outcome = match (&mut deployment, result) {
        (Some(running), Ok(true)) => {
            let announced = announce(&layout, running, &options, clock.boot().nanos_since(started) / 1_000_000);
            match announced {
                Ok(()) => running.watch(stop).await,
                Err(error) => Err(error),
            }
        }
        (_, Ok(_)) => Ok(()),
        (_, Err(error)) => Err(error),
    };
    if let Some(deployment) = deployment {
        deployment.stop().await;
    }
    if temporary && outcome.is_ok() {
        std::fs::remove_dir_all(&root).ok();
    }
    outcome
}

fn announce(layout: &Layout, deployment: &Deployment, options: &Options, took_ms: u64) -> Result<()> {
    let ca = layout.path("certs/ca.pem");
    if let Some(file) = &options.ready_file {
        deployment.ready(layout, &ca).write(file)?;
    }
    let [eu, us] = deployment.ports;
    let tour = tour::Tour {
        program: &std::env::current_exe()?,
        ca: &ca,
        key_file: &layout.path("api-key"),
        token_file: &layout.path("operator-token"),
        invitation: deployment.invitation.as_ref(),
        data: &layout.path(""),
        data_ports: [eu.data, us.data],
        control_ports: [eu.control, us.control],
        took_ms: took_ms.into(),
    };
    crate::cli::say(&tour.text());
    Ok(())
}

/// Everything that runs.
struct Deployment {
    ports: [RegionPorts; 2],
    _kept: Vec<Reserved>,
    primary: Cluster,
    standby: Cluster,
    demos: Vec<Process>,
    nodes: Vec<Process>,
    api_key: String,
    operator_token: String,
    /// The code by which the first operator of the pages makes an account; none once there is one.
    invitation: Option<SecretText>,
}

impl Deployment {
    async fn start(layout: &Layout, port: u16) -> Result<Self> {
        let binaries = Binaries::find(boot::environment("CAUSEWAY_PG_BIN").map(PathBuf::from).as_deref())?;
        let superuser = layout.secret("postgres-superuser")?;
        let Ports { regions: mut ports, kept } = Ports::choose(port)?;
        let [eu, us] = &mut ports;
        crate::cli::progress("starting PostgreSQL: a primary and a streaming standby");
        let primary = Cluster::primary(&binaries, &layout.path("postgres/primary"), eu.postgres, &superuser, Fsync::On).await?;
        let standby =
            Cluster::standby(&binaries, &layout.path("postgres/standby"), us.postgres, &Upstream::of(&primary), "us_east", Fsync::On).await?;
        (eu.postgres, us.postgres) = (primary.port(), standby.port());
        crate::cli::progress("preparing databases, certificates and secrets");
        layout.certificates()?;
        layout.secret("snapshot-key")?;
        layout.secret("pepper-1")?;
        layout.secret("access-token-1")?;
        layout.secret("consistency-token-1")?;
        let pepper = SecretRef::File(layout.path("secrets/pepper-1"));
        let peppers = boot::peppers(&[PepperConfig { version: 1, key: pepper }])?;
        let topology = databases(layout, &primary, &standby, &superuser).await?;
        let tasks = crate::task::Tasks::default();
        let watched = topology.clone();
        tasks.spawn("topology", async move { watched.watch().await });
        let control = topology.wait_primary(Duration::from_secs(20)).await.context("the private PostgreSQL primary was not found")?;
        store::migrate::migrate(&control).await?;
        let gateway = layout.write_gateway(&ports)?;
        apply(&control, &gateway).await?;
        let operator_token = operator_token(layout, &control, &peppers).await?;
        let invitation = invitation(&control).await?;
        let api_key = api_key(layout, &control, &peppers).await?;
        tasks.stop(Duration::from_secs(1)).await;
        crate::cli::progress("starting two nodes and their demo services");
        let (mut demos, mut nodes) = (Vec::new(), Vec::new());
        for (region, own) in REGIONS.iter().zip(&ports) {
            demos.push(start_demo(layout, region, *own)?);
            let node_file = layout.write_node(region, &ports)?;
            let node_file = node_file.to_str().context("the data folder's path is not UTF-8")?;
            nodes.push(Process::start(&format!("node {region}"), &["serve", "--config", node_file], &layout.path(&format!("logs/{region}.log")))?);
        }
        let mut deployment = Self { ports, _kept: kept, primary, standby, demos, nodes, api_key, operator_token, invitation };
        deployment.wait_up(layout).await?;
        Ok(deployment)
    }

    /// Waits until both regions serve a call with the key.
    async fn wait_up(&mut self, layout: &Layout) -> Result<()> {
        let probe = probe::Probe::new(&layout.path("certs/ca.pem"))?;
        let up = async {
            let mut pulse = tokio::time::interval(Duration::from_millis(50));
            loop {
                pulse.tick().await;
                for process in self.nodes.iter_mut().chain(&mut self.demos) {
                    process.check()?;
                }
                // Health first: calls are in the access log, and should not fill it before a person has made one.
                let mut is_up = true;
                for ports in &self.ports {
                    is_up = is_up && matches!(probe.status(ports.control, "/readyz", None).await, Ok(status) if status.is_success());
                }
                for ports in &self.ports {
                    is_up = is_up
                        && matches!(probe.status(ports.data, "/demo/v1/finance/echo", Some(&self.api_key)).await, Ok(status) if status.is_success());
                }
                if is_up {
                    return Ok(());
                }
            }
        };
        match tokio::time::timeout(UP_WITHIN, up).await {
            Ok(result) => result,
            Err(_) => bail!("the nodes did not serve within {} s; their logs are in {}", UP_WITHIN.as_secs(), layout.path("logs").display()),
        }
    }

    fn ready(&self, layout: &Layout, ca: &Path) -> Ready {
        let clusters = [&self.primary, &self.standby];
        let regions =
            REGIONS.iter().zip(&self.ports).zip(&self.nodes).zip(clusters).enumerate().map(|(index, (((name, ports), node), cluster))| ReadyRegion {
                name,
                role: if index == 0 { "writer" } else { "reader" },
                data: format!("https://127.0.0.1:{}", ports.data),
                control: format!("https://127.0.0.1:{}", ports.control),
                node_pid: node.pid(),
                node_config: layout.node_file(name),
                spool_dir: layout.spool(name),
                postgres_port: cluster.port(),
                postgres_pid: cluster.pid(),
                postgres_data_dir: cluster.data_dir().to_owned(),
            });
        Ready {
            regions: regions.collect(),
            ca: ca.to_owned(),
            api_key: self.api_key.clone(),
            operator_token: self.operator_token.clone(),
            dev_pid: std::process::id(),
        }
    }

    /// Says when a process is gone, until `stop` resolves.
    async fn watch(&mut self, stop: impl Future<Output = ()>) -> Result<()> {
        let servers = [("primary", self.primary.gone()), ("standby", self.standby.gone())];
        let databases = futures_util::future::join_all(servers.map(async |(name, gone)| {
            gone.await;
            crate::cli::progress(&format!("the {name}'s PostgreSQL server is gone; it is not started again"));
        }));
        let processes = futures_util::future::join_all(self.nodes.iter_mut().chain(&mut self.demos).map(async |process| {
            let text = process.gone().await;
            crate::cli::progress(&text);
        }));
        tokio::select! {
            () = stop => {}
            _ = async { (processes.await, databases.await, std::future::pending::<()>().await) } => {}
        }
        Ok(())
    }

    async fn stop(mut self) {
        crate::cli::progress("stopping");
        let patience = Duration::from_secs(10);
        futures_util::future::join_all(self.nodes.iter_mut().map(|node| node.stop(patience))).await;
        futures_util::future::join_all(self.demos.iter_mut().map(|demo| demo.stop(patience))).await;
        for (name, cluster) in [("standby", &mut self.standby), ("primary", &mut self.primary)] {
            if let Err(error) = cluster.stop(Stop::Fast).await {
                crate::cli::progress(&format!("the {name} did not stop: {error:#}"));
            }
        }
        crate::cli::progress("stopped");
    }
}

/// The ports of a deployment, kept for its processes until it ends: one that is started again finds its port free.
struct Ports {
    regions: [RegionPorts; 2],
    kept: Vec<Reserved>,
}

impl Ports {
    /// Chooses the ports: a block that starts at `first`, or free ones. PostgreSQL keeps its own.
    fn choose(first: u16) -> Result<Self> {
        if first == 0 {
            let mut kept = Vec::new();
            let mut next = || {
                let port = listener::reserve((Ipv4Addr::LOCALHOST, 0).into()).context("no free port")?;
                let number = port.address().port();
                kept.push(port);
                anyhow::Ok(number)
            };
            let mut region = || anyhow::Ok(RegionPorts { data: next()?, control: next()?, demo: next()?, postgres: 0 });
            return Ok(Self { regions: [region()?, region()?], kept });
        }
        let at = |offset: u16| first.checked_add(offset).context("the first port is too high");
        let regions = [
            RegionPorts { data: at(0)?, control: at(1)?, demo: at(4)?, postgres: at(6)? },
            RegionPorts { data: at(2)?, control: at(3)?, demo: at(5)?, postgres: at(7)? },
        ];
        for port in regions.iter().flat_map(|ports| [ports.data, ports.control, ports.demo, ports.postgres]) {
            ensure!(
                TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok(),
                "port {port} is taken. Is another `causeway dev` running? Choose other ports with `--port N` (eight from N on), or free ones with `--port 0`"
            );
        }
        let mut kept = Vec::new();
        for port in regions.iter().flat_map(|ports| [ports.data, ports.control, ports.demo]) {
            kept.push(listener::reserve((Ipv4Addr::LOCALHOST, port).into()).with_context(|| format!("port {port} is taken"))?);
        }
        Ok(Self { regions, kept })
    }
}

async fn databases(layout: &Layout, primary: &Cluster, standby: &Cluster, superuser: &str) -> Result<Topology> {
    let address = format!("127.0.0.1:{}", primary.port());
    let admin = Credentials {
        name: "postgres".to_owned(),
        user: crate::postgres::SUPERUSER.to_owned(),
        password: SecretText::new(superuser.to_owned()),
        tls: Tls::Plain,
    };
    let control_password = SecretText::new(layout.secret("causeway-password")?);
    let demo_password = SecretText::new(layout.secret("demo-password")?);
    bootstrap::create_if_missing(&address, &admin, Which::Causeway, &control_password).await?;
    bootstrap::create_if_missing(&address, &admin, Which::Demo, &demo_password).await?;
    let demo = store::demo::DemoDatabase::connect(
        &address,
        &Credentials { name: "demo".to_owned(), user: "demo".to_owned(), password: demo_password, tls: Tls::Plain },
        1,
    )?;
    demo.migrate().await?;
    let server = |cluster: &Cluster, region: &str| Server { address: format!("127.0.0.1:{}", cluster.port()), region: region.to_owned() };
    let [eu, us] = REGIONS;
    let config = DatabaseConfig {
        name: "causeway".to_owned(),
        user: "causeway".to_owned(),
        password: control_password,
        tls: Tls::Plain,
        servers: vec![server(primary, eu), server(standby, us)],
        pool_max: 4,
    };
    Ok(Topology::new(&config, eu)?)
}

async fn apply(control: &Primary, gateway: &Path) -> Result<()> {
    let loaded = crate::cli::check::gateway(gateway).map_err(|found| anyhow::anyhow!("the demo's gateway file does not compile: {found:?}"))?;
    store::apply::apply(control, &loaded.document, store::apply::Mode::Commit, &actor()).await?;
    Ok(())
}

fn actor() -> Actor {
    Actor { kind: ActorKind::Cli, name: "causeway dev".to_owned() }
}

/// Makes a credential from fresh randomness.
pub(crate) fn issue(purpose: Purpose, peppers: &Peppers) -> key::Issued {
    let random = wire::random();
    loop {
        let (mut secret, mut id) = ([0_u8; 32], [0_u8; 32]);
        random(&mut secret);
        random(&mut id);
        if let Some(issued) = key::issue(purpose, peppers, &secret, &id) {
            return issued;
        }
    }
}

async fn operator_token(layout: &Layout, control: &Primary, peppers: &Peppers) -> Result<String> {
    let path = layout.path("operator-token");
    if let Ok(text) = std::fs::read_to_string(&path) {
        return Ok(text);
    }
    let token = match crate::cli::admin::create_operator(control, peppers, "dev", "admin").await {
        Ok(token) => token,
        // A run that ended between the database and the file took the name with it.
        Err(_) => crate::cli::admin::create_operator(control, peppers, &format!("dev-{}", std::process::id()), "admin").await?,
    };
    crate::certs::private(&path, token.expose_secret())?;
    Ok(token.expose_secret().to_owned())
}

/// An invitation for the first operator of the pages, until somebody has accepted one.
async fn invitation(control: &Primary) -> Result<Option<SecretText>> {
    if store::account::by_email(control, FIRST_OPERATOR).await?.is_some() {
        return Ok(None);
    }
    Ok(Some(crate::cli::admin::create_invitation(control, FIRST_OPERATOR, "admin").await?))
}

async fn api_key(layout: &Layout, control: &Primary, peppers: &Peppers) -> Result<String> {
    let path = layout.path("api-key");
    if let Ok(text) = std::fs::read_to_string(&path) {
        return Ok(text);
    }
    let issued = issue(Purpose::Live, peppers);
    let application = store::application::default_application(control).await?;
    let expires_at = UtcMicros(edge::clock::Clock.wall().0).plus_seconds(365 * 86_400);
    let new = store::key::NewKey::of(&issued, "dev", application.id, expires_at);
    store::key::create(control, new, &actor()).await?;
    crate::certs::private(&path, issued.text.expose_secret())?;
    Ok(issued.text.expose_secret().to_owned())
}

fn start_demo(layout: &Layout, region: &str, ports: RegionPorts) -> Result<Process> {
    let (listen, database) = (format!("127.0.0.1:{}", ports.demo), format!("127.0.0.1:{}", ports.postgres));
    let password = layout.path("secrets/demo-password");
    let password = format!("file:{}", password.display());
    let arguments = ["demo-service", "--listen", &listen, "--region", region, "--database", &database, "--password", &password];
    Process::start(&format!("demo service {region}"), &arguments, &layout.path(&format!("logs/demo-{region}.log")))
}
