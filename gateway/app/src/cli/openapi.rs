//! `causeway openapi`: the admin API's description, without a node.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;

use super::output;

/// Print the admin API's OpenAPI document.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  causeway openapi > admin-api.json
  curl --cacert ca.pem https://node.example.test:9443/v1/openapi.json     the same, from a node

The document is OpenAPI 3.1, and that of this version of the program.
Exit codes: 0 printed, 1 failed, 2 wrong usage.")]
pub(crate) struct OpenApiArgs {}

/// Runs the verb.
///
/// # Errors
/// When nothing can be written.
pub(crate) fn run(_: &OpenApiArgs) -> anyhow::Result<ExitCode> {
    output::out(&control::openapi::text().context("the document cannot be written as JSON")?)?;
    Ok(ExitCode::SUCCESS)
}
