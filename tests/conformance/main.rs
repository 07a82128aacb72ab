//! `conformance`: plays small cases of HTTP/1.1, HTTP/2 and HPACK against any server that listens with TLS, and says what came of each.
//!
//! The exit status is 0 when no rule was broken, 1 when one was, 2 when the run could not be carried out.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "its lines are its product")]

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Parser;
use harness::conformance::target::Target;
use harness::conformance::{self, Found, Outcome};
use serde_json::json;

/// Plays cases of HTTP/1.1 (RFC 9112, RFC 9110), HTTP/2 (RFC 9113) and HPACK (RFC 7541) against a server.
#[derive(Debug, Parser)]
#[command(
    name = "conformance",
    after_help = "example:\n  conformance 127.0.0.1:8443 --trust ca.pem --path /demo/v1/items --field 'x-api-key: cw_test_…'"
)]
struct Arguments {
    /// Where the server listens.
    #[arg(required_unless_present_any = ["list", "serve"])]
    address: Option<SocketAddr>,
    /// A PEM file with the server's certificate, or with that of its CA.
    #[arg(long, required_unless_present_any = ["list", "serve"])]
    trust: Option<PathBuf>,
    /// A path that answers GET, HEAD, POST and OPTIONS with 200.
    #[arg(long, default_value = "/")]
    path: String,
    /// A field that each request needs, as `name: value`; may be repeated.
    #[arg(long)]
    field: Vec<String>,
    /// Plays only cases whose section or text holds this.
    #[arg(long, default_value = "")]
    only: String,
    /// Prints a JSON array instead of lines.
    #[arg(long)]
    json: bool,
    /// Lists the cases and ends.
    #[arg(long)]
    list: bool,
    /// Plays the service behind a server under test instead: answers 200 to everything on this port of 127.0.0.1, until it is stopped.
    #[arg(long, value_name = "PORT")]
    serve: Option<u16>,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("conformance: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run(arguments: &Arguments) -> Result<bool> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    if let Some(port) = arguments.serve {
        return runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
            let mut served = conformance::service::serve(listener);
            served.join_next().await;
            Ok(true)
        });
    }
    let (Some(address), Some(trust)) = (arguments.address, &arguments.trust) else {
        for rule in conformance::rules() {
            println!("{:<12} {:<7} {}", rule.section, rule.level, rule.text);
        }
        return Ok(true);
    };
    let field = |text: &String| {
        let (name, value) = text.split_once(':').with_context(|| format!("a field is `name: value`, not {text:?}"))?;
        Ok((name.trim().to_ascii_lowercase(), value.trim().to_owned()))
    };
    let fields = arguments.field.iter().map(field).collect::<Result<Vec<_>>>()?;
    let target = Target::new(address, trust, &arguments.path, fields)?;
    let outcomes = runtime.block_on(conformance::run(&target, &arguments.only))?;
    if arguments.json {
        println!("{}", to_json(&outcomes));
    } else {
        print(&outcomes);
    }
    Ok(!outcomes.iter().any(|outcome| matches!(outcome.found, Found::Broken(_))))
}

fn print(outcomes: &[Outcome]) {
    for Outcome { rule, found } in outcomes {
        println!("{:<12} {:<7} {:<66} {found}", rule.section, rule.level, rule.text);
    }
    let count = |is: fn(&Found) -> bool| outcomes.iter().filter(|outcome| is(&outcome.found)).count();
    println!(
        "cases={} kept={} otherwise={} broken={} skipped={}",
        outcomes.len(),
        count(|found| *found == Found::Kept),
        count(|found| matches!(found, Found::Otherwise(_))),
        count(|found| matches!(found, Found::Broken(_))),
        count(|found| matches!(found, Found::Skipped(_))),
    );
}

fn to_json(outcomes: &[Outcome]) -> serde_json::Value {
    let one = |Outcome { rule, found }: &Outcome| {
        let (kind, how) = match found {
            Found::Kept => ("kept", ""),
            Found::Otherwise(how) => ("otherwise", how.as_str()),
            Found::Broken(how) => ("broken", how.as_str()),
            Found::Skipped(why) => ("skipped", *why),
        };
        json!({ "section": rule.section, "level": rule.level.to_string(), "rule": rule.text, "found": kind, "how": how })
    };
    outcomes.iter().map(one).collect()
}
