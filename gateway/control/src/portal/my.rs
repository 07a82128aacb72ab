//! `/v1/my`: what people may do on the pages, for their programs. A program comes with a personal token (`cw_my_...`), which its owner makes
//! in the portal; it may what its owner may in their teams, at the time of the request, and nothing of what an operator may.

mod applications;
mod gate;
mod keys;
mod me;
mod notifications;
mod records;
mod team;

use model::id::ConsumerId;
use store::account::team::Membership;

pub(crate) use self::gate::guarded;
pub(super) use self::{
    applications::made,
    notifications::{address, hooked},
};
use super::{rights::Right, session::SignedIn};
use crate::{query::Query, refusal::Refusal, router::Entry};

/// Every path, with the name of its act where it has one: reading is not recorded, as on the pages.
pub(crate) fn table() -> Vec<Entry> {
    let mut table = vec![
        Entry::my_get("/v1/my", me::show, me::show_doc()),
        Entry::my_get("/v1/my/tokens", me::tokens, me::tokens_doc()),
        Entry::my_post("/v1/my/tokens/{id}/revoke", "account.revoke_token", me::revoke, me::revoke_doc()),
        Entry::my_get("/v1/my/applications", applications::list, applications::list_doc()),
        Entry::my_post("/v1/my/applications", "application.create", applications::create, applications::create_doc()),
        Entry::my_get("/v1/my/applications/{id}", applications::show, applications::show_doc()),
        Entry::my_delete("/v1/my/applications/{id}", "application.delete", applications::remove, applications::remove_doc()),
        Entry::my_get("/v1/my/usage", records::usage, records::usage_doc()),
        Entry::my_get("/v1/my/requests", records::requests, records::requests_doc()),
    ];
    table.extend(key_paths());
    table.extend(team_paths());
    table.extend(notification_paths());
    table
}

fn key_paths() -> [Entry; 8] {
    [
        Entry::my_get("/v1/my/keys", keys::list, keys::list_doc()),
        Entry::my_post("/v1/my/keys", "key.create", keys::create, keys::create_doc()),
        Entry::my_get("/v1/my/keys/{id}", keys::show, keys::show_doc()),
        Entry::my_post("/v1/my/keys/{id}/roll", "key.roll", keys::roll, keys::roll_doc()),
        Entry::my_post("/v1/my/keys/{id}/end-overlap", "key.roll", keys::end_overlap, keys::end_overlap_doc()),
        Entry::my_post("/v1/my/keys/{id}/disable", "key.disable", keys::disable, keys::disable_doc()),
        Entry::my_post("/v1/my/keys/{id}/enable", "key.enable", keys::enable, keys::enable_doc()),
        Entry::my_post("/v1/my/keys/{id}/revoke", "key.revoke", keys::revoke, keys::revoke_doc()),
    ]
}

fn team_paths() -> [Entry; 5] {
    [
        Entry::my_get("/v1/my/teams/{team}", team::show, team::show_doc()),
        Entry::my_post("/v1/my/teams/{team}/invitations", "team.invite", team::invite, team::invite_doc()),
        Entry::my_delete("/v1/my/teams/{team}/invitations/{id}", "team.withdraw_invitation", team::withdraw, team::withdraw_doc()),
        Entry::my_patch("/v1/my/teams/{team}/members/{account}", "team.set_role", team::set_role, team::set_role_doc()),
        Entry::my_delete("/v1/my/teams/{team}/members/{account}", "team.remove_member", team::remove, team::remove_doc()),
    ]
}

fn notification_paths() -> [Entry; 6] {
    [
        Entry::my_get("/v1/my/teams/{team}/webhook", notifications::show, notifications::show_doc()),
        Entry::my_post("/v1/my/teams/{team}/webhook", "webhook.set", notifications::set, notifications::set_doc()),
        Entry::my_delete("/v1/my/teams/{team}/webhook", "webhook.remove", notifications::remove, notifications::remove_doc()),
        Entry::my_post("/v1/my/teams/{team}/webhook/test", "webhook.test", notifications::test, notifications::test_doc()),
        Entry::my_get("/v1/my/mails", notifications::mails, notifications::mails_doc()),
        Entry::my_patch("/v1/my/mails", "account.set_notifications", notifications::change_mails, notifications::change_mails_doc()),
    ]
}

/// A team of this person by its id or its name, in which they may do this.
fn named<'v>(visitor: &'v SignedIn, text: &str, right: Right) -> Result<&'v Membership, Refusal> {
    let consumer = match text.parse::<ConsumerId>() {
        Ok(consumer) => consumer,
        Err(_) => visitor.teams.iter().find(|team| team.consumer_name == text).ok_or_else(|| Refusal::not_found("team"))?.consumer,
    };
    visitor.may(consumer, right, "team")
}

/// The team that is meant: the one that is named, or the only one.
fn meant<'v>(visitor: &'v SignedIn, text: Option<&str>, right: Right) -> Result<&'v Membership, Refusal> {
    match (text, &visitor.teams[..]) {
        (Some(text), _) => named(visitor, text, right),
        (None, [only]) => visitor.may(only.consumer, right, "team"),
        (None, []) => Err(Refusal::not_found("team: you belong to none")),
        (None, _) => Err(Refusal::field("/team", "required", "is required, because you belong to several teams")),
    }
}

/// The same for a parameter of the query; `None` with a mistake noted.
fn meant_by<'v>(visitor: &'v SignedIn, query: &mut Query) -> Result<Option<&'v Membership>, Refusal> {
    let text = query.text("team");
    if text.is_none() && visitor.teams.len() > 1 {
        query.refuse("team", "required", "is required, because you belong to several teams");
        return Ok(None);
    }
    meant(visitor, text.as_deref(), Right::Read).map(Some)
}
