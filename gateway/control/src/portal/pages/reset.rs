//! Another password, by a link that an operator has given.

use askama::Template;
use axum::{extract::State, response::Response};
use model::{id::AccountId, key::fingerprint_plain};
use store::{account::reset, error::StoreError};

use super::{about, primary, sign::hashed, to};
use crate::{
    admin::{read, store_refusal},
    portal::{
        fields::{Fields, Wrong},
        password, site,
        view::{self, Frame},
    },
    refusal::Refusal,
    state::ControlState,
};

#[derive(Debug, Template)]
#[template(path = "portal/reset.html")]
struct Form {
    frame: Frame,
    wrong: Wrong,
}

const TITLE: &str = "Set a new password";

pub(in crate::portal) async fn form(State(state): State<ControlState>) -> Result<Response, Refusal> {
    let site = site::site(&state).await?;
    view::page(&Form { frame: Frame::of(&site, TITLE, None), wrong: Wrong::default() })
}

pub(in crate::portal) async fn send(State(state): State<ControlState>, mut fields: Fields) -> Result<Response, Refusal> {
    let site = site::site(&state).await?;
    let digest = fingerprint_plain(fields.text("code").trim().as_bytes());
    let password = fields.text("password");
    let mut wrong = fields.finish()?;
    let mut known = None;
    if wrong.is_empty() {
        let now = state.now().wall;
        // A hash is dear: not for a code that is none.
        let found = read!(state, |reader| reset::find(reader, &digest, now))?;
        known = found.as_ref().map(|account| account.id);
        wrong = match found {
            None => no_link(),
            Some(account) => match password::fault(&password, &account.email) {
                Some(fault) => Wrong::one("password", fault),
                None => match done(&state, account.id, &digest, password).await? {
                    Some(response) => return Ok(response),
                    None => no_link(),
                },
            },
        };
    }
    let response = view::form(&wrong.clone(), &Form { frame: Frame::of(&site, TITLE, None), wrong })?;
    Ok(match known {
        Some(account) => about(response, account),
        None => response,
    })
}

/// Sets the password; nothing when somebody else was quicker.
async fn done(state: &ControlState, account: AccountId, digest: &[u8; 32], password: String) -> Result<Option<Response>, Refusal> {
    let hashed = hashed(state, password).await?;
    let done = reset::accept(&primary(state)?, (account, digest), state.now().wall, &hashed.text, hashed.pepper_version).await;
    match done {
        Ok(()) => Ok(Some(to("/portal/sign-in?done=password-reset", format!("account:{account}")))),
        Err(StoreError::NotFound { .. }) => Ok(None),
        Err(error) => Err(store_refusal(&error)),
    }
}

fn no_link() -> Wrong {
    Wrong::one("code", "is none, or one that was used, replaced, or is too old: ask for another")
}
