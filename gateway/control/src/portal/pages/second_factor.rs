//! Setting up a second factor, and removing it.

use askama::Template;
use axum::{
    extract::State,
    response::{IntoResponse, Redirect, Response},
};
use http::{HeaderMap, header};
use model::secret::SecretText;
use store::account::{
    AccountInfo,
    second_factor::{self as factors, NewSecondFactor},
    session::Proof,
};

use super::{
    about, is_conflict, primary,
    sign::{HOME, Tried, entered, tried},
};
use crate::{
    admin::{read, store_refusal},
    portal::{
        fields::{Fields, Wrong},
        second_factor::{self, Offer, Typed, fitting, typed},
        session::{self, SignedIn},
        site,
        view::{self, Frame},
    },
    refusal::Refusal,
    state::ControlState,
};

/// Where these pages begin.
const HERE: &str = "/portal/account/second-factor";

#[derive(Debug, Template)]
#[template(path = "portal/factor_offer.html")]
struct Offered {
    frame: Frame,
    offer: Offer,
    /// An operator, who can do nothing else before.
    must_enroll: bool,
    wrong: Wrong,
}

/// With a second factor: how to remove it. Without: how to begin.
#[derive(Debug, Template)]
#[template(path = "portal/factor.html")]
struct Factor {
    frame: Frame,
    has_one: bool,
    is_operator: bool,
    recovery_codes: u64,
    wrong: Wrong,
}

#[derive(Debug, Template)]
#[template(path = "portal/factor_codes.html")]
struct Codes {
    frame: Frame,
    recovery: Vec<SecretText>,
    next: &'static str,
}

pub(in crate::portal) async fn show(State(state): State<ControlState>, visitor: SignedIn) -> Result<Response, Refusal> {
    // Whoever has just given their password is not asked for it again.
    if visitor.must_enroll { offered(&state, &visitor).await } else { view::page(&factor(&state, &visitor, Wrong::default()).await?) }
}

async fn factor(state: &ControlState, visitor: &SignedIn, wrong: Wrong) -> Result<Factor, Refusal> {
    let site = site::site(state).await?;
    let found = read!(state, |reader| factors::find(reader, visitor.account.id))?;
    Ok(Factor {
        frame: Frame::of(&site, "Second factor", Some(visitor)),
        has_one: found.is_some(),
        is_operator: visitor.account.role.is_some(),
        recovery_codes: found.map(|found| found.recovery_codes).unwrap_or_default(),
        wrong,
    })
}

async fn offered(state: &ControlState, visitor: &SignedIn) -> Result<Response, Refusal> {
    let site = site::site(state).await?;
    let offer = second_factor::offer(state, visitor, &site.title)?;
    view::page(&offer_page(&site, visitor, offer, Wrong::default()))
}

fn offer_page(site: &site::Site, visitor: &SignedIn, offer: Offer, wrong: Wrong) -> Offered {
    let frame = Frame::of(site, "Set up a second factor", Some(visitor).filter(|visitor| !visitor.must_enroll));
    Offered { frame, offer, must_enroll: visitor.must_enroll, wrong }
}

/// Whoever finds a browser open must not put their own second factor on the account.
pub(in crate::portal) async fn begin(State(state): State<ControlState>, visitor: SignedIn, mut fields: Fields) -> Result<Response, Refusal> {
    let password = fields.text("password");
    let mut wrong = fields.finish()?;
    if visitor.account.has_second_factor {
        return Ok(Redirect::to(HERE).into_response());
    }
    if wrong.is_empty() {
        if own(&state, &visitor, password).await?.is_some() {
            return Ok(about(offered(&state, &visitor).await?, visitor.account.id));
        }
        wrong = Wrong::one("password", "is not your password");
    }
    view::form(&wrong.clone(), &factor(&state, &visitor, wrong).await?)
}

/// Whether this is the password of whoever has signed in.
async fn own(state: &ControlState, visitor: &SignedIn, password: String) -> Result<Option<AccountInfo>, Refusal> {
    state.portal().throttle.own_password(visitor.account.id.uuid(), state.now().boot)?;
    Ok(match tried(state, &visitor.account.email, password).await? {
        Tried::Opens(account) => Some(account),
        Tried::Fails(_) => None,
    })
}

/// The first code shows that the app has the secret. Every session ends; this browser gets a new one.
pub(in crate::portal) async fn confirm(
    State(state): State<ControlState>,
    visitor: SignedIn,
    headers: HeaderMap,
    mut fields: Fields,
) -> Result<Response, Refusal> {
    let site = site::site(&state).await?;
    let (sealed, text) = (fields.text("offer"), fields.text("code"));
    let mut wrong = fields.finish()?;
    let Some(secret) = second_factor::taken(&state, &visitor, &sealed) else {
        // Too old, of another session, or none of ours.
        return Ok(Redirect::to(HERE).into_response());
    };
    let code = typed(&text).and_then(|typed| match typed {
        Typed::Code(code) => Some(code),
        Typed::RecoveryCode(_) => None,
    });
    let Some(step) = code.filter(|_| wrong.is_empty()).and_then(|code| secret.step_of(&code, state.now().wall, None)) else {
        if wrong.is_empty() {
            wrong = Wrong::one("code", "does not fit: is the clock of your device right?");
        }
        let offer = second_factor::again(&secret, &visitor, &site.title, sealed)?;
        return view::form(&wrong.clone(), &offer_page(&site, &visitor, offer, wrong));
    };
    let account = &visitor.account;
    let kept = second_factor::kept(&state, account.id, &secret)?;
    let new = NewSecondFactor { sealed: &kept.sealed, pepper_version: kept.pepper_version, step, recovery_codes: &kept.digests };
    match factors::enable(&primary(&state)?, account.id, new).await {
        Ok(()) => {}
        Err(error) if is_conflict(&error, "second_factor_set") => return Ok(Redirect::to(HERE).into_response()),
        Err(error) => return Err(store_refusal(&error)),
    }
    let cookie = session::begin(&state, &headers, account, Proof::SecondFactor).await?;
    let frame = Frame::of(&site, "Your recovery codes", Some(&visitor).filter(|visitor| !visitor.must_enroll));
    let mut response = view::page(&Codes { frame, recovery: kept.recovery_codes, next: if visitor.must_enroll { HOME } else { "/portal/account" } })?;
    response.headers_mut().insert(header::SET_COOKIE, cookie);
    Ok(about(response, account.id))
}

/// Needs both. An operator has to set up another at once.
pub(in crate::portal) async fn remove(
    State(state): State<ControlState>,
    visitor: SignedIn,
    headers: HeaderMap,
    mut fields: Fields,
) -> Result<Response, Refusal> {
    let (password, text) = (fields.text("current"), fields.text("code"));
    let mut wrong = fields.finish()?;
    let id = visitor.account.id;
    let typed = typed(&text);
    if wrong.is_empty() && typed.is_none() {
        wrong = Wrong::one("code", "is six digits from your app, or one of your recovery codes");
    }
    if let Some(typed) = typed.filter(|_| wrong.is_empty()) {
        state.portal().throttle.code(id.uuid(), state.now().boot)?;
        let Some(account) = own(&state, &visitor, password).await? else {
            return refused(&state, &visitor, Wrong::one("current", "is not your password")).await;
        };
        if let Some(fitting) = fitting(&state, id, &typed).await?
            && factors::disable(&primary(&state)?, id, fitting.shown()).await.map_err(|error| store_refusal(&error))?
        {
            return entered(&state, &headers, (&account, Proof::Password), "/portal/account", "?done=factor-removed").await;
        }
        wrong = Wrong::one("code", "does not fit, or was used before; wait for the next one");
    }
    refused(&state, &visitor, wrong).await
}

async fn refused(state: &ControlState, visitor: &SignedIn, wrong: Wrong) -> Result<Response, Refusal> {
    Ok(about(view::form(&wrong.clone(), &factor(state, visitor, wrong).await?)?, visitor.account.id))
}
