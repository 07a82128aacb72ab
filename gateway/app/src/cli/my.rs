//! `causeway my`: what a person with a token of their own does for their teams.

mod told;

use std::process::ExitCode;

use clap::{Args, Subcommand};
use model::id::AccountId;
use serde_json::{Value, json};

use super::{
    client::{Client, Connection, segment},
    output::{self, Format, text_of},
    page::{self, Page},
};

/// Your teams, their people and requests, by a token of your own.
#[derive(Debug, Args)]
#[command(after_help = "\
A token of your own (cw_my_...) is made in the portal, under your account. Set it as CAUSEWAY_TOKEN; then `causeway keys`, `causeway applications`
and `causeway usage` are about what your teams have.

Examples:
  causeway my show
  causeway my invite acme-k3v9 bob@example.com --role developer
  causeway my requests --status 4xx --since 1h")]
pub(crate) struct MyArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Show whose token this is, and their teams
    Show(Plain),
    /// List your tokens
    Tokens(Plain),
    /// Revoke one of your tokens
    RevokeToken(RevokeToken),
    /// List recent requests of a team, newest first
    Requests(Requests),
    /// Show a team: its members and open invitations
    Team(Team),
    /// Invite somebody to a team: print a link that works once
    Invite(Invite),
    /// Take back an invitation
    Withdraw(Withdraw),
    /// Change what somebody may do in a team
    SetRole(SetRole),
    /// Take somebody out of a team
    Remove(Remove),
    /// Show the webhook of a team, and its last calls
    Webhook(told::OfTeam),
    /// Set the webhook of a team; its secret is written to standard output, once and never again
    SetWebhook(told::SetWebhook),
    /// Send a test to the webhook of a team
    TestWebhook(told::OfTeam),
    /// Remove the webhook of a team
    RemoveWebhook(told::OfTeam),
    /// Show which mails you want
    Mails(told::Mails),
    /// Change which mails you want
    SetMails(told::SetMails),
}

#[derive(Debug, Args)]
struct Plain {
    #[command(flatten)]
    format: Format,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, Args)]
struct RevokeToken {
    /// The token's public id, twelve characters.
    #[arg(value_name = "ID")]
    id: String,
    #[command(flatten)]
    plain: Plain,
}

#[derive(Debug, Args)]
struct Requests {
    /// The team, by id or name; for whoever belongs to several.
    #[arg(long, value_name = "TEAM")]
    team: Option<String>,
    /// Only this request.
    #[arg(long, value_name = "ID")]
    request_id: Option<String>,
    /// Only with this key.
    #[arg(long, value_name = "ID")]
    key: Option<String>,
    /// Only with such a status: 403, 4xx, >=400.
    #[arg(long, value_name = "STATUS")]
    status: Option<String>,
    /// From when on: a time, or how long ago; seven days when absent.
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Until when.
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    #[command(flatten)]
    page: Page,
}

#[derive(Debug, Args)]
struct Team {
    /// The team, by id or name.
    team: String,
    #[command(flatten)]
    plain: Plain,
}

#[derive(Debug, Args)]
struct Invite {
    /// The team, by id or name.
    team: String,
    /// Whom.
    email: String,
    /// What they become there.
    #[arg(long, default_value = "developer", value_parser = ["owner", "developer", "viewer"])]
    role: String,
    #[command(flatten)]
    plain: Plain,
}

#[derive(Debug, Args)]
struct Withdraw {
    /// The team, by id or name.
    team: String,
    /// The invitation, as `my team` shows it.
    invitation: uuid::Uuid,
    #[command(flatten)]
    plain: Plain,
}

#[derive(Debug, Args)]
struct SetRole {
    /// The team, by id or name.
    team: String,
    /// The member, as `my team` shows it.
    #[arg(value_name = "ACCOUNT", value_parser = account)]
    account: AccountId,
    /// What they become.
    #[arg(value_parser = ["owner", "developer", "viewer"])]
    role: String,
    #[command(flatten)]
    plain: Plain,
}

#[derive(Debug, Args)]
struct Remove {
    /// The team, by id or name.
    team: String,
    /// The member, as `my team` shows it.
    #[arg(value_name = "ACCOUNT", value_parser = account)]
    account: AccountId,
    #[command(flatten)]
    plain: Plain,
}

fn account(text: &str) -> Result<AccountId, String> {
    text.parse().map_err(|_| "an account's id begins with acc_ and has 32 hexadecimal digits".to_owned())
}

/// Runs the verb.
///
/// # Errors
/// When nothing can be written.
pub(crate) async fn run(args: MyArgs) -> anyhow::Result<ExitCode> {
    match args.verb {
        Verb::Show(args) => output::finish(show(&args).await, args.format),
        Verb::Tokens(args) => output::finish(tokens(&args).await, args.format),
        Verb::RevokeToken(args) => output::finish(revoke_token(&args).await, args.plain.format),
        Verb::Requests(args) => output::finish(requests(&args).await, args.page.format),
        Verb::Team(args) => output::finish(team(&args).await, args.plain.format),
        Verb::Invite(args) => output::finish(invite(&args).await, args.plain.format),
        Verb::Withdraw(args) => output::finish(withdraw(&args).await, args.plain.format),
        Verb::SetRole(args) => output::finish(set_role(&args).await, args.plain.format),
        Verb::Remove(args) => output::finish(remove(&args).await, args.plain.format),
        Verb::Webhook(args) => output::finish(told::webhook(&args).await, args.plain.format),
        Verb::SetWebhook(args) => output::finish(told::set_webhook(&args).await, args.plain.format),
        Verb::TestWebhook(args) => output::finish(told::test_webhook(&args).await, args.plain.format),
        Verb::RemoveWebhook(args) => output::finish(told::remove_webhook(&args).await, args.plain.format),
        Verb::Mails(args) => output::finish(told::mails(&args).await, args.plain.format),
        Verb::SetMails(args) => output::finish(told::set_mails(&args).await, args.plain.format),
    }
}

fn items<'a>(value: &'a Value, member: &str) -> &'a [Value] {
    value.get(member).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn rows<'a>(items: &'a [Value], members: &'a [&'a str]) -> impl Iterator<Item = Vec<String>> + 'a {
    items.iter().map(move |item| members.iter().map(|member| output::clean(&text_of(item, member))).collect())
}

/// Prints a sentence, or what came as JSON.
fn said(answer: &Value, format: Format, sentence: &str) -> anyhow::Result<ExitCode> {
    if format.json {
        output::json_out(answer)?;
    } else {
        output::out(sentence)?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn show(args: &Plain) -> anyhow::Result<ExitCode> {
    let me = Client::new(&args.connection)?.get("/v1/my", &[]).await?;
    if args.format.json {
        return said(&me, args.format, "");
    }
    output::out(&format!("{} <{}>, {}", output::clean(&text_of(&me, "name")), text_of(&me, "email"), text_of(&me, "id")))?;
    output::out(&output::table(&["TEAM", "ID", "TENANT", "ROLE"], rows(items(&me, "teams"), &["name", "id", "tenant", "role"])))?;
    Ok(ExitCode::SUCCESS)
}

async fn tokens(args: &Plain) -> anyhow::Result<ExitCode> {
    let page = Client::new(&args.connection)?.get("/v1/my/tokens", &[]).await?;
    let table = output::table(&["ID", "NAME", "MADE", "ENDS"], rows(items(&page, "items"), &["id", "name", "created_at", "expires_at"]));
    said(&page, args.format, &table)
}

async fn revoke_token(args: &RevokeToken) -> anyhow::Result<ExitCode> {
    let client = Client::new(&args.plain.connection)?;
    let done = client.post(&format!("/v1/my/tokens/{}/revoke", segment(&args.id)), None).await?;
    said(&done, args.plain.format, &format!("token {} is revoked", text_of(&done, "id")))
}

async fn requests(args: &Requests) -> anyhow::Result<ExitCode> {
    let filters = [
        ("team", &args.team),
        ("request_id", &args.request_id),
        ("key", &args.key),
        ("status", &args.status),
        ("since", &args.since),
        ("until", &args.until),
    ];
    let header = ["AT", "REQUEST", "METHOD", "PATH", "STATUS", "PROBLEM", "APPLICATION", "KEY", "US"];
    let row = page::members(&["at", "request_id", "method", "path", "status", "reason", "application", "key_id", "duration_us"]);
    args.page.show("/v1/my/requests", filters.map(|(name, value)| (name, value.as_deref())), &header, row).await
}

fn of_team(team: &str, rest: &str) -> String {
    format!("/v1/my/teams/{}{rest}", segment(team))
}

async fn team(args: &Team) -> anyhow::Result<ExitCode> {
    let found = Client::new(&args.plain.connection)?.get(&of_team(&args.team, ""), &[]).await?;
    if args.plain.format.json {
        return said(&found, args.plain.format, "");
    }
    output::out(&format!("team {} of {}, {}", text_of(&found, "name"), text_of(&found, "tenant"), text_of(&found, "id")))?;
    let header = ["ACCOUNT", "NAME", "MAIL", "ROLE", "SINCE"];
    output::out(&output::table(&header, rows(items(&found, "members"), &["id", "name", "email", "role", "since"])))?;
    let open = items(&found, "invitations");
    if !open.is_empty() {
        output::out(&output::table(&["INVITATION", "MAIL", "ROLE", "UNTIL"], rows(open, &["id", "email", "role", "expires_at"])))?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn invite(args: &Invite) -> anyhow::Result<ExitCode> {
    let client = Client::new(&args.plain.connection)?;
    let made = client.post(&of_team(&args.team, "/invitations"), Some(&json!({ "email": args.email, "role": args.role }))).await?;
    if args.plain.format.json {
        return said(&made, args.plain.format, "");
    }
    let told = format!("{} as {}, until {}", text_of(&made, "email"), text_of(&made, "role"), text_of(&made, "expires_at"));
    output::remark(&format!("invitation of {told}; shown only now, behind the name of a control listener:"))?;
    output::out(&text_of(&made, "link"))?;
    Ok(ExitCode::SUCCESS)
}

async fn withdraw(args: &Withdraw) -> anyhow::Result<ExitCode> {
    let client = Client::new(&args.plain.connection)?;
    let done = client.delete(&of_team(&args.team, &format!("/invitations/{}", args.invitation))).await?;
    said(&done, args.plain.format, &format!("invitation {} is withdrawn", text_of(&done, "id")))
}

async fn set_role(args: &SetRole) -> anyhow::Result<ExitCode> {
    let client = Client::new(&args.plain.connection)?;
    let done = client.patch(&of_team(&args.team, &format!("/members/{}", args.account)), &json!({ "role": args.role })).await?;
    said(&done, args.plain.format, &format!("account {} is {} now", text_of(&done, "id"), text_of(&done, "role")))
}

async fn remove(args: &Remove) -> anyhow::Result<ExitCode> {
    let client = Client::new(&args.plain.connection)?;
    let done = client.delete(&of_team(&args.team, &format!("/members/{}", args.account))).await?;
    said(&done, args.plain.format, &format!("account {} does not belong to the team any more", text_of(&done, "id")))
}
