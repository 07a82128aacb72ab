//! Database servers and services, one of each in every region.

use std::ffi::OsString;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use app::postgres::Binaries;
use rustix::process::Signal;
use tokio::net::TcpStream;

use super::WITHIN;
use super::files::{self, POSTGRES_PORT, SERVICE_PORT};
use super::network::{LOOK_EVERY, Network, address};
use crate::process::Process;
use crate::sql::Sql;
use crate::wait;

/// How often a process that was told to end is looked at before it is killed.
const QUIT_LOOKS: u32 = 600;

/// Where programs are looked for.
pub(super) const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// All of them. They end with it.
#[derive(Debug)]
pub(super) struct Servers {
    children: Vec<Daemon>,
}

/// A process that ends with this value.
#[derive(Debug)]
struct Daemon {
    child: Child,
    /// It has something to put in order before.
    is_told: bool,
}

impl Daemon {
    fn tell(&self) {
        if let Some(process) = Process::of(self.child.id()).ok().filter(|_| self.is_told) {
            process.signal(Signal::QUIT);
        }
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        // Each is waited for when it is dropped.
        self.children.iter().for_each(Daemon::tell);
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // A server that is killed at once leaves its shared memory behind.
        self.tell();
        for _ in (0..QUIT_LOOKS).filter(|_| self.is_told) {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::park_timeout(LOOK_EVERY);
        }
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The data of a region's server.
pub(super) fn folder(root: &Path, name: &str) -> PathBuf {
    root.join("postgres").join(name)
}

impl Servers {
    /// Makes the servers from the data of a primary that was stopped, starts them, and waits until the others follow the first one.
    pub(super) async fn start(network: &Network, root: &Path, primary: &Path, database: &Sql, names: &[&str]) -> Result<Self> {
        let owner = std::fs::metadata(primary).context("the primary's data")?;
        let user = (owner.uid(), owner.gid());
        let postgres = Binaries::find(None)?.program("postgres").display().to_string();
        let mut children = Vec::new();
        for (region, name) in names.iter().enumerate() {
            let data = folder(root, name);
            let slot = slot(name);
            let follows = (region > 0).then_some(slot.as_str());
            furnish(root, primary, &data, user, follows)?;
            let mut words = network.start_in(region, Some(user), "QUIT");
            words.extend([postgres.clone(), "-D".to_owned(), data.display().to_string()]);
            let log = root.join("logs").join(format!("postgres-{name}.log"));
            children.push(Daemon { child: spawn(&words, &log)?, is_told: true });
            if region == 0 {
                let is_up = async || database.ask("postgres", "select 1").await.is_ok();
                wait::until("the primary", WITHIN, is_up).await.with_context(|| std::fs::read_to_string(&log).unwrap_or_default())?;
                // It was at another address before. Two servers that write one timeline would be told apart by nothing.
                database.ask("postgres", "select pg_promote()").await?;
                for name in names.iter().skip(1).map(|name| self::slot(name)) {
                    let missing = format!(
                        "select pg_create_physical_replication_slot('{name}', true) \
                         where not exists (select from pg_replication_slots where slot_name = '{name}')"
                    );
                    database.ask("postgres", &missing).await?;
                }
            }
        }
        for (region, name) in names.iter().enumerate() {
            let listen = format!("{}:{SERVICE_PORT}", address(region));
            let mut words = network.start_in(region, None, "KILL");
            words.push(root.with_file_name("causeway").display().to_string());
            words.extend(["demo-service", "--listen", &listen, "--region", name, "--database"].map(str::to_owned));
            words.extend([format!("127.0.0.1:{POSTGRES_PORT}"), "--password".to_owned()]);
            words.push(format!("file:{}", root.join("secrets/demo-password").display()));
            let child = spawn(&words, &root.join("logs").join(format!("service-{name}.log")))?;
            children.push(Daemon { child, is_told: false });
        }
        for region in 0..names.len() {
            let listens = async || TcpStream::connect((address(region), SERVICE_PORT)).await.is_ok();
            wait::until("a demo service", WITHIN, listens).await?;
        }
        let streaming = "select count(*) from pg_stat_replication where state = 'streaming' and client_addr <<= '10.77.1.0/24'";
        let follow = async || database.ask("postgres", streaming).await.is_ok_and(|rows| rows.concat() == (names.len() - 1).to_string());
        wait::until("standbys that follow", WITHIN, follow).await.with_context(|| logs(root, names))?;
        Ok(Self { children })
    }
}

/// The name of a region's slot.
fn slot(name: &str) -> String {
    name.replace('-', "_")
}

/// Makes a server's data.
fn furnish(root: &Path, primary: &Path, data: &Path, user: (u32, u32), follows: Option<&str>) -> Result<()> {
    let copied = Command::new("cp").arg("-a").arg(primary).arg(data).stdin(Stdio::null()).status().context("cannot start cp")?;
    ensure!(copied.success(), "cannot copy {}", primary.display());
    let own = |name: &str, bytes: &[u8]| {
        let path = data.join(name);
        std::fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
        chown(&path, Some(user.0), Some(user.1)).context("cannot change an owner")
    };
    for name in ["server.pem", "server.key"] {
        own(name, &std::fs::read(root.join("tls").join(name))?)?;
    }
    let password = files::secret(root, "postgres-superuser")?;
    let ca = root.join("tls/ca.pem");
    let base = std::fs::read_to_string(data.join("postgresql.conf"))?;
    let settings = files::settings(follows.map(|slot| (ca.as_path(), password.as_str(), slot)))?;
    own("postgresql.conf", format!("{base}{settings}").as_bytes())?;
    own("pg_hba.conf", files::HBA.as_bytes())?;
    own("standby.signal", b"")?;
    if follows.is_some() {
        // A standby would keep all that the primary's slots keep.
        for entry in std::fs::read_dir(data.join("pg_replslot"))? {
            std::fs::remove_dir_all(entry?.path())?;
        }
    }
    Ok(())
}

fn spawn(words: &[String], log: &Path) -> Result<Child> {
    let (program, rest) = words.split_first().context("a process without a name")?;
    let output = std::fs::File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
    let mut command = Command::new(program);
    command.args(rest.iter().map(OsString::from)).env_clear().env("LC_ALL", "C").env("TZ", "UTC").current_dir("/");
    if let Some((name, value)) = PATH.split_once('=') {
        command.env(name, value);
    }
    command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
    command.spawn().with_context(|| format!("cannot start {}", words.join(" ")))
}

/// What the servers have said, for messages.
fn logs(root: &Path, names: &[&str]) -> String {
    let texts = names.iter().map(|name| std::fs::read_to_string(root.join("logs").join(format!("postgres-{name}.log"))).unwrap_or_default());
    texts.collect::<Vec<_>>().join("\n")
}
