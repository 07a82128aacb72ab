//! The pages, one module for each part of the portal.

pub(super) mod account;
pub(super) mod apis;
pub(super) mod applications;
pub(super) mod approvals;
pub(super) mod home;
pub(super) mod invitation;
pub(super) mod keys;
pub(super) mod notifications;
pub(super) mod problems;
pub(super) mod regions;
pub(super) mod requests;
pub(super) mod reset;
pub(super) mod second_factor;
pub(super) mod sign;
pub(super) mod sign_code;
pub(super) mod sign_provider;
pub(super) mod team;
pub(super) mod tokens;
pub(super) mod try_it;
pub(super) mod usage;

use axum::response::{IntoResponse, Redirect, Response};
use model::id::{AccountId, ConsumerId};
use store::{application::ApplicationInfo, error::StoreError};

use super::{rights::Right, session::SignedIn};
use crate::{
    admin::{read, store_refusal},
    refusal::Refusal,
    state::ControlState,
    trail::Object,
};

/// Characters of the team's name before the name of an application.
const TEAM_CHARACTERS: usize = 40;

/// The most that one page lists.
const LISTED_MAX: u32 = 100;

/// Leads to a page after an act (RFC 9110 section 15.4.4), and says what the act was about.
fn to(path: &str, object: String) -> Response {
    let mut response = Redirect::to(path).into_response();
    response.extensions_mut().insert(Object(object));
    response
}

/// Says for the record which account an act was about.
fn about(mut response: Response, account: AccountId) -> Response {
    response.extensions_mut().insert(Object(format!("account:{account}")));
    response
}

/// An application of a team of this person, in which they may do this.
async fn application(state: &ControlState, visitor: &SignedIn, id: &str, right: Right) -> Result<ApplicationInfo, Refusal> {
    let id = id.parse().map_err(|_| Refusal::not_found("application"))?;
    let application = read!(state, |reader| store::application::get(reader, id))?;
    visitor.may(application.consumer, right, "application")?;
    Ok(application)
}

/// What an application is called in its team: names are unique in the deployment, so the team's stands before those that are made here.
fn short<'a>(application: &'a str, consumer: &str) -> &'a str {
    application.strip_prefix(consumer).and_then(|rest| rest.strip_prefix('_')).filter(|rest| !rest.is_empty()).unwrap_or(application)
}

/// A name that may stand in labels and URLs, made of one for people.
fn slug(text: &str, max: usize) -> String {
    let mut slug = String::new();
    for character in text.chars().flat_map(char::to_lowercase) {
        if character.is_ascii_alphanumeric() {
            slug.push(character);
        } else if !slug.is_empty() && !slug.ends_with('-') {
            slug.push('-');
        }
        if slug.len() >= max {
            break;
        }
    }
    let slug = slug.trim_end_matches('-');
    if slug.is_empty() { "team".to_owned() } else { slug.to_owned() }
}

/// What an application of a team is called in the deployment: its team's name and its own, together within the 63 characters of a name.
pub(super) fn application_name(team: &str, wish: &str) -> String {
    let team: String = team.chars().take(TEAM_CHARACTERS).collect();
    format!("{team}_{}", slug(wish, 63 - 1 - TEAM_CHARACTERS))
}

/// Names for the consumer of a new team: what it calls itself, and something that nobody chooses. Routes and gateway files know consumers
/// by their names, so a stranger must not take the name that one of them means.
pub(crate) fn team_names(state: &ControlState, organization: &str) -> [String; 3] {
    let base = slug(organization, 30);
    [(); 3].map(|()| format!("{base}-{}", data_encoding::BASE32_NOPAD.encode(state.random32().split_at(5).0).to_lowercase()))
}

/// Whether an act failed because of this constraint.
pub(super) fn is_conflict(error: &StoreError, name: &str) -> bool {
    matches!(error, StoreError::Conflict { constraint, .. } if constraint == name)
}

fn team(text: &str) -> Result<ConsumerId, Refusal> {
    text.parse().map_err(|_| Refusal::not_found("team"))
}

fn primary(state: &ControlState) -> Result<store::pool::Primary, Refusal> {
    state.primary().map_err(|error| store_refusal(&error))
}
