//! Tokens for a person's own programs: made here, shown once, revoked here.

use askama::Template;
use axum::{
    extract::{Path, RawQuery, State},
    response::Response,
};
use model::{
    key::{self, KeyId, Purpose},
    secret::SecretText,
};
use store::{
    account::token::{self, NewToken, TokenInfo},
    error::StoreError,
};

use super::{is_conflict, primary, to};
use crate::{
    admin::{key::draw, read, store_refusal},
    operator::Wanted,
    portal::{
        fields::{Fields, Wrong},
        session::{SignedIn, minute},
        site,
        view::{self, Frame},
    },
    refusal::Refusal,
    state::ControlState,
    trail::Object,
};

/// Lifetimes that the form offers, in days.
const LIFETIMES: [(&str, i64); 4] = [("30 days", 30), ("7 days", 7), ("90 days", 90), ("one year", 365)];

#[derive(Debug, Template)]
#[template(path = "portal/tokens.html")]
struct Tokens {
    frame: Frame,
    lines: Vec<Line>,
    /// One that was just made: the only page that ever shows it.
    made: Option<SecretText>,
    name: String,
    wrong: Wrong,
}

/// A token in a list.
#[derive(Debug)]
struct Line {
    id: String,
    name: String,
    created: String,
    expires: String,
    is_over: bool,
}

impl Tokens {
    const fn lifetimes() -> [(&'static str, i64); 4] {
        LIFETIMES
    }
}

pub(in crate::portal) async fn show(State(state): State<ControlState>, visitor: SignedIn, RawQuery(query): RawQuery) -> Result<Response, Refusal> {
    let page = shown(&state, &visitor, String::new(), Wrong::default()).await?;
    view::page(&Tokens { frame: page.frame.saying(query.as_deref()), ..page })
}

async fn shown(state: &ControlState, visitor: &SignedIn, name: String, wrong: Wrong) -> Result<Tokens, Refusal> {
    let site = site::site(state).await?;
    let now = state.now().wall;
    let found = read!(state, |reader| token::of_account(reader, visitor.account.id))?;
    let line = |info: TokenInfo| Line {
        id: info.id.to_string(),
        name: info.name,
        created: minute(info.created_at),
        expires: minute(info.expires_at),
        is_over: now >= info.expires_at,
    };
    let lines = found.into_iter().map(line).collect();
    Ok(Tokens { frame: Frame::of(&site, "Tokens for your programs", Some(visitor)), lines, made: None, name, wrong })
}

pub(in crate::portal) async fn create(State(state): State<ControlState>, visitor: SignedIn, mut fields: Fields) -> Result<Response, Refusal> {
    let name = fields.line("name", 80);
    let days = fields.text("days").parse::<i64>().ok().filter(|days| LIFETIMES.iter().any(|(_, known)| known == days));
    if days.is_none() {
        fields.refuse("days", "must be one of the list");
    }
    let mut wrong = fields.finish()?;
    if let (Some(days), true) = (days, wrong.is_empty()) {
        match made(&state, &visitor, &name, days).await? {
            Ok((id, text)) => {
                let page = shown(&state, &visitor, String::new(), Wrong::default()).await?;
                let mut response = view::page(&Tokens { made: Some(text), ..page })?;
                response.extensions_mut().insert(Object(format!("token:{id}")));
                return Ok(response);
            }
            Err(error) if is_conflict(&error, "token_count") => wrong = Wrong::one("name", "has to wait: you have 20 tokens; revoke one first"),
            Err(error) => return Err(store_refusal(&error)),
        }
    }
    view::form(&wrong.clone(), &shown(&state, &visitor, name, wrong).await?)
}

async fn made(state: &ControlState, visitor: &SignedIn, name: &str, days: i64) -> Result<Result<(KeyId, SecretText), StoreError>, Refusal> {
    let issued = draw(|state| key::issue(Purpose::Personal, state.peppers(), &state.random32(), &state.random32()), state)?;
    let at = state.now().wall;
    let new = NewToken { issued: &issued, account: visitor.account.id, name, at, expires_at: at.plus_seconds(days * 86_400) };
    Ok(token::create(&primary(state)?, new).await.map(|info| (info.id, issued.text)))
}

pub(in crate::portal) async fn revoke(
    State(state): State<ControlState>,
    visitor: SignedIn,
    Path(id): Path<String>,
    fields: Fields,
) -> Result<Response, Refusal> {
    let id = KeyId::parse(&id).ok_or_else(|| Refusal::not_found("token"))?;
    fields.finish()?;
    token::revoke(&primary(&state)?, visitor.account.id, &id).await.map_err(|error| store_refusal(&error))?;
    // Other nodes look it up anew within seconds.
    state.known_tokens(Wanted::Personal).forget(&id);
    Ok(to("/portal/account/tokens?done=token-revoked", format!("token:{id}")))
}
