//! `causeway accounts`: the people who sign in to the pages.

use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};
use model::id::AccountId;
use serde_json::json;

use super::{
    client::{Client, Connection},
    output::{self, Format, text_of},
    page::{self, Page},
};

/// People who sign in to the pages.
#[derive(Debug, Args)]
pub(crate) struct AccountsArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List accounts, newest first
    List(List),
    /// Let somebody in who asked for an account: they get a team of their own
    Approve(One),
    /// Forget a request for an account
    Refuse(One),
    /// Switch an account off: its sessions end, its keys go on
    Disable(One),
    /// Switch an account on again
    Enable(One),
    /// Print a link by which somebody gets another password, once
    ResetPassword(One),
    /// Take the second factor from somebody who has lost it: their sessions end
    ResetSecondFactor(One),
    /// Let somebody sign in by the provider from now on: their password, second factor, sessions and tokens end
    Link(Link),
    /// Invite an operator: print a link that makes one account, once
    Invite(Invite),
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  causeway accounts list --state pending
  causeway accounts list --limit 200 --json

Exit codes: 0 shown, 1 refused or failed, 2 wrong usage.")]
struct List {
    /// Only in this state.
    #[arg(long)]
    state: Option<State>,
    #[command(flatten)]
    page: Page,
}

/// What an account is.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum State {
    Pending,
    Active,
    Disabled,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  causeway accounts approve acc_01a2258a9c577147b71e8e6a88afe441
  causeway accounts disable acc_01a2258a9c577147b71e8e6a88afe441

Exit codes: 0 done, 1 refused or failed, 2 wrong usage.")]
struct One {
    /// The account, as the list shows it.
    #[arg(value_name = "ID", value_parser = id)]
    id: AccountId,
    #[command(flatten)]
    format: Format,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  causeway accounts invite alice@example.com --role approver

The link works once, and for a day. Roles: viewer, developer, approver, operator, security, auditor, and admin for operator and
auditor together. You can give what your own token allows, and no more. Exit codes: 0 made, 1 refused or failed, 2 wrong usage.")]
struct Invite {
    /// Whom the account is for.
    email: String,
    /// What they may be.
    #[arg(long, value_name = "ROLE")]
    role: String,
    #[command(flatten)]
    format: Format,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  causeway accounts link acc_01a2258a9c577147b71e8e6a88afe441 --subject 248289761001

The provider's own pages show the subject; so does the page that tells somebody that their address has an account already. Make sure
that it is theirs: whoever it is becomes the account. Exit codes: 0 done, 1 refused or failed, 2 wrong usage.")]
struct Link {
    /// The account, as the list shows it.
    #[arg(value_name = "ID", value_parser = id)]
    id: AccountId,
    /// What the provider calls them, unique and for good (`sub`).
    #[arg(long, value_name = "SUBJECT")]
    subject: String,
    #[command(flatten)]
    format: Format,
    #[command(flatten)]
    connection: Connection,
}

fn id(text: &str) -> Result<AccountId, String> {
    text.parse().map_err(|_| "an account's id begins with acc_ and has 32 hexadecimal digits".to_owned())
}

/// Runs the verb.
///
/// # Errors
/// When nothing can be written.
pub(crate) async fn run(args: AccountsArgs) -> anyhow::Result<ExitCode> {
    match args.verb {
        Verb::List(args) => output::finish(list(&args).await, args.page.format),
        Verb::Approve(args) => output::finish(act(&args, "approve").await, args.format),
        Verb::Refuse(args) => output::finish(act(&args, "refuse").await, args.format),
        Verb::Disable(args) => output::finish(act(&args, "disable").await, args.format),
        Verb::Enable(args) => output::finish(act(&args, "enable").await, args.format),
        Verb::ResetPassword(args) => output::finish(reset_password(&args).await, args.format),
        Verb::ResetSecondFactor(args) => output::finish(act(&args, "reset-second-factor").await, args.format),
        Verb::Link(args) => output::finish(link(&args).await, args.format),
        Verb::Invite(args) => output::finish(invite(&args).await, args.format),
    }
}

async fn list(args: &List) -> anyhow::Result<ExitCode> {
    let state = args.state.and_then(|state| state.to_possible_value());
    let header = ["ID", "MAIL", "NAME", "TEAM", "OPERATOR", "2ND FACTOR", "STATE", "MADE"];
    let row = page::members(&["id", "email", "name", "organization", "role", "has_second_factor", "state", "created_at"]);
    args.page.show("/v1/accounts", [("state", state.as_ref().map(clap::builder::PossibleValue::get_name))], &header, row).await
}

async fn act(args: &One, verb: &str) -> anyhow::Result<ExitCode> {
    let done = Client::new(&args.connection)?.post(&format!("/v1/accounts/{}/{verb}", args.id), None).await?;
    if args.format.json {
        output::json_out(&done)?;
    } else {
        output::out(&format!("account {} is {}", text_of(&done, "id"), text_of(&done, "state")))?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn link(args: &Link) -> anyhow::Result<ExitCode> {
    let body = json!({ "subject": args.subject });
    let done = Client::new(&args.connection)?.post(&format!("/v1/accounts/{}/link", args.id), Some(&body)).await?;
    if args.format.json {
        output::json_out(&done)?;
    } else {
        output::out(&format!("account {} signs in by the provider from now on", text_of(&done, "id")))?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn reset_password(args: &One) -> anyhow::Result<ExitCode> {
    let made = Client::new(&args.connection)?.post(&format!("/v1/accounts/{}/reset", args.id), None).await?;
    if args.format.json {
        output::json_out(&made)?;
        return Ok(ExitCode::SUCCESS);
    }
    let told = format!("{}, until {}", text_of(&made, "email"), text_of(&made, "expires_at"));
    output::remark(&format!("link for {told}; shown only now, behind the name of a control listener:"))?;
    output::out(&text_of(&made, "link"))?;
    Ok(ExitCode::SUCCESS)
}

async fn invite(args: &Invite) -> anyhow::Result<ExitCode> {
    let client = Client::new(&args.connection)?;
    let made = client.post("/v1/accounts/invite", Some(&json!({ "email": args.email, "role": args.role }))).await?;
    if args.format.json {
        output::json_out(&made)?;
        return Ok(ExitCode::SUCCESS);
    }
    let told = format!("{} as {}, until {}", text_of(&made, "email"), text_of(&made, "role"), text_of(&made, "expires_at"));
    output::remark(&format!("invitation of {told}; shown only now, behind the name of a control listener:"))?;
    output::out(&text_of(&made, "link"))?;
    Ok(ExitCode::SUCCESS)
}
