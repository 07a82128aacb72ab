//! Who a program acts for, and the tokens by which programs do.

use axum::extract::{Path, Request, State};
use model::{
    id::{AccountId, ConsumerId},
    key::KeyId,
};
use serde::Serialize;
use store::account::{
    team::{Membership, TeamRole},
    token::{self, TokenInfo},
};
use utoipa::ToSchema;

use crate::{
    admin::{
        Listed, Reply, instant,
        key::life::{Nothing, optional_body},
        read, store_refusal,
    },
    openapi::{form, operation::Doc},
    operator::Wanted,
    portal::session::SignedIn,
    refusal::Refusal,
    state::ControlState,
};

/// `GET /v1/my`.
pub(super) async fn show(visitor: SignedIn) -> Result<Reply, Refusal> {
    let teams = visitor.teams.iter().map(TeamOf::from).collect();
    Ok(Reply::ok(&Me { id: visitor.account.id, name: visitor.account.name, email: visitor.account.email, teams }))
}

/// A person, with their teams.
#[derive(Debug, Serialize, ToSchema)]
struct Me {
    #[schema(value_type = form::AccountKey)]
    id: AccountId,
    name: String,
    email: String,
    teams: Vec<TeamOf>,
}

/// A team of a person.
#[derive(Debug, Serialize, ToSchema)]
struct TeamOf {
    #[schema(value_type = form::ConsumerKey)]
    id: ConsumerId,
    name: String,
    /// The name of the tenant.
    tenant: String,
    /// What the person may there.
    #[schema(value_type = form::TeamRole)]
    role: TeamRole,
}

impl From<&Membership> for TeamOf {
    fn from(team: &Membership) -> Self {
        Self { id: team.consumer, name: team.consumer_name.clone(), tenant: team.tenant.clone(), role: team.role }
    }
}

/// `GET /v1/my/tokens`.
pub(super) async fn tokens(State(state): State<ControlState>, visitor: SignedIn) -> Result<Reply, Refusal> {
    let found = read!(state, |reader| token::of_account(reader, visitor.account.id))?;
    Ok(Reply::ok(&Listed::all(found.into_iter().map(Token::from))))
}

/// A personal token.
#[derive(Debug, Serialize, ToSchema)]
struct Token {
    #[schema(value_type = form::KeyId)]
    id: KeyId,
    /// What its owner calls it.
    name: String,
    #[schema(value_type = form::Instant)]
    created_at: String,
    #[schema(value_type = form::Instant)]
    expires_at: String,
}

impl From<TokenInfo> for Token {
    fn from(info: TokenInfo) -> Self {
        Self { id: info.id, name: info.name, created_at: instant(info.created_at), expires_at: instant(info.expires_at) }
    }
}

/// `POST /v1/my/tokens/{id}/revoke`: doing it again changes nothing.
pub(super) async fn revoke(State(state): State<ControlState>, visitor: SignedIn, Path(id): Path<String>, request: Request) -> Result<Reply, Refusal> {
    let id = KeyId::parse(&id).ok_or_else(|| Refusal::not_found("token"))?;
    optional_body::<Nothing>(request).await?;
    let primary = state.primary().map_err(|error| store_refusal(&error))?;
    token::revoke(&primary, visitor.account.id, &id).await.map_err(|error| store_refusal(&error))?;
    // Elsewhere it is looked up anew within seconds.
    state.known_tokens(Wanted::Personal).forget(&id);
    Ok(Reply::ok(&Revoked { id, revoked: true }).about(format!("token:{id}")))
}

/// A token that is not taken any more.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RevokedToken)]
struct Revoked {
    #[schema(value_type = form::KeyId)]
    id: KeyId,
    revoked: bool,
}

pub(super) fn show_doc() -> Doc {
    Doc::new("getMe", "Shows whose token this is, and their teams").answers::<Me>(200, "The person.").leads_to(200, "getMyTeam", "team", "teams/0/id")
}

pub(super) fn tokens_doc() -> Doc {
    Doc::new("listMyTokens", "Lists your personal tokens, newest first")
        .about("They are made on a page of the portal: a program cannot make itself another.")
        .answers_whole::<Token>("All of them.")
}

pub(super) fn revoke_doc() -> Doc {
    Doc::new("revokeMyToken", "Revokes one of your personal tokens")
        .about("Doing it again changes nothing.")
        .path::<form::KeyId>("id", "Its public id.")
        .empty_body()
        .answers::<Revoked>(200, "It is revoked; nodes may take it for another 5 s.")
}
