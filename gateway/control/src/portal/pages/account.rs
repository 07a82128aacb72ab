//! A person's own account: who they are, their password, their sessions.

use askama::Template;
use axum::{
    extract::{RawQuery, State},
    response::Response,
};
use http::{HeaderMap, header};
use store::account::{self, session as sessions};

use super::{
    primary,
    sign::{Tried, entered, hashed, new_password, tried},
    to,
};
use crate::{
    admin::store_refusal,
    portal::{
        fields::{Fields, Wrong},
        session::{self, SignedIn, minute},
        site,
        view::{self, Frame},
    },
    refusal::Refusal,
    state::ControlState,
};

#[derive(Debug, Template)]
#[template(path = "portal/account.html")]
struct Account {
    frame: Frame,
    name: String,
    email: String,
    since: String,
    role: Option<String>,
    has_second_factor: bool,
    wrong: Wrong,
}

pub(in crate::portal) async fn show(State(state): State<ControlState>, visitor: SignedIn, RawQuery(query): RawQuery) -> Result<Response, Refusal> {
    let page = shown(&state, &visitor, Wrong::default()).await?;
    view::page(&Account { frame: page.frame.saying(query.as_deref()), ..page })
}

async fn shown(state: &ControlState, visitor: &SignedIn, wrong: Wrong) -> Result<Account, Refusal> {
    let site = site::site(state).await?;
    let account = &visitor.account;
    Ok(Account {
        frame: Frame::of(&site, "Your account", Some(visitor)),
        name: account.name.clone(),
        email: account.email.clone(),
        since: minute(account.created_at),
        role: account.role.clone(),
        has_second_factor: account.has_second_factor,
        wrong,
    })
}

/// A new password ends every session; this browser gets a new one.
pub(in crate::portal) async fn change_password(
    State(state): State<ControlState>,
    visitor: SignedIn,
    headers: HeaderMap,
    mut fields: Fields,
) -> Result<Response, Refusal> {
    let email = visitor.account.email.as_str();
    let current = fields.text("current");
    let password = new_password(&mut fields, email);
    let mut wrong = fields.finish()?;
    if wrong.is_empty() {
        state.portal().throttle.own_password(visitor.account.id.uuid(), state.now().boot)?;
        if let Tried::Opens(_) = tried(&state, email, current).await? {
            let hashed = hashed(&state, password).await?;
            let changed = account::set_password(&primary(&state)?, visitor.account.id, &hashed.text, hashed.pepper_version).await;
            changed.map_err(|error| store_refusal(&error))?;
            return entered(&state, &headers, (&visitor.account, visitor.proof), "/portal/account", "?done=password-changed").await;
        }
        wrong = Wrong::one("current", "is not your password");
    }
    view::form(&wrong.clone(), &shown(&state, &visitor, wrong).await?)
}

pub(in crate::portal) async fn sign_out_everywhere(
    State(state): State<ControlState>,
    visitor: SignedIn,
    fields: Fields,
) -> Result<Response, Refusal> {
    fields.finish()?;
    sessions::end_all(&primary(&state)?, visitor.account.id).await.map_err(|error| store_refusal(&error))?;
    let mut response = to("/portal/sign-in?done=signed-out", format!("account:{}", visitor.account.id));
    response.headers_mut().insert(header::SET_COOKIE, session::cookie("", 0)?);
    Ok(response)
}
