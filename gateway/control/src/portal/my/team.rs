//! A person's teams: their members, what they may, and whom they invite.

use axum::extract::{Path, State};
use model::{
    id::{AccountId, ConsumerId},
    problem::{Denial, ProblemKind},
};
use serde::{Deserialize, Serialize};
use store::{
    account::{
        invitation::{self, Invitation},
        team::{self as members, Member, TeamRole},
    },
    error::StoreError,
};
use utoipa::ToSchema;
use uuid::Uuid;
use validator::Validate;

use super::named;
use crate::{
    admin::{Reply, account::mail_address, instant, read, store_refusal},
    body::JsonBody,
    openapi::{form, operation::Doc},
    portal::{
        pages::{is_conflict, team::invited},
        rights::{self, Right},
        session::SignedIn,
    },
    refusal::Refusal,
    state::ControlState,
};

/// `GET /v1/my/teams/{id or name}`.
pub(super) async fn show(State(state): State<ControlState>, visitor: SignedIn, Path(team): Path<String>) -> Result<Reply, Refusal> {
    let membership = named(&visitor, &team, Right::Read)?;
    let consumer = membership.consumer;
    let members = read!(state, |reader| members::members(reader, consumer))?;
    // Whom a team invites is its owners' business, as on the page.
    let is_owner = rights::allows(membership.role, Right::Team);
    let open = if is_owner { read!(state, |reader| invitation::of_team(reader, consumer))? } else { Vec::new() };
    let invitations = open.into_iter().map(InvitationView::from).collect();
    let name = membership.consumer_name.clone();
    let members = members.into_iter().map(MemberView::from).collect();
    Ok(Reply::ok(&Team { id: consumer, name, tenant: membership.tenant.clone(), members, invitations }))
}

/// A team.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = MyTeam)]
struct Team {
    #[schema(value_type = form::ConsumerKey)]
    id: ConsumerId,
    name: String,
    /// The name of the tenant.
    tenant: String,
    members: Vec<MemberView>,
    /// Those that nobody has accepted; empty for whoever may not invite.
    invitations: Vec<InvitationView>,
}

/// A member of a team.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TeamMember)]
struct MemberView {
    #[schema(value_type = form::AccountKey)]
    id: AccountId,
    name: String,
    email: String,
    #[schema(value_type = form::TeamRole)]
    role: TeamRole,
    #[schema(value_type = form::Instant)]
    since: String,
}

impl From<Member> for MemberView {
    fn from(member: Member) -> Self {
        let Member { account, role, since } = member;
        Self { id: account.id, name: account.name, email: account.email, role, since: instant(since) }
    }
}

/// An invitation to a team, without its link.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TeamInvitation)]
struct InvitationView {
    #[schema(value_type = form::Uuid)]
    id: Uuid,
    email: String,
    #[schema(value_type = Option<form::TeamRole>)]
    role: Option<TeamRole>,
    #[schema(value_type = form::Instant)]
    expires_at: String,
}

impl From<Invitation> for InvitationView {
    fn from(invitation: Invitation) -> Self {
        Self { id: invitation.id, email: invitation.email, role: invitation.team_role, expires_at: instant(invitation.expires_at) }
    }
}

/// Somebody to invite to a team.
#[derive(Debug, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct InviteMember {
    /// Whom.
    #[validate(custom(function = mail_address))]
    #[schema(value_type = form::MailAddress)]
    email: String,
    /// What they become there.
    #[schema(value_type = form::TeamRole)]
    role: String,
}

/// An invitation with its link.
#[derive(Serialize, ToSchema)]
struct InvitedMember {
    #[serde(flatten)]
    invitation: InvitationView,
    /// Behind the name of a control listener; it is shown here and never again.
    link: String,
}

/// `POST /v1/my/teams/{team}/invitations`: the only answer that ever holds this link.
pub(super) async fn invite(
    State(state): State<ControlState>,
    visitor: SignedIn,
    Path(team): Path<String>,
    JsonBody(body): JsonBody<InviteMember>,
) -> Result<Reply, Refusal> {
    let consumer = named(&visitor, &team, Right::Team)?.consumer;
    let role = role_of(&body.role)?;
    let Some((made, link)) = invited(&state, &visitor, consumer, &body.email.to_lowercase(), role).await? else {
        return Err(Denial::new(ProblemKind::ResourceConflict, "50 invitations are open; withdraw one first").into());
    };
    let view = InvitedMember { invitation: made.into(), link };
    Ok(Reply::created(&view, format!("/v1/my/teams/{consumer}")).about(format!("invitation:{}", view.invitation.id)))
}

fn role_of(text: &str) -> Result<TeamRole, Refusal> {
    TeamRole::parse(text).ok_or_else(|| Refusal::field("/role", "enum", "must be owner, developer or viewer"))
}

/// `DELETE /v1/my/teams/{team}/invitations/{id}`.
pub(super) async fn withdraw(
    State(state): State<ControlState>,
    visitor: SignedIn,
    Path((team, id)): Path<(String, String)>,
) -> Result<Reply, Refusal> {
    let consumer = named(&visitor, &team, Right::Team)?.consumer;
    let id: Uuid = id.parse().map_err(|_| Refusal::not_found("invitation"))?;
    let primary = state.primary().map_err(|error| store_refusal(&error))?;
    invitation::withdraw(&primary, consumer, id).await.map_err(|error| store_refusal(&error))?;
    Ok(Reply::ok(&Withdrawn { id, withdrawn: true }).about(format!("invitation:{id}")))
}

/// An invitation whose link leads nowhere any more.
#[derive(Debug, Serialize, ToSchema)]
struct Withdrawn {
    #[schema(value_type = form::Uuid)]
    id: Uuid,
    withdrawn: bool,
}

/// What somebody is to be in a team.
#[derive(Debug, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ChangeMember {
    #[schema(value_type = form::TeamRole)]
    role: String,
}

/// `PATCH /v1/my/teams/{team}/members/{account}`.
pub(super) async fn set_role(
    State(state): State<ControlState>,
    visitor: SignedIn,
    Path((team, account)): Path<(String, String)>,
    JsonBody(body): JsonBody<ChangeMember>,
) -> Result<Reply, Refusal> {
    let consumer = named(&visitor, &team, Right::Team)?.consumer;
    let account = account_of(&account)?;
    let role = role_of(&body.role)?;
    let primary = state.primary().map_err(|error| store_refusal(&error))?;
    members::set_role(&primary, consumer, account, role).await.map_err(|error| refusal(&error))?;
    Ok(Reply::ok(&Membership { id: account, team: consumer, role: Some(role) }).about(format!("consumer:{consumer}")))
}

/// `DELETE /v1/my/teams/{team}/members/{account}`.
pub(super) async fn remove(
    State(state): State<ControlState>,
    visitor: SignedIn,
    Path((team, account)): Path<(String, String)>,
) -> Result<Reply, Refusal> {
    let account = account_of(&account)?;
    let consumer = named(&visitor, &team, rights::to_remove(&visitor, account))?.consumer;
    let primary = state.primary().map_err(|error| store_refusal(&error))?;
    members::remove(&primary, consumer, account).await.map_err(|error| refusal(&error))?;
    Ok(Reply::ok(&Membership { id: account, team: consumer, role: None }).about(format!("consumer:{consumer}")))
}

fn account_of(text: &str) -> Result<AccountId, Refusal> {
    text.parse().map_err(|_| Refusal::not_found("member"))
}

fn refusal(error: &StoreError) -> Refusal {
    if is_conflict(error, "team_last_owner") {
        return Denial::new(ProblemKind::ResourceConflict, "a team needs an owner: make another member an owner first").into();
    }
    store_refusal(error)
}

/// What somebody is in a team after a change.
#[derive(Debug, Serialize, ToSchema)]
struct Membership {
    #[schema(value_type = form::AccountKey)]
    id: AccountId,
    #[schema(value_type = form::ConsumerKey)]
    team: ConsumerId,
    /// Null for whoever does not belong to it any more.
    #[schema(value_type = Option<form::TeamRole>)]
    role: Option<TeamRole>,
}

pub(super) fn show_doc() -> Doc {
    of_team(Doc::new("getMyTeam", "Shows a team and its members")).answers::<Team>(200, "The team.").leads_to(
        200,
        "changeMember",
        "account",
        "members/0/id",
    )
}

pub(super) fn invite_doc() -> Doc {
    of_team(Doc::new("inviteMember", "Invites somebody to a team").about("The answer is the only one that ever holds the link, which works once."))
        .body::<InviteMember>()
        .answers::<InvitedMember>(201, "They are invited.")
        .field(201, "location", form::text("Where the team stands.").into())
        .refuses(ProblemKind::ResourceConflict)
}

pub(super) fn withdraw_doc() -> Doc {
    of_team(Doc::new("withdrawInvitation", "Takes back an invitation"))
        .path::<form::Uuid>("id", "Its id.")
        .answers::<Withdrawn>(200, "Its link leads nowhere.")
}

pub(super) fn set_role_doc() -> Doc {
    of_team(Doc::new("changeMember", "Changes what somebody may do in a team"))
        .path::<form::AccountKey>("account", "Whom.")
        .body::<ChangeMember>()
        .answers::<Membership>(200, "It is so.")
        .refuses(ProblemKind::ResourceConflict)
}

pub(super) fn remove_doc() -> Doc {
    of_team(Doc::new("removeMember", "Takes somebody out of a team").about("Owners take anybody out; everybody may leave."))
        .path::<form::AccountKey>("account", "Whom.")
        .answers::<Membership>(200, "They do not belong to it any more.")
        .refuses(ProblemKind::ResourceConflict)
}

fn of_team(doc: Doc) -> Doc {
    doc.path_text("team", "The id or the name of the team.")
}
