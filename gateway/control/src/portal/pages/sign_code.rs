//! The second half of signing in: a code of the second factor.

use askama::Template;
use axum::{
    extract::{RawQuery, State},
    response::{IntoResponse, Redirect, Response},
};
use http::{HeaderMap, header};
use model::id::AccountId;
use store::account::sign_in;

use super::{
    about, primary,
    sign::{HOME, is_page, next_of},
    to,
};
use crate::{
    admin::{read, store_refusal},
    portal::{
        fields::{Fields, Wrong},
        second_factor::{fitting, typed},
        session, site,
        view::{self, Frame},
    },
    refusal::Refusal,
    state::ControlState,
};

#[derive(Debug, Template)]
#[template(path = "portal/sign_code.html")]
struct Code {
    frame: Frame,
    next: String,
    wrong: Wrong,
}

pub(in crate::portal) async fn form(State(state): State<ControlState>, headers: HeaderMap, RawQuery(query): RawQuery) -> Result<Response, Refusal> {
    let site = site::site(&state).await?;
    let now = state.now().wall;
    let is_open = match session::half_open(&headers) {
        Some(digest) => read!(state, |reader| sign_in::is_open(reader, &digest, now))?,
        None => false,
    };
    if !is_open {
        return Ok(Redirect::to("/portal/sign-in").into_response());
    }
    view::page(&Code { frame: Frame::of(&site, "Enter a code", None), next: next_of(query.as_deref()), wrong: Wrong::default() })
}

pub(in crate::portal) async fn send(State(state): State<ControlState>, headers: HeaderMap, mut fields: Fields) -> Result<Response, Refusal> {
    let site = site::site(&state).await?;
    let text = fields.text("code");
    let next = Some(fields.text("next")).filter(|next| is_page(next)).unwrap_or_default();
    let mut wrong = fields.finish()?;
    let typed = typed(&text);
    if wrong.is_empty() && typed.is_none() {
        wrong = Wrong::one("code", "is six digits from your app, or one of your recovery codes");
    }
    let mut known = None;
    if let Some(typed) = typed.filter(|_| wrong.is_empty()) {
        let Some((digest, account)) = counted(&state, &headers).await? else { return over() };
        state.portal().throttle.code(account.uuid(), state.now().boot)?;
        if let Some(fitting) = fitting(&state, account, &typed).await?
            && let Some(cookie) = session::finish(&state, &headers, &digest, account, fitting.shown()).await?
        {
            let mut response = to(if next.is_empty() { HOME } else { &next }, format!("account:{account}"));
            response.headers_mut().insert(header::SET_COOKIE, cookie);
            response.headers_mut().append(header::SET_COOKIE, session::no_half_open()?);
            return Ok(response);
        }
        known = Some(account);
        wrong = Wrong::one("code", "does not fit, or was used before; wait for the next one");
    }
    let response = view::form(&wrong.clone(), &Code { frame: Frame::of(&site, "Enter a code", None), next, wrong })?;
    Ok(match known {
        Some(account) => about(response, account),
        None => response,
    })
}

/// Takes one of the tries of the sign-in that a request goes on with.
async fn counted(state: &ControlState, headers: &HeaderMap) -> Result<Option<([u8; 32], AccountId)>, Refusal> {
    let Some(digest) = session::half_open(headers) else { return Ok(None) };
    let account = sign_in::try_once(&primary(state)?, &digest, state.now().wall).await.map_err(|error| store_refusal(&error))?;
    Ok(account.map(|account| (digest, account)))
}

fn over() -> Result<Response, Refusal> {
    let mut response = Redirect::to("/portal/sign-in?done=sign-in-over").into_response();
    response.headers_mut().insert(header::SET_COOKIE, session::no_half_open()?);
    Ok(response)
}
