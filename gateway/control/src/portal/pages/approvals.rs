//! What waits for an API owner: people who want an account, and keys that want to be used.

use askama::Template;
use axum::{
    extract::{Path, RawQuery, State},
    response::Response,
};
use model::{change::KeyState, id::AccountId, key::KeyId};
use store::{
    account::{self, AccountState},
    key::{KeyFilter, KeyInfo, decide::REASON_CHARS_MAX},
    page::PageRequest,
};

use super::{LISTED_MAX, applications::shown_text, primary, to};
use crate::{
    admin::{account::approved, key::decide, read, store_refusal},
    portal::{
        fields::Fields,
        session::{SignedIn, minute},
        site,
        view::{self, Frame},
    },
    refusal::Refusal,
    state::ControlState,
};

#[derive(Debug, Template)]
#[template(path = "portal/approvals.html")]
struct List {
    frame: Frame,
    accounts: Vec<Waiting>,
    keys: Vec<WaitingKey>,
    /// More keys wait than are listed.
    has_more: bool,
}

/// A key that waits, and what was wrong with its refusal.
#[derive(Debug)]
struct WaitingKey {
    waiting: Waiting,
    /// It is of the visitor's own team, or they have asked for it.
    is_own: bool,
    reason: String,
    wrong: Option<String>,
}

/// Somebody, or something, that waits.
#[derive(Debug)]
struct Waiting {
    id: String,
    name: String,
    about: String,
    since: String,
}

pub(in crate::portal) async fn list(State(state): State<ControlState>, visitor: SignedIn, RawQuery(query): RawQuery) -> Result<Response, Refusal> {
    let page = listed(&state, &visitor).await?;
    view::page(&List { frame: page.frame.saying(query.as_deref()), ..page })
}

async fn listed(state: &ControlState, visitor: &SignedIn) -> Result<List, Refusal> {
    let site = site::site(state).await?;
    let page = PageRequest { limit: LISTED_MAX, cursor: None };
    let accounts = read!(state, |reader| account::list(reader, Some(AccountState::Pending), &page))?.items;
    let filter = KeyFilter { state: Some(KeyState::Pending), ..KeyFilter::default() };
    let keys = read!(state, |reader| store::key::list(reader, &filter, &page))?;
    let of_account = |account: account::AccountInfo| Waiting {
        id: account.id.to_string(),
        name: account.name,
        about: format!("{}, {}", account.email, account.organization),
        since: minute(account.created_at),
    };
    Ok(List {
        frame: Frame::of(&site, "Approvals", Some(visitor)),
        accounts: accounts.into_iter().map(of_account).collect(),
        has_more: keys.next_cursor.is_some(),
        keys: keys.items.into_iter().map(|key| of_key(key, visitor)).collect(),
    })
}

fn of_key(key: KeyInfo, visitor: &SignedIn) -> WaitingKey {
    let is_member = visitor.teams.iter().any(|team| team.consumer == key.consumer);
    let is_own = is_member || key.created_by == visitor.actor().to_string();
    let scopes = key.scopes.as_ref().map_or_else(|| "all of the application".to_owned(), |scopes| scopes.join(" "));
    let waiting = Waiting {
        about: format!("{} of {} ({}), scopes: {scopes}", shown_text(&key), key.application_name, key.consumer_name),
        since: minute(key.created_at),
        id: key.id.to_string(),
        name: key.name,
    };
    WaitingKey { waiting, is_own, reason: String::new(), wrong: None }
}

pub(in crate::portal) async fn approve_account(
    State(state): State<ControlState>,
    visitor: SignedIn,
    Path(id): Path<String>,
    fields: Fields,
) -> Result<Response, Refusal> {
    fields.finish()?;
    let id: AccountId = id.parse().map_err(|_| Refusal::not_found("account"))?;
    approved(&state, id, &visitor.actor()).await?;
    Ok(to("/portal/approvals?done=account-approved", format!("account:{id}")))
}

pub(in crate::portal) async fn refuse_account(
    State(state): State<ControlState>,
    visitor: SignedIn,
    Path(id): Path<String>,
    fields: Fields,
) -> Result<Response, Refusal> {
    fields.finish()?;
    let id: AccountId = id.parse().map_err(|_| Refusal::not_found("account"))?;
    account::refuse(&primary(&state)?, id, &visitor.actor()).await.map_err(|error| store_refusal(&error))?;
    Ok(to("/portal/approvals?done=account-refused", format!("account:{id}")))
}

pub(in crate::portal) async fn approve_key(
    State(state): State<ControlState>,
    visitor: SignedIn,
    Path(id): Path<String>,
    fields: Fields,
) -> Result<Response, Refusal> {
    fields.finish()?;
    let id = KeyId::parse(&id).ok_or_else(|| Refusal::not_found("key"))?;
    Box::pin(decide::approved(&state, &id, &visitor.actor())).await?;
    Ok(to("/portal/approvals?done=key-approved", format!("key:{id}")))
}

pub(in crate::portal) async fn refuse_key(
    State(state): State<ControlState>,
    visitor: SignedIn,
    Path(id): Path<String>,
    mut fields: Fields,
) -> Result<Response, Refusal> {
    let id = KeyId::parse(&id).ok_or_else(|| Refusal::not_found("key"))?;
    let reason = fields.line("reason", REASON_CHARS_MAX);
    let wrong = fields.finish()?;
    if !wrong.is_empty() {
        let mut page = listed(&state, &visitor).await?;
        if let Some(key) = page.keys.iter_mut().find(|key| key.waiting.id == id.as_str()) {
            key.wrong = wrong.of("reason").map(str::to_owned);
            key.reason = reason;
        }
        return view::form(&wrong, &page);
    }
    Box::pin(decide::refused(&state, &id, &reason, &visitor.actor())).await?;
    Ok(to("/portal/approvals?done=key-refused", format!("key:{id}")))
}
