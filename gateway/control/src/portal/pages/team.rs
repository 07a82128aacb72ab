//! A team: its members, what they may, and whom they invite.

use askama::Template;
use axum::{
    extract::{Path, RawQuery, State},
    response::Response,
};
use data_encoding::BASE64URL_NOPAD;
use model::{
    id::{AccountId, ConsumerId},
    key::fingerprint_plain,
    secret::SecretText,
};
use store::account::{
    invitation::{self, Invitation, NewInvitation},
    team::{self as members, Member, TeamRole},
};
use uuid::Uuid;

use super::{is_conflict, primary, sign::mail_address, team, to};
use crate::{
    admin::{read, store_refusal},
    portal::{
        fields::{Fields, Wrong},
        rights::{self, Right},
        session::{SignedIn, minute},
        site,
        view::{self, Frame},
    },
    refusal::Refusal,
    state::ControlState,
};

/// Days for which an invitation can be accepted.
const INVITATION_DAYS: i64 = 7;
/// Open invitations of a team.
const INVITATIONS_MAX: usize = 50;

#[derive(Debug, Template)]
#[template(path = "portal/team.html")]
struct Team {
    frame: Frame,
    id: String,
    name: String,
    members: Vec<MemberLine>,
    invitations: Vec<InvitationLine>,
    can_change: bool,
    /// The link of an invitation that was just made; shown once.
    link: Option<(String, SecretText)>,
    email: String,
    wrong: Wrong,
}

#[derive(Debug)]
struct MemberLine {
    id: String,
    name: String,
    email: String,
    role: &'static str,
    since: String,
    is_me: bool,
}

#[derive(Debug)]
struct InvitationLine {
    id: String,
    email: String,
    role: &'static str,
    until: String,
}

impl Team {
    const fn roles() -> [&'static str; 3] {
        [TeamRole::Developer.as_str(), TeamRole::Viewer.as_str(), TeamRole::Owner.as_str()]
    }
}

pub(in crate::portal) async fn show(
    State(state): State<ControlState>,
    visitor: SignedIn,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    let page = shown(&state, &visitor, team(&id)?, String::new(), Wrong::default()).await?;
    view::page(&Team { frame: page.frame.saying(query.as_deref()), ..page })
}

async fn shown(state: &ControlState, visitor: &SignedIn, consumer: ConsumerId, email: String, wrong: Wrong) -> Result<Team, Refusal> {
    let membership = visitor.may(consumer, Right::Read, "team")?;
    let site = site::site(state).await?;
    let found = read!(state, |reader| members::members(reader, consumer))?;
    let can_change = rights::allows(membership.role, Right::Team);
    let invitations = if can_change { read!(state, |reader| invitation::of_team(reader, consumer))? } else { Vec::new() };
    let line = |member: Member| MemberLine {
        id: member.account.id.to_string(),
        is_me: member.account.id == visitor.account.id,
        name: member.account.name,
        email: member.account.email,
        role: member.role.as_str(),
        since: minute(member.since),
    };
    let open = |invitation: Invitation| InvitationLine {
        id: invitation.id.to_string(),
        email: invitation.email,
        role: invitation.team_role.map_or("", TeamRole::as_str),
        until: minute(invitation.expires_at),
    };
    Ok(Team {
        frame: Frame::of(&site, format!("Team {}", membership.consumer_name), Some(visitor)),
        id: consumer.to_string(),
        name: membership.consumer_name.clone(),
        members: found.into_iter().map(line).collect(),
        invitations: invitations.into_iter().map(open).collect(),
        can_change,
        link: None,
        email,
        wrong,
    })
}

pub(in crate::portal) async fn invite(
    State(state): State<ControlState>,
    visitor: SignedIn,
    Path(id): Path<String>,
    mut fields: Fields,
) -> Result<Response, Refusal> {
    let consumer = team(&id)?;
    visitor.may(consumer, Right::Team, "team")?;
    let email = mail_address(&mut fields);
    let role = TeamRole::parse(&fields.text("role"));
    if role.is_none() {
        fields.refuse("role", "must be one of the list");
    }
    let mut wrong = fields.finish()?;
    if let (Some(role), true) = (role, wrong.is_empty()) {
        if let Some((_, link)) = invited(&state, &visitor, consumer, &email, role).await? {
            let page = shown(&state, &visitor, consumer, String::new(), Wrong::default()).await?;
            return view::page(&Team { link: Some((email, SecretText::new(link))), ..page });
        }
        wrong = Wrong::one("email", "has to wait: 50 invitations are open; withdraw one first");
    }
    view::form(&wrong.clone(), &shown(&state, &visitor, consumer, email, wrong).await?)
}

/// Invites somebody to a team: the invitation, and its link, which exists here alone. `None` when too many are open.
pub(in crate::portal) async fn invited(
    state: &ControlState,
    visitor: &SignedIn,
    consumer: ConsumerId,
    email: &str,
    role: TeamRole,
) -> Result<Option<(Invitation, String)>, Refusal> {
    let open = read!(state, |reader| invitation::of_team(reader, consumer))?;
    if open.len() >= INVITATIONS_MAX {
        return Ok(None);
    }
    let code = BASE64URL_NOPAD.encode(&state.random32());
    let expires_at = state.now().wall.plus_seconds(INVITATION_DAYS * 86_400);
    let new = NewInvitation { digest: &fingerprint_plain(code.as_bytes()), email, team: Some((consumer, role)), role: None, expires_at };
    let made = invitation::create(&primary(state)?, new, &visitor.actor()).await.map_err(|error| store_refusal(&error))?;
    // The code stands behind a `#`: browsers keep that part to themselves, so that no log on the way has it.
    Ok(Some((made, format!("/portal/invitation#{code}"))))
}

pub(in crate::portal) async fn withdraw(
    State(state): State<ControlState>,
    visitor: SignedIn,
    Path((id, invitation)): Path<(String, Uuid)>,
    fields: Fields,
) -> Result<Response, Refusal> {
    let consumer = team(&id)?;
    visitor.may(consumer, Right::Team, "team")?;
    fields.finish()?;
    invitation::withdraw(&primary(&state)?, consumer, invitation).await.map_err(|error| store_refusal(&error))?;
    Ok(to(&format!("/portal/teams/{consumer}?done=invitation-withdrawn"), format!("consumer:{consumer}")))
}

pub(in crate::portal) async fn set_role(
    State(state): State<ControlState>,
    visitor: SignedIn,
    Path((id, account)): Path<(String, String)>,
    mut fields: Fields,
) -> Result<Response, Refusal> {
    let (consumer, account) = member(&visitor, &id, &account)?;
    let role = TeamRole::parse(&fields.text("role")).ok_or_else(|| Refusal::field("/role", "enum", "must be owner, developer or viewer"))?;
    fields.finish()?;
    let done = members::set_role(&primary(&state)?, consumer, account, role).await;
    changed(&state, &visitor, consumer, done, "role-changed").await
}

pub(in crate::portal) async fn remove(
    State(state): State<ControlState>,
    visitor: SignedIn,
    Path((id, account)): Path<(String, String)>,
    fields: Fields,
) -> Result<Response, Refusal> {
    let consumer = team(&id)?;
    let account = account.parse().map_err(|_| Refusal::not_found("member"))?;
    visitor.may(consumer, rights::to_remove(&visitor, account), "team")?;
    fields.finish()?;
    let done = members::remove(&primary(&state)?, consumer, account).await;
    if done.is_ok() && account == visitor.account.id {
        return Ok(to("/portal/applications?done=team-left", format!("consumer:{consumer}")));
    }
    changed(&state, &visitor, consumer, done, "member-removed").await
}

fn member(visitor: &SignedIn, id: &str, account: &str) -> Result<(ConsumerId, AccountId), Refusal> {
    let consumer = team(id)?;
    visitor.may(consumer, Right::Team, "team")?;
    let account = account.parse().map_err(|_| Refusal::not_found("member"))?;
    Ok((consumer, account))
}

async fn changed(
    state: &ControlState,
    visitor: &SignedIn,
    consumer: ConsumerId,
    done: Result<(), store::error::StoreError>,
    said: &str,
) -> Result<Response, Refusal> {
    match done {
        Ok(()) => Ok(to(&format!("/portal/teams/{consumer}?done={said}"), format!("consumer:{consumer}"))),
        Err(error) if is_conflict(&error, "team_last_owner") => {
            let wrong = Wrong::one("members", "a team needs an owner: make another member an owner first");
            view::form(&wrong.clone(), &shown(state, visitor, consumer, String::new(), wrong).await?)
        }
        Err(error) => Err(store_refusal(&error)),
    }
}
