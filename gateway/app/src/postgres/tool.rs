//! Runs the client programs: `psql` with statements on its standard input, and tools that end by themselves.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use tokio::io::AsyncWriteExt;

use super::{Binaries, SUPERUSER};

/// Runs statements through `psql` as the superuser and returns its bare output.
pub(super) async fn psql(
    binaries: &Binaries,
    port: u16,
    password: &str,
    database: &str,
    variables: &[(&str, &str)],
    statements: &str,
) -> Result<String> {
    let mut command = tokio::process::Command::new(binaries.program("psql"));
    command
        .args(["-X", "-q", "-A", "-t", "-w", "-v", "ON_ERROR_STOP=1", "-f", "-"])
        .args(["-h", "127.0.0.1", "-U", SUPERUSER, "-d", database, "-p"])
        .arg(port.to_string());
    for (name, value) in variables {
        command.arg("-v").arg(format!("{name}={value}"));
    }
    let mut child = command
        .env_clear()
        .env("LC_ALL", "C")
        .env("PGPASSWORD", password)
        .env("PGCONNECT_TIMEOUT", "10")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("cannot start psql")?;
    if let Some(mut stdin) = child.stdin.take() {
        // psql that has ended already says why on its standard error.
        drop(stdin.write_all(statements.as_bytes()).await);
    }
    let output = child.wait_with_output().await.context("psql was lost")?;
    ensure!(output.status.success(), "psql failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs a program to its end and returns its standard output.
pub(super) async fn finish(command: Command, name: &str) -> Result<String> {
    let output = tokio::process::Command::from(command).kill_on_drop(true).output().await.with_context(|| format!("cannot start {name}"))?;
    ensure!(output.status.success(), "{name} failed ({}): {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
