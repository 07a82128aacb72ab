//! `causeway cache`: purge stored responses.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use model::purge::Tag;
use serde_json::{Map, Value, json};

use super::{
    client::{Client, Connection},
    output::{self, Format, text_of},
};

/// Purge stored responses.
#[derive(Debug, Args)]
pub(crate) struct CacheArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Make stored responses worthless, on every node of every region.
    Purge(Purge),
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  causeway cache purge --tag product:1234
  causeway cache purge --tag front-page --tag menu --route shop-pages --json
  causeway cache purge --route shop-pages
  causeway cache purge --tenant shop

Services tag what they answer with `Cache-Tag: product:1234, front-page`. What is given narrows: --route and --tag together purge
what has the tag and is the route's. Of several tags, each is enough.
Nodes act on it within a second of `committed_at`, like on the revocation of a key. A node that is cut off from the database gives
no response that is older than the route's `consistency.keys.max_staleness`, unless its `on_stale` allows it.
Doing it again is harmless: it purges what was stored since.

Exit codes: 0 written, 1 refused or failed, 2 wrong usage.")]
struct Purge {
    /// Responses with this tag; give it up to 16 times for several.
    #[arg(long = "tag", value_name = "TAG", value_parser = tag, required_unless_present_any = ["route", "tenant"])]
    tags: Vec<Tag>,
    /// Only responses of this route.
    #[arg(long, value_name = "ROUTE")]
    route: Option<String>,
    /// Only responses of this tenant's routes.
    #[arg(long, value_name = "TENANT")]
    tenant: Option<String>,
    #[command(flatten)]
    format: Format,
    #[command(flatten)]
    connection: Connection,
}

fn tag(text: &str) -> Result<Tag, model::purge::NoTag> {
    Tag::parse(text)
}

/// Runs the verb.
///
/// # Errors
/// When nothing can be written.
pub(crate) async fn run(args: CacheArgs) -> anyhow::Result<ExitCode> {
    match args.verb {
        Verb::Purge(args) => output::finish(purge(&args).await, args.format),
    }
}

async fn purge(args: &Purge) -> anyhow::Result<ExitCode> {
    let mut body = Map::new();
    if !args.tags.is_empty() {
        body.insert("tags".to_owned(), json!(args.tags));
    }
    for (member, name) in [("route", &args.route), ("tenant", &args.tenant)] {
        if let Some(name) = name {
            body.insert(member.to_owned(), json!(name));
        }
    }
    let purged = Client::new(&args.connection)?.post("/v1/cache/purge", Some(&Value::Object(body))).await?;
    if args.format.json {
        output::json_out(&purged)?;
        return Ok(ExitCode::SUCCESS);
    }
    let revision = purged.get("revision").map(|revision| format!("{}.{}", text_of(revision, "epoch"), text_of(revision, "authority")));
    output::out(&format!("purged at {}, revision {}", text_of(&purged, "committed_at"), revision.as_deref().unwrap_or("-")))?;
    output::remark("nodes that reach the database act on it within a second")?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests;
