//! Runs of the built program to their end, with a deadline.

use std::process::Stdio;
use std::time::{Duration, Instant};

use harness::dev::{self, Ready, Role};
use serde_json::Value;

/// What a run left behind.
#[derive(Debug, Clone)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) took: Duration,
}

impl Ran {
    /// Standard output as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("no JSON ({error}): {self:?}"))
    }

    /// Fails the test unless the run ended with `code`.
    pub(crate) fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:?}");
        self
    }
}

/// Runs `causeway` with these arguments and environment; nothing of the test's own environment that begins with `CAUSEWAY`.
#[expect(clippy::disallowed_methods, reason = "a test's own clock")]
pub(crate) async fn causeway(arguments: &[&str], environment: &[(&str, &str)], within: Duration) -> Ran {
    let mut command = tokio::process::Command::new(dev::binary().unwrap());
    command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    for name in ["CAUSEWAY_CONTROL", "CAUSEWAY_TOKEN", "CAUSEWAY_CA", "CAUSEWAY_LOG"] {
        command.env_remove(name);
    }
    let began = Instant::now();
    let output = tokio::time::timeout(within, command.envs(environment.iter().copied()).output()).await;
    let output = output.unwrap_or_else(|_| panic!("causeway {arguments:?} did not end within {} s", within.as_secs())).unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ran { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr), took: began.elapsed() }
}

/// The same against the writer region of a deployment, with its operator token.
pub(crate) async fn causeway_at(ready: &Ready, arguments: &[&str]) -> Ran {
    let writer = ready.regions.iter().find(|region| region.role == Role::Writer).unwrap();
    let environment =
        [("CAUSEWAY_CONTROL", writer.control.as_str()), ("CAUSEWAY_TOKEN", &ready.operator_token), ("CAUSEWAY_CA", ready.ca.to_str().unwrap())];
    causeway(arguments, &environment, Duration::from_secs(30)).await
}
