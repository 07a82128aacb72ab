//! Signing up, in, and out.

use askama::Template;
use axum::{
    extract::{Extension, RawQuery, State},
    response::{IntoResponse, Redirect, Response},
};
use http::{HeaderMap, header};
use model::{
    id::AccountId,
    portal::SignUpDoc,
    problem::{Denial, ProblemKind},
};
use store::account::{self, AccountInfo, AccountState, NewAccount, Team, session::Proof};

use super::{about, is_conflict, primary, team_names, to};
use crate::{
    admin::{read, store_refusal},
    context::Context,
    email,
    portal::{
        fields::{Fields, Wrong},
        password,
        session::{self, SignedIn, Visitor},
        site,
        view::{self, Frame},
    },
    refusal::Refusal,
    state::ControlState,
};

/// Where a person goes first.
pub(super) const HOME: &str = "/portal/applications";

#[derive(Debug, Template)]
#[template(path = "portal/sign_up.html")]
struct SignUp {
    frame: Frame,
    name: String,
    email: String,
    organization: String,
    needs_approval: bool,
    wrong: Wrong,
}

#[derive(Debug, Template)]
#[template(path = "portal/asked.html")]
struct Asked {
    frame: Frame,
}

#[derive(Debug, Template)]
#[template(path = "portal/sign_in.html")]
struct SignIn {
    frame: Frame,
    email: String,
    next: String,
    /// By whom else people sign in, and the address that leads there.
    provider: Option<(String, String)>,
    wrong: Wrong,
}

pub(in crate::portal) async fn up_form(State(state): State<ControlState>, Visitor(visitor): Visitor) -> Result<Response, Refusal> {
    if visitor.is_some() {
        return Ok(Redirect::to(HOME).into_response());
    }
    let site = open_site(&state).await?;
    let needs_approval = site.portal.sign_up == SignUpDoc::Approval;
    let frame = Frame::of(&site, "Sign up", None);
    view::page(&SignUp { frame, name: String::new(), email: String::new(), organization: String::new(), needs_approval, wrong: Wrong::default() })
}

pub(in crate::portal) async fn up(State(state): State<ControlState>, headers: HeaderMap, mut fields: Fields) -> Result<Response, Refusal> {
    let site = open_site(&state).await?;
    let (name, organization) = (fields.line("name", 80), fields.line("organization", 80));
    let email = mail_address(&mut fields);
    let password = new_password(&mut fields, &email);
    let mut wrong = fields.finish()?;
    let needs_approval = site.portal.sign_up == SignUpDoc::Approval;
    if wrong.is_empty() {
        let hashed = hashed(&state, password).await?;
        let new =
            NewAccount { email: &email, name: &name, password: &hashed.text, pepper_version: hashed.pepper_version, organization: &organization };
        let done = if needs_approval { ask(&state, &site, new).await? } else { signed_up(&state, &headers, &site.tenant, new).await? };
        match done {
            Ok(response) => return Ok(response),
            Err(mistake) => wrong = mistake,
        }
    }
    let frame = Frame::of(&site, "Sign up", None);
    view::form(&wrong.clone(), &SignUp { frame, name, email, organization, needs_approval, wrong })
}

/// The portal, if people can sign up.
async fn open_site(state: &ControlState) -> Result<std::sync::Arc<site::Site>, Refusal> {
    let site = site::site(state).await?;
    if site.takes_sign_ups() {
        return Ok(site);
    }
    Err(Denial::new(
        ProblemKind::RoleInsufficient,
        "nobody can sign up here by themselves; ask a member of a team, or the API's owner, to invite you",
    )
    .into())
}

/// Makes the account with its team, and begins a session.
async fn signed_up(state: &ControlState, headers: &HeaderMap, tenant: &str, new: NewAccount<'_>) -> Result<Result<Response, Wrong>, Refusal> {
    let primary = primary(state)?;
    // Nobody is known yet who could be the actor.
    let actor = store::actor::Actor { kind: store::actor::ActorKind::System, name: "portal".to_owned() };
    for consumer in team_names(state, new.organization) {
        match account::sign_up(&primary, new, Team { tenant, consumer: &consumer }, &actor).await {
            Ok(written) => return Ok(Ok(entered(state, headers, (&written.item, Proof::Password), HOME, "?done=welcome").await?)),
            Err(error) if is_conflict(&error, "consumer_name_unique") => {}
            Err(error) if is_conflict(&error, "account_email_unique") => return Ok(Err(taken())),
            Err(error) => return Err(store_refusal(&error)),
        }
    }
    Ok(Err(Wrong::one("organization", "is taken; take another")))
}

/// An open sign-up cannot but tell: there is no mail that could. What it tells, the throttle makes slow.
fn taken() -> Wrong {
    Wrong::one("email", "has an account already, or cannot have one here; sign in instead")
}

/// Waits for approval. Whether the address was known, the answer does not tell.
async fn ask(state: &ControlState, site: &site::Site, new: NewAccount<'_>) -> Result<Result<Response, Wrong>, Refusal> {
    match account::ask(&primary(state)?, new).await {
        Ok(_) => {}
        Err(error) if is_conflict(&error, "account_email_unique") => {}
        Err(error) if is_conflict(&error, "account_pending") => {
            return Err(Denial::new(ProblemKind::Overloaded, "too many requests wait for approval; ask the API's owner").retry_after(3_600).into());
        }
        Err(error) => return Err(store_refusal(&error)),
    }
    Ok(Ok(view::page(&Asked { frame: Frame::of(site, "Your request is in", None) })?))
}

pub(in crate::portal) async fn in_form(
    State(state): State<ControlState>,
    Visitor(visitor): Visitor,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    let site = site::site(&state).await?;
    let next = next_of(query.as_deref());
    if visitor.is_some() {
        return Ok(Redirect::to(if next.is_empty() { HOME } else { &next }).into_response());
    }
    let frame = Frame::of(&site, "Sign in", None).saying(query.as_deref());
    let provider = provider(&state, &next);
    view::page(&SignIn { frame, email: String::new(), next, provider, wrong: Wrong::default() })
}

fn provider(state: &ControlState, next: &str) -> Option<(String, String)> {
    let provider = state.provider()?;
    let next = if next.is_empty() { String::new() } else { format!("?next={}", view::in_query(next)) };
    Some((provider.name().to_owned(), format!("/portal/sign-in/provider{next}")))
}

/// Where a query says that somebody wanted to go, if that is a page of ours.
pub(super) fn next_of(query: Option<&str>) -> String {
    let pairs = query.and_then(|query| http::Uri::try_from(format!("/?{query}")).ok());
    let pairs = pairs.and_then(|uri| axum::extract::Query::<Vec<(String, String)>>::try_from_uri(&uri).ok()).map(|pairs| pairs.0).unwrap_or_default();
    pairs.into_iter().find(|(name, _)| name == "next").map(|(_, next)| next).filter(|next| is_page(next)).unwrap_or_default()
}

pub(in crate::portal) async fn sign_in(
    State(state): State<ControlState>,
    Extension(context): Extension<Context>,
    headers: HeaderMap,
    mut fields: Fields,
) -> Result<Response, Refusal> {
    let site = site::site(&state).await?;
    let email = mail_address(&mut fields);
    let password = fields.text("password");
    let next = Some(fields.text("next")).filter(|next| is_page(next)).unwrap_or_default();
    let mut wrong = fields.finish()?;
    let mut known = None;
    if wrong.is_empty() {
        state.portal().throttle.sign_in(&email, context.peer, state.now().boot)?;
        match tried(&state, &email, password).await? {
            Tried::Opens(account) if account.has_second_factor => return half_open(&state, &account, &next).await,
            Tried::Opens(account) => {
                let next = if next.is_empty() { HOME } else { &next };
                return entered(&state, &headers, (&account, Proof::Password), next, "").await;
            }
            // One answer for a wrong address, a wrong password, and an account that waits or is switched off. The record tells more.
            Tried::Fails(account) => {
                known = account;
                wrong = Wrong::one("password", "mail address and password do not belong together, or the account cannot sign in now");
            }
        }
    }
    let response =
        view::form(&wrong.clone(), &SignIn { frame: Frame::of(&site, "Sign in", None), email, provider: provider(&state, &next), next, wrong })?;
    Ok(match known {
        Some(account) => about(response, account),
        None => response,
    })
}

/// The password was right: now the code.
async fn half_open(state: &ControlState, account: &AccountInfo, next: &str) -> Result<Response, Refusal> {
    let cookie = session::begin_half_open(state, account.id).await?;
    let next = if next.is_empty() { String::new() } else { format!("?next={}", view::in_query(next)) };
    let mut response = to(&format!("/portal/sign-in/code{next}"), format!("account:{}", account.id));
    response.headers_mut().insert(header::SET_COOKIE, cookie);
    Ok(response)
}

/// What a password is worth.
pub(super) enum Tried {
    /// It opens this account.
    Opens(AccountInfo),
    /// It opens nothing; the account with that address, if there is one.
    Fails(Option<AccountId>),
}

/// Tries a password. It takes as long where there is no account.
pub(super) async fn tried(state: &ControlState, email: &str, password: String) -> Result<Tried, Refusal> {
    let found = read!(state, |reader| account::by_email(reader, email))?;
    let version = found.as_ref().map_or_else(|| state.peppers().current(), |found| found.pepper_version);
    // A pepper that this node does not have: nobody can sign in with it, and the look takes as long.
    let key = state.peppers().password_key(version);
    let hash = found.as_ref().and_then(|found| found.password.clone()).filter(|_| key.is_some());
    let is_right = state.portal().passwords.verify(key.unwrap_or_default(), password.clone(), hash).await?;
    let Some(found) = found else { return Ok(Tried::Fails(None)) };
    if !is_right || found.account.state != AccountState::Active {
        return Ok(Tried::Fails(Some(found.account.id)));
    }
    renewed(state, &found, password).await;
    Ok(Tried::Opens(found.account))
}

/// Hashes a password anew that is under an older pepper. Nobody is kept out when that fails: it is tried again with the next sign-in.
async fn renewed(state: &ControlState, found: &account::SignIn, password: String) {
    let Some(before) = found.password.as_deref().filter(|_| found.pepper_version != state.peppers().current()) else { return };
    if let (Ok(primary), Ok(new)) = (state.primary(), hashed(state, password).await)
        && let Err(error) = account::rehash(&primary, found.account.id, before, &new.text, new.pepper_version).await
    {
        store_refusal(&error);
    }
}

pub(in crate::portal) async fn out(State(state): State<ControlState>, visitor: SignedIn, fields: Fields) -> Result<Response, Refusal> {
    fields.finish()?;
    let cookie = session::end(&state, &visitor.digest).await?;
    let mut response = to("/portal/sign-in?done=signed-out", format!("account:{}", visitor.account.id));
    response.headers_mut().insert(header::SET_COOKIE, cookie);
    Ok(response)
}

/// Begins a session, and leads on.
pub(super) async fn entered(
    state: &ControlState,
    headers: &HeaderMap,
    (account, proof): (&AccountInfo, Proof),
    next: &str,
    said: &str,
) -> Result<Response, Refusal> {
    let cookie = session::begin(state, headers, account, proof).await?;
    let mut response = to(&format!("{next}{said}"), format!("account:{}", account.id));
    response.headers_mut().insert(header::SET_COOKIE, cookie);
    Ok(response)
}

/// A page of ours: nobody is led elsewhere by an address that only begins like ours.
pub(super) fn is_page(next: &str) -> bool {
    next.starts_with("/portal/") && next.len() <= 500 && !next.contains("//") && next.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\')
}

/// Takes a mail address as it is kept: in lower case. That it has one is for its owner to show, so the form is all that is looked at.
pub(super) fn mail_address(fields: &mut Fields) -> String {
    let email = fields.line("email", 254).to_lowercase();
    if !email.is_empty() && !email::is_address(&email) {
        fields.refuse("email", "must be a mail address, like ann@example.com");
    }
    email
}

/// Takes a password that somebody wants to have.
pub(super) fn new_password(fields: &mut Fields, email: &str) -> String {
    let password = fields.text("password");
    if let Some(fault) = password::fault(&password, email) {
        fields.refuse("password", fault);
    }
    password
}

/// A password as it is kept.
#[derive(Debug)]
pub(super) struct Hashed {
    pub(super) text: String,
    pub(super) pepper_version: u16,
}

/// Hashes a password under the newest pepper.
pub(super) async fn hashed(state: &ControlState, password: String) -> Result<Hashed, Refusal> {
    let pepper_version = state.peppers().current();
    let key = state.peppers().password_key(pepper_version).ok_or_else(Refusal::internal)?;
    let text = state.portal().passwords.hash(key, password, state.random32()).await?;
    Ok(Hashed { text, pepper_version })
}
