//! The command line: every verb, and where it is done.

use std::{io::Write, path::PathBuf, process::ExitCode};

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand};

use crate::{boot, config::LogFormat, dev, node, telemetry};

mod accounts;
pub mod admin;
mod applications;
pub mod apply;
pub mod audit;
pub mod cache;
pub mod check;
pub mod client;
mod consumers;
pub mod diagnostics;
pub mod keys;
mod my;
mod nodes;
mod notifications;
mod openapi;
mod operators;
pub mod output;
mod page;
mod policy;
pub mod status;
mod tokens;
mod usage;

/// A secure multi-region API gateway.
#[derive(Debug, Parser)]
#[command(name = "causeway", version, about, after_help = EXAMPLES, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

const EXAMPLES: &str = "Examples:
  causeway dev                              a whole deployment on this machine, with a tour
  causeway check gateway.yaml node.yaml     find every mistake, offline
  causeway apply -f gateway.yaml            make it so
  causeway keys create --name billing       issue an API key
  causeway audit query key:7sEgbYf9hQ2x     what that key did

Exit codes: 0 done, 1 it failed, 2 the command line is wrong (diff: 2 there are changes).";

#[derive(Debug, Subcommand)]
enum Verb {
    /// Run a deployment on this machine: PostgreSQL with a standby, two regions, a demo service, a tour
    Dev(DevArgs),
    /// Run a node
    #[command(after_help = "Example:\n  causeway serve --config node.yaml")]
    Serve(NodeArgs),
    /// Bring the control database's schema up to date
    #[command(after_help = "Example:\n  causeway migrate --config node.yaml")]
    Migrate(NodeArgs),
    /// Set up a deployment
    #[command(subcommand)]
    Admin(admin::AdminVerb),
    /// Find every mistake in gateway and node files, offline
    Check(check::CheckArgs),
    /// Make what a gateway file says so
    Apply(apply::ApplyArgs),
    /// Show what `apply` would change
    Diff(apply::DiffArgs),
    /// Issue, roll, change, pause and revoke API keys; find leaked ones
    Keys(keys::KeysArgs),
    /// List, make, change and remove consumers: who calls, and where their data may lie
    Consumers(consumers::ConsumersArgs),
    /// List, make and remove applications
    Applications(applications::ApplicationsArgs),
    /// Your teams, their people and requests, by a token of your own
    My(my::MyArgs),
    /// Show how much keys were used: requests, errors, latency
    Usage(usage::UsageArgs),
    /// Refuse tokens of issuers
    Tokens(tokens::TokensArgs),
    /// Make, list and end operator tokens
    Operators(operators::OperatorsArgs),
    /// People who sign in to the pages: approve, refuse, switch off and on, invite operators
    Accounts(accounts::AccountsArgs),
    /// What people are told by mail and webhook: list it, send it again
    Notifications(notifications::NotificationsArgs),
    /// Purge stored responses
    Cache(cache::CacheArgs),
    /// Search the access log
    Audit(audit::AuditArgs),
    /// Show a node and its deployment
    Status(status::StatusArgs),
    /// The registered nodes: list them, strike off what is gone for good
    Nodes(nodes::NodesArgs),
    /// Print the admin API's OpenAPI document
    #[command(name = "openapi")]
    OpenApi(openapi::OpenApiArgs),
    /// Print who may do what
    Policy(policy::PolicyArgs),
    /// Make development certificates
    #[command(subcommand)]
    Certs(CertsVerb),
    /// The demo service of `causeway dev`
    #[command(hide = true)]
    DemoService(DemoArgs),
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  causeway dev
  causeway dev --data ~/causeway-dev        keep keys and data between runs
  causeway dev --port 0 --ready-file ready.json   free ports, for scripts")]
struct DevArgs {
    /// Keep state in this folder between runs; without it, everything is gone at the end
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// The first of eight ports; 0 takes free ones
    #[arg(long, default_value_t = 8443)]
    port: u16,
    /// Write JSON for scripts to this file once all is up
    #[arg(long, value_name = "FILE")]
    ready_file: Option<PathBuf>,
}

/// Which node.
#[derive(Debug, Args)]
pub struct NodeArgs {
    /// The node file
    #[arg(long, short, value_name = "FILE")]
    pub config: PathBuf,
}

#[derive(Debug, Subcommand)]
enum CertsVerb {
    /// Make a development CA, a server certificate and a key that signs who calls, unless they are there
    #[command(after_help = "Example:\n  causeway certs dev --dir certs --host api.example.test")]
    Dev {
        /// Where to write ca.pem, server.pem, server.key and principal.key
        #[arg(long, default_value = "certs")]
        dir: PathBuf,
        /// A host name or address for the certificate; may be repeated
        #[arg(long = "host", default_values = ["localhost", "127.0.0.1", "::1"])]
        hosts: Vec<String>,
    },
}

#[derive(Debug, Args)]
struct DemoArgs {
    #[arg(long)]
    listen: std::net::SocketAddr,
    #[arg(long)]
    region: String,
    #[arg(long)]
    database: String,
    /// The database password, as `file:PATH` or `env:NAME`
    #[arg(long)]
    password: String,
}

/// Parses the command line and does what it says.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().worker_threads(2).thread_name("control").build();
    let result = match runtime {
        Ok(runtime) => runtime.block_on(run(cli.verb)),
        Err(error) => Err(error).context("cannot start the runtime"),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            writeln!(std::io::stderr().lock(), "error: {error:#}").ok();
            ExitCode::FAILURE
        }
    }
}

async fn run(verb: Verb) -> Result<ExitCode> {
    match verb {
        Verb::Dev(args) => {
            telemetry::start(LogFormat::Text);
            let options = dev::Options { data: args.data, port: args.port, ready_file: args.ready_file };
            Box::pin(dev::run(options, stop_signal()?)).await?;
        }
        Verb::Serve(args) => {
            let config = boot::node_config(&args.config)?;
            telemetry::start(config.log);
            Box::pin(node::run(config, stop_signal()?)).await?;
        }
        Verb::Check(args) => return check::run(&args),
        Verb::Apply(args) => return apply::run_apply(args).await,
        Verb::Diff(args) => return apply::run_diff(args).await,
        Verb::Keys(args) => return keys::run(args).await,
        Verb::Usage(args) => return usage::run(args).await,
        Verb::Tokens(args) => return tokens::run(args).await,
        Verb::Accounts(args) => return accounts::run(args).await,
        Verb::Consumers(args) => return consumers::run(args).await,
        Verb::Applications(args) => return applications::run(args).await,
        Verb::My(args) => return my::run(args).await,
        Verb::Notifications(args) => return notifications::run(args).await,
        Verb::Operators(args) => return operators::run(args).await,
        Verb::Cache(args) => return cache::run(args).await,
        Verb::Audit(args) => return audit::run(args).await,
        Verb::Status(args) => return status::run(args).await,
        Verb::Nodes(args) => return nodes::run(args).await,
        Verb::OpenApi(args) => return openapi::run(&args),
        Verb::Policy(args) => return policy::run(&args),
        Verb::Migrate(args) => admin::migrate(&args).await?,
        Verb::Admin(verb) => Box::pin(admin::run(verb)).await?,
        Verb::Certs(CertsVerb::Dev { dir, hosts }) => {
            let files = crate::certs::development(&dir, &hosts, time::OffsetDateTime::now_utc())?;
            say(&format!(
                "CA             {}\ncertificate    {}\nkey            {}\nprincipal key  {}\n",
                files.ca.display(),
                files.certificate.display(),
                files.key.display(),
                files.principal.display()
            ));
        }
        Verb::DemoService(args) => {
            telemetry::start(LogFormat::Text);
            let password = boot::secret("demo database password", &args.password.try_into().map_err(anyhow::Error::msg)?)?;
            let credentials = store::pool::Credentials { name: "demo".to_owned(), user: "demo".to_owned(), password, tls: store::pool::Tls::Plain };
            let demo = dev::demo::Demo { listen: args.listen, region: args.region, database: args.database, credentials };
            dev::demo::serve(demo, stop_signal()?).await?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Resolves at Ctrl-C or SIGTERM.
fn stop_signal() -> Result<impl Future<Output = ()> + Send + 'static> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

/// Writes to standard output; a closed pipe is no error.
pub fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).ok();
}

/// Tells a person what is going on, on standard error.
pub fn progress(text: &str) {
    writeln!(std::io::stderr().lock(), "causeway: {text}").ok();
}
