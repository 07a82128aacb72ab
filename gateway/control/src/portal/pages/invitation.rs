//! Accepting an invitation: to a team, or to be an operator.

use askama::Template;
use axum::{extract::State, response::Response};
use http::HeaderMap;
use model::key::fingerprint_plain;
use store::{
    account::{
        invitation::{self, Accepted, Accepting},
        session::Proof,
    },
    error::StoreError,
};

use super::{
    is_conflict, primary,
    sign::{entered, hashed},
};
use crate::{
    admin::{read, store_refusal},
    portal::{
        fields::{Fields, Wrong},
        password,
        session::Visitor,
        site,
        view::{self, Frame},
    },
    refusal::Refusal,
    state::ControlState,
    trail::Object,
};

#[derive(Debug, Template)]
#[template(path = "portal/invitation.html")]
struct Form {
    frame: Frame,
    name: String,
    /// Whoever has signed in joins with their account.
    is_known: bool,
    wrong: Wrong,
}

pub(in crate::portal) async fn form(State(state): State<ControlState>, Visitor(visitor): Visitor) -> Result<Response, Refusal> {
    let site = site::site(&state).await?;
    let frame = Frame::of(&site, "Accept an invitation", visitor.as_ref());
    view::page(&Form { frame, name: String::new(), is_known: visitor.is_some(), wrong: Wrong::default() })
}

pub(in crate::portal) async fn accept(
    State(state): State<ControlState>,
    Visitor(visitor): Visitor,
    headers: HeaderMap,
    mut fields: Fields,
) -> Result<Response, Refusal> {
    let site = site::site(&state).await?;
    let code = fields.text("code").trim().to_owned();
    let (name, wanted) = if visitor.is_some() { (String::new(), String::new()) } else { (fields.line("name", 80), fields.text("password")) };
    if visitor.is_none()
        && let Some(fault) = password::fault(&wanted, "")
    {
        fields.refuse("password", fault);
    }
    let mut wrong = fields.finish()?;
    let proof = visitor.as_ref().map_or(Proof::Password, |visitor| visitor.proof);
    if wrong.is_empty() {
        let digest = fingerprint_plain(code.as_bytes());
        let now = state.now().wall;
        let done = match &visitor {
            Some(visitor) => invitation::accept(&primary(&state)?, &digest, now, Accepting::Known(visitor.account.id)).await,
            // A hash is dear: not for a code that is none.
            None if !is_open(&state, &digest).await? => Err(StoreError::NotFound { what: "invitation", name: String::new() }),
            None => {
                let hashed = hashed(&state, wanted).await?;
                let person = Accepting::New { name: &name, password: &hashed.text, pepper_version: hashed.pepper_version };
                invitation::accept(&primary(&state)?, &digest, now, person).await
            }
        };
        match settled(done)? {
            Ok(Accepted { account, invitation }) => {
                let mut response = entered(&state, &headers, (&account, proof), "/portal/applications", "?done=joined").await?;
                // By the invitation the record of who made it is found, with the role that it gave.
                response.extensions_mut().insert(Object(format!("account:{} invitation:{invitation}", account.id)));
                return Ok(response);
            }
            Err(mistake) => wrong = mistake,
        }
    }
    let frame = Frame::of(&site, "Accept an invitation", visitor.as_ref());
    view::form(&wrong.clone(), &Form { frame, name, is_known: visitor.is_some(), wrong })
}

async fn is_open(state: &ControlState, digest: &[u8; 32]) -> Result<bool, Refusal> {
    let found = read!(state, |reader| invitation::find(reader, digest))?;
    Ok(found.is_some_and(|found| state.now().wall < found.expires_at))
}

fn settled(done: Result<Accepted, StoreError>) -> Result<Result<Accepted, Wrong>, Refusal> {
    match done {
        Ok(accepted) => Ok(Ok(accepted)),
        Err(StoreError::NotFound { .. }) => Ok(Err(Wrong::one("code", "is no invitation, or one that was accepted, withdrawn, or is too old"))),
        Err(error) if is_conflict(&error, "account_email_unique") => {
            Ok(Err(Wrong::one("code", "is for a mail address that has an account: sign in first, then open the link again")))
        }
        Err(error) if is_conflict(&error, "invitation_email") => Ok(Err(Wrong::one("code", "is for another mail address than yours"))),
        Err(error) => Err(store_refusal(&error)),
    }
}
