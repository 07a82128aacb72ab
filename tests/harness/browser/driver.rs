//! The processes: `ChromeDriver`, and the Chromium that it starts, with a folder of their own. They end with the value.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use aws_lc_rs::digest;
use data_encoding::BASE64;
use rustix::process::{Pid, Signal};
use rustls::server::ParsedCertificate;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::client::RawTls;
use crate::process::Process;
use crate::wait;

/// How long `ChromeDriver` may take to listen.
const LISTENS_WITHIN: Duration = Duration::from_secs(30);
/// How long killed processes may take to be gone.
const GONE_WITHIN: Duration = Duration::from_secs(5);

/// Quiet, and only towards this machine: nothing is fetched for the browser itself, and no other host has an address.
const FLAGS: [&str; 11] = [
    "--headless=new",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--no-proxy-server",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
    "--lang=en-US",
];

/// A running `ChromeDriver`.
#[derive(Debug)]
pub(super) struct Driver {
    child: Child,
    /// Where it listens.
    pub(super) port: u16,
    /// Profile, home and what the processes say; declared last, so that it goes last.
    folder: TempDir,
}

/// A program on the search path.
pub(super) fn program(name: &str) -> Option<PathBuf> {
    let folders = std::env::var_os("PATH")?;
    std::env::split_paths(&folders).map(|folder| folder.join(name)).find(|file| file.is_file())
}

impl Driver {
    /// Starts it on a free port. Chromium comes with the session.
    pub(super) async fn start() -> Result<Self> {
        let program = program("chromedriver").context("chromedriver is not installed")?;
        let folder = TempDir::with_prefix("causeway-browser-")?;
        let said = folder.path().join("said");
        let child = Command::new(program)
            // It listens on loopback alone unless told otherwise.
            .arg("--port=0")
            .env("HOME", folder.path())
            .env_remove("XDG_CONFIG_HOME")
            .env_remove("XDG_CACHE_HOME")
            .stdin(Stdio::null())
            .stdout(std::fs::File::create(&said)?)
            .stderr(std::fs::File::create(folder.path().join("complained"))?)
            // All of them can be ended at once.
            .process_group(0)
            .spawn()?;
        let mut driver = Self { child, port: 0, folder };
        let text = async || {
            let text = std::fs::read_to_string(&said).unwrap_or_default();
            text.split_once("successfully on port ").and_then(|(_, rest)| rest.split_once('.')?.0.parse().ok())
        };
        (driver.port, _) = wait::some("ChromeDriver's port", LISTENS_WITHIN, text).await?;
        Ok(driver)
    }

    /// It and all that it started. What watches for crashes has left the family, and is known by the folder.
    pub(super) fn processes(&self) -> Result<Vec<Process>> {
        let first = Process::of(self.child.id())?;
        let folder = self.folder.path().to_string_lossy();
        let strays = Process::of(1).map(Process::descendants).unwrap_or_default();
        let strays = strays.into_iter().filter(|process| process.command().contains(&*folder));
        let family: HashSet<_> = first.descendants().into_iter().chain(strays).filter(|process| *process != first).collect();
        Ok(std::iter::once(first).chain(family).collect())
    }

    /// What a new session asks for: a fresh profile, all of the console, and trust in these keys.
    pub(super) fn capabilities(&self, trusted: &[String]) -> Result<Value> {
        let mut flags: Vec<String> = FLAGS.iter().map(|&flag| flag.to_owned()).collect();
        flags.push(format!("--user-data-dir={}", self.folder.path().join("profile").display()));
        flags.push(format!("--ignore-certificate-errors-spki-list={}", trusted.join(",")));
        // Chromium refuses to run as root with its sandbox.
        if rustix::process::geteuid().is_root() {
            flags.push("--no-sandbox".to_owned());
        }
        let chromium = program("chromium").context("chromium is not installed")?;
        Ok(json!({ "capabilities": { "alwaysMatch": {
            "browserName": "chrome",
            "timeouts": { "implicit": 0, "pageLoad": 30_000, "script": 30_000 },
            "goog:loggingPrefs": { "browser": "ALL" },
            "goog:chromeOptions": { "binary": chromium, "args": flags },
        } } }))
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let family = self.processes().unwrap_or_default();
        if let Some(group) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            // It is not reaped yet, so the number is still its own.
            rustix::process::kill_process_group(group, Signal::KILL).unwrap_or_default();
        }
        for process in &family {
            process.signal(Signal::KILL);
        }
        drop(self.child.wait());
        // What still runs would write into the folder that goes next.
        for _ in 0..GONE_WITHIN.as_millis() / 5 {
            if !family.iter().any(|process| process.is_alive()) {
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// The name under which Chromium trusts the server at an address: the digest of its key. The CA has vouched for it before.
pub(super) async fn key_of(site: SocketAddr, ca: &Path) -> Result<String> {
    let server = RawTls::connect(site, &site.ip().to_string(), ca, "http/1.1").await?;
    let Some(leaf) = server.certificate() else { bail!("{site} showed no certificate") };
    let key = ParsedCertificate::try_from(leaf)?.subject_public_key_info();
    Ok(BASE64.encode(digest::digest(&digest::SHA256, &key).as_ref()))
}
