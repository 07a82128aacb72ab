//! `schemathesis` (`PyPI`), in an environment of its own beside what the build makes.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context as _, Result, ensure};
use harness::dev::Dev;
use serde_json::Value;

use super::person::Person;
use super::report::Report;

/// Which versions; a change of this text makes another environment.
const REQUIREMENTS: &str = include_str!("requirements.txt");

/// What the fuzzer is told. `@token@` is the operator's, or a person's own; `@team@`, `@account@` and `@keys@` are that person's.
///
/// Names of what is there are mixed into what it makes up, so that it gets further than to a 404.
/// A 422 for a lawful body is no fault where the body names what must exist, as a plan, or where a cursor has to be one of ours.
const SETTINGS: &str = r#"
[dictionaries]
names = { values = ["demo", "default"] }
teams = { values = ["@team@"] }
accounts = { values = ["@account@"] }
ids = { values = ["@keys@"] }
applications = { values = ["default", "@team@_demo"] }

[parameters]
"path.name" = { dictionary = "names", probability = 0.5 }
"body.consumer" = { dictionary = "names", probability = 0.8 }
"body.application" = { dictionary = "applications", probability = 0.8 }
"query.application" = { dictionary = "applications", probability = 0.5 }
"body.issuer" = { dictionary = "names", probability = 0.8 }
"body.plan" = { dictionary = "names", probability = 0.8 }
"body.tenant" = { dictionary = "names", probability = 0.8 }
"path.team" = { dictionary = "teams", probability = 0.9 }
"path.account" = { dictionary = "accounts", probability = 0.5 }
"path.id" = { dictionary = "ids", probability = 0.4 }
"body.team" = { dictionary = "teams", probability = 0.8 }

[headers]
Authorization = "Bearer @token@"

[checks.positive_data_acceptance]
expected-statuses = ["2xx", "304", "403", "404", "409"]

[[operations]]
include-operation-id = [
  "createKey", "importKeys", "changeKey", "createConsumer", "changeConsumer", "createApplication", "denyTokens", "purgeCache", "checkDocument", "applyDocument",
  "listKeys", "listConsumers", "listApplications", "listTenants", "listPlans", "listDeniedTokens", "listAuditEvents", "getUsage",
  "listRegions", "listDomains", "listIssuers", "listCertificateAuthorities", "listSigners", "listOperators", "listAccounts", "listNotifications", "listApis", "listUpstreams", "listRoutes",
]
checks.positive_data_acceptance.expected-statuses = ["2xx", "404", "409", "422"]

[[operations]]
include-operation-id = ["createMyKey", "createMyApplication", "listMyKeys", "listMyApplications", "listMyRequests", "getMyUsage", "setMyWebhook"]
checks.positive_data_acceptance.expected-statuses = ["2xx", "404", "409", "422"]

# A scanner's report counts with its signature alone, and that the fuzzer cannot make.
[[operations]]
include-operation-id = "reportLeaks"
checks.positive_data_acceptance.expected-statuses = ["401", "404"]
"#;

/// Why the fuzzer cannot be had, if it cannot.
pub(super) fn obstacle() -> Option<String> {
    install().err().map(|error| format!("no schemathesis: {error:#}"))
}

/// The program, which is installed when it is not there.
fn install() -> Result<PathBuf> {
    let program = std::env::current_exe()?;
    let beside = program.parent().context("a program without a folder")?;
    let home = beside.join(format!("admin-api-{:016x}", fingerprint(REQUIREMENTS)));
    let schemathesis = home.join("bin/schemathesis");
    // Written last: an environment without it was left half-way.
    let whole = home.join("whole");
    if whole.exists() {
        return Ok(schemathesis);
    }
    run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&home))?;
    let requirements = home.join("requirements.txt");
    std::fs::write(&requirements, REQUIREMENTS)?;
    run(Command::new(home.join("bin/python"))
        .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"])
        .arg("-r")
        .arg(requirements))?;
    std::fs::write(whole, "")?;
    Ok(schemathesis)
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot run {}", command.get_program().display()))?;
    let words = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}", words.lines().last().unwrap_or("it failed without a word"));
    Ok(())
}

/// FNV-1a: tells versions of a text apart.
fn fingerprint(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// By whose token it asks.
#[derive(Debug, Clone, Copy)]
pub(super) enum Whose {
    /// The operator's.
    Operator,
    /// A person's own.
    Person,
}

impl Whose {
    const fn settings(self) -> &'static str {
        match self {
            Self::Operator => "settings.toml",
            Self::Person => "settings-of-person.toml",
        }
    }

    /// How quickly it may ask: a person's programs are told to wait where they are quicker than this.
    const fn rate(self) -> &'static [&'static str] {
        match self {
            Self::Operator => &[],
            Self::Person => &["--rate-limit", "90/s"],
        }
    }
}

/// A fuzzer with its target.
pub(super) struct Fuzzer {
    program: PathBuf,
    folder: PathBuf,
    ca: PathBuf,
    control: String,
    seed: u64,
}

impl Fuzzer {
    /// Writes down what it has to know. The folder is the deployment's, and goes with it.
    pub(super) fn prepare(dev: &Dev, document: &Value, person: &Person, seed: u64) -> Result<Self> {
        let ready = dev.ready();
        let folder = ready.ca.with_file_name("fuzzer");
        std::fs::create_dir_all(&folder)?;
        std::fs::write(folder.join("openapi.json"), document.to_string())?;
        for (whose, token) in [(Whose::Operator, &ready.operator_token), (Whose::Person, &person.token)] {
            let settings = SETTINGS.replace("@token@", token).replace("@team@", &person.team).replace("@account@", &person.account);
            std::fs::write(folder.join(whose.settings()), settings.replace("@keys@", &person.keys.join("\", \"")))?;
        }
        Ok(Self { program: install()?, folder, ca: ready.ca.clone(), control: dev.writer()?.control.clone(), seed })
    }

    /// Fuzzes the chosen operations, with at most so many examples for each in each phase that makes them up.
    pub(super) async fn run(&self, whose: Whose, chosen: &[&str], examples: u64) -> Result<Report> {
        let (summary, events) = (self.folder.join("summary.json"), self.folder.join("events.ndjson"));
        let output = tokio::process::Command::new(&self.program)
            .args(["--config-file", whose.settings(), "run", "openapi.json", "--no-color", "--continue-on-failure"])
            .args(["--generation-database", "none", "--checks", "all", "--suppress-health-check", "all", "--warnings", "off"])
            .args(["--url", &self.control, "--seed", &self.seed.to_string(), "--max-examples", &examples.to_string()])
            .args(["--report", "json,ndjson"])
            .args(whose.rate())
            .args([Path::new("--tls-verify"), &self.ca, Path::new("--report-json-path"), &summary, Path::new("--report-ndjson-path"), &events])
            .args(chosen)
            .current_dir(&self.folder)
            .env("NO_PROXY", "*")
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await?;
        let report = read(&summary, &events).with_context(|| words(&output))?;
        // 1: it found something, and the report says what.
        ensure!(matches!(output.status.code(), Some(0 | 1)) && report.is_complete, "the fuzzer broke off: {}", words(&output));
        Ok(report)
    }
}

fn read(summary: &Path, events: &Path) -> Result<Report> {
    Report::read(&std::fs::read_to_string(summary)?, &std::fs::read_to_string(events)?)
}

/// The end of what the fuzzer said.
fn words(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    let lines: Vec<_> = text.lines().collect();
    lines.get(lines.len().saturating_sub(30)..).unwrap_or_default().join("\n")
}
