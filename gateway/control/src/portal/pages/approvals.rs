//! What waits for an API owner: people who want an account, and keys that want to be used.

use askama::Template;
use axum::{
    extract::{Path, RawQuery, State},
    response::Response,
};
use model::{
    change::KeyState,
    id::AccountId,
    key::KeyId,
    problem::{Denial, ProblemKind},
};
use store::{
    account::{self, AccountState},
    key::KeyFilter,
    page::PageRequest,
};

use super::{LISTED_MAX, applications::shown_text, primary, to};
use crate::{
    admin::{account::approved, read, store_refusal},
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
    keys: Vec<Waiting>,
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
    let site = site::site(&state).await?;
    let page = PageRequest { limit: LISTED_MAX, cursor: None };
    let accounts = read!(state, |reader| account::list(reader, Some(AccountState::Pending), &page))?.items;
    let filter = KeyFilter { state: Some(KeyState::Pending), tenant: Some(site.tenant.clone()), ..KeyFilter::default() };
    let keys = read!(state, |reader| store::key::list(reader, &filter, &page))?.items;
    let of_account = |account: account::AccountInfo| Waiting {
        id: account.id.to_string(),
        name: account.name,
        about: format!("{}, {}", account.email, account.organization),
        since: minute(account.created_at),
    };
    let of_key = |key: store::key::KeyInfo| Waiting {
        about: format!("{} of {} ({})", shown_text(&key), key.application_name, key.consumer_name),
        since: minute(key.created_at),
        id: key.id.to_string(),
        name: key.name,
    };
    view::page(&List {
        frame: Frame::of(&site, "Approvals", Some(&visitor)).saying(query.as_deref()),
        accounts: accounts.into_iter().map(of_account).collect(),
        keys: keys.into_iter().map(of_key).collect(),
    })
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
    let key = read!(state, |reader| store::key::get(reader, &id))?;
    if visitor.teams.iter().any(|team| team.consumer == key.consumer) {
        return Err(Denial::new(ProblemKind::RoleInsufficient, "this is a key of your own team; somebody else has to approve it").into());
    }
    let (from, into) = (KeyState::Pending, KeyState::Active);
    store::key::life::set_state(&primary(&state)?, &id, from, into, &visitor.actor()).await.map_err(|error| store_refusal(&error))?;
    Ok(to("/portal/approvals?done=key-approved", format!("key:{id}")))
}
