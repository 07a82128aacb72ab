//! Signing in by an `OpenID` provider: there and back.

use axum::{
    extract::{RawQuery, State},
    response::{IntoResponse, Redirect, Response},
};
use http::{HeaderMap, header};
use model::problem::{Denial, ProblemKind};
use store::{
    account::{
        identity::{self, Identity, NewIdentity},
        session::Proof,
    },
    error::StoreError,
};
use subtle::ConstantTimeEq;

use super::{
    about, is_conflict, primary,
    sign::{HOME, entered, next_of},
};
use crate::{
    admin::store_refusal,
    email,
    port::{Provided, Provider, ProviderFault, Redeem},
    portal::{provider::UnderWay, session},
    refusal::Refusal,
    state::ControlState,
};

/// Characters of a code (RFC 6749 leaves it open; RFC 6749 appendix A.11: visible ASCII).
const CODE_MAX: usize = 2_048;

/// Leads to the provider. A link and no form: the policy of our pages lets no form end elsewhere.
pub(in crate::portal) async fn begin(State(state): State<ControlState>, RawQuery(query): RawQuery) -> Result<Response, Refusal> {
    let provider = provider(&state)?;
    let under_way = UnderWay::begin(&state, next_of(query.as_deref()));
    let place = provider.begin(under_way.wish()).await.map_err(|fault| fault_refusal(fault, provider))?;
    let mut response = Redirect::to(&place).into_response();
    response.headers_mut().insert(header::SET_COOKIE, under_way.cookie(&state)?);
    Ok(response)
}

/// Where the provider sends people back.
pub(in crate::portal) async fn back(State(state): State<ControlState>, headers: HeaderMap, RawQuery(query): RawQuery) -> Result<Response, Refusal> {
    let provider = provider(&state)?;
    let answer = Answer::read(query.as_deref().unwrap_or_default()).ok_or_else(other)?;
    let under_way = UnderWay::of(&state, &headers).ok_or_else(other)?;
    if !bool::from(answer.state.as_bytes().ct_eq(under_way.state().as_bytes())) {
        return Err(other());
    }
    // RFC 9207: an answer of another provider is none of this one.
    if answer.issuer.is_some_and(|issuer| issuer != provider.issuer()) {
        return Err(other());
    }
    let Some(code) = answer.code else {
        return Err(denied(format!("{} did not sign you in; begin again, or ask whoever runs it", provider.name())));
    };
    let primary = primary(&state)?;
    let now = state.now().wall;
    if !identity::use_once(&primary, &under_way.digest(), now, under_way.until).await.map_err(|error| store_refusal(&error))? {
        return Err(other());
    }
    let redeem = Redeem { code, verifier: under_way.verifier(), nonce: under_way.nonce() };
    let person = provider.redeem(redeem).await.map_err(|fault| fault_refusal(fault, provider))?;
    let mut response = signed_in(&state, &headers, provider, person, &under_way.next).await?;
    response.headers_mut().append(header::SET_COOKIE, session::provider_cookie("", 0)?);
    Ok(response)
}

async fn signed_in(state: &ControlState, headers: &HeaderMap, provider: &dyn Provider, person: Provided, next: &str) -> Result<Response, Refusal> {
    let primary = primary(state)?;
    let identity = Identity { issuer: provider.issuer(), subject: &person.subject };
    let Some(role) = person.role else {
        // Whoever had one has it no more.
        let known = identity::withdraw(&primary, identity).await.map_err(|error| store_refusal(&error))?;
        let text = format!("{} gives you no role here; ask whoever runs this gateway to add you to a group that has one", provider.name());
        let response = denied(text).into_response();
        return Ok(match known {
            Some(account) => about(response, account),
            None => response,
        });
    };
    let Some(email) = person.email.map(|email| email.to_lowercase()).filter(|email| email::is_address(email)) else {
        return Err(denied(format!("{} says no verified mail address of yours; ask whoever runs it", provider.name())));
    };
    let name = name_of(person.name.as_deref(), &email);
    let account = match identity::sign_in(&primary, NewIdentity { identity, email: &email, name: &name, role: &role }).await {
        Ok(account) => account,
        // By the address alone nobody becomes the account that there is.
        Err(error) if is_conflict(&error, "account_email_unique") => {
            let text = format!(
                "your mail address has an account already, which signs in with a password; whoever runs this gateway can link it to what {} calls you: {}",
                provider.name(),
                person.subject
            );
            return Err(denied(text));
        }
        Err(error) if is_conflict(&error, "account_state") => {
            return Err(denied("your account is switched off; ask whoever runs this gateway".to_owned()));
        }
        Err(error @ StoreError::Conflict { .. }) => {
            store_refusal(&error);
            return Err(Denial::new(ProblemKind::Overloaded, "somebody signed in as you at this moment; begin again").retry_after(1).into());
        }
        Err(error) => return Err(store_refusal(&error)),
    };
    let next = if next.is_empty() { HOME } else { next };
    entered(state, headers, (&account, Proof::Provider), next, "").await
}

/// What a person is called: on one line, and not longer than at a sign-up.
fn name_of(name: Option<&str>, email: &str) -> String {
    let name: String = name.unwrap_or_default().trim().chars().filter(|character| !character.is_control()).take(80).collect();
    if name.is_empty() { email.split('@').next().unwrap_or("operator").chars().take(80).collect() } else { name }
}

fn provider(state: &ControlState) -> Result<&dyn Provider, Refusal> {
    state.provider().ok_or_else(|| Refusal::not_found("way to sign in"))
}

/// One answer for everything that may be somebody else's.
fn other() -> Refusal {
    denied("this is not the answer to a sign-in that was begun in this browser, or it came too late; begin again".to_owned())
}

fn denied(text: String) -> Refusal {
    Denial::new(ProblemKind::RoleInsufficient, text).into()
}

fn fault_refusal(fault: ProviderFault, provider: &dyn Provider) -> Refusal {
    let name = provider.name();
    match fault {
        ProviderFault::Unreachable => Denial::new(ProblemKind::Overloaded, format!("{name} cannot be reached now")).retry_after(10).into(),
        ProviderFault::Busy => Denial::new(ProblemKind::Overloaded, "too many people sign in at this moment").retry_after(2).into(),
        ProviderFault::Refused => denied(format!("what {name} said about this sign-in does not hold; begin again")),
    }
}

/// What a provider says in the address that it sends people back to.
struct Answer {
    state: String,
    code: Option<String>,
    issuer: Option<String>,
}

impl Answer {
    /// Each of its names stands there once; others do not matter (RFC 6749 section 4.1.2).
    fn read(query: &str) -> Option<Self> {
        let (mut state, mut code, mut issuer) = (None, None, None);
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            let slot = match &*name {
                "state" => &mut state,
                "code" => &mut code,
                "iss" => &mut issuer,
                _ => continue,
            };
            if slot.replace(value.into_owned()).is_some() {
                return None;
            }
        }
        let is_code = |code: &String| !code.is_empty() && code.len() <= CODE_MAX && code.bytes().all(|byte| byte.is_ascii_graphic());
        if code.as_ref().is_some_and(|code| !is_code(code)) {
            return None;
        }
        Some(Self { state: state?, code, issuer })
    }
}

#[cfg(test)]
mod tests;
