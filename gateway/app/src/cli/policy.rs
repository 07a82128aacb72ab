//! `causeway policy`: who may do what, without a node.

use std::process::ExitCode;

use clap::Args;

use super::output;

/// Print who may do what: roles, actions, resources.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  causeway policy > policy.md

The page is Markdown, and that of this version of the program.
Exit codes: 0 printed, 1 failed, 2 wrong usage.")]
pub(crate) struct PolicyArgs {}

/// Runs the verb.
///
/// # Errors
/// When nothing can be written.
pub(crate) fn run(_: &PolicyArgs) -> anyhow::Result<ExitCode> {
    output::out(&control::policy::matrix::text())?;
    Ok(ExitCode::SUCCESS)
}
