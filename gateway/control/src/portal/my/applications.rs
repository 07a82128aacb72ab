//! Applications of a person's teams.

use axum::extract::{Path, State};
use http::Uri;
use model::problem::{Denial, ProblemKind};
use serde::Deserialize;
use store::{
    account::team::Membership,
    application::{ApplicationFilter, ApplicationInfo, NewApplication},
    error::StoreError,
};
use utoipa::ToSchema;
use validator::Validate;

use super::{meant, meant_by};
use crate::{
    admin::{
        Changed, Reply,
        application::Application,
        consumer::{Deletion, deleted},
        page_request, printable, read, store_refusal,
    },
    body::JsonBody,
    openapi::{form, operation::Doc},
    portal::{
        pages::application_name,
        rights::Right,
        session::SignedIn,
        site::{self, Site},
    },
    query::Query,
    refusal::Refusal,
    state::ControlState,
};

/// Applications of one team.
pub(in crate::portal) const OF_TEAM_MAX: u32 = 20;

/// `GET /v1/my/applications`: newest first.
pub(super) async fn list(State(state): State<ControlState>, visitor: SignedIn, uri: Uri) -> Result<Reply, Refusal> {
    let mut query = Query::of(&uri);
    let page = page_request(&mut query);
    let team = meant_by(&visitor, &mut query)?;
    query.finish()?;
    let filter = ApplicationFilter { consumer: team.map(|team| team.consumer), tenant: None };
    let applications = read!(state, |reader| store::application::list(reader, &filter, &page))?;
    Ok(Reply::page(&applications.map(Application::from)))
}

/// `GET /v1/my/applications/{id or name}`.
pub(super) async fn show(State(state): State<ControlState>, visitor: SignedIn, Path(id): Path<String>) -> Result<Reply, Refusal> {
    Ok(Reply::ok(&Application::from(found(&state, &visitor, &id, Right::Read).await?)))
}

/// An application of a team of this person, in which they may do this.
pub(super) async fn found(state: &ControlState, visitor: &SignedIn, text: &str, right: Right) -> Result<ApplicationInfo, Refusal> {
    let application = if let Ok(id) = text.parse() {
        read!(state, |reader| store::application::get(reader, id))?
    } else {
        read!(state, |reader| store::application::by_name(reader, text))?
    };
    visitor.may(application.consumer, right, "application")?;
    Ok(application)
}

/// What an application is asked for with.
#[derive(Debug, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CreateMyApplication {
    /// What its team calls it. Its name in the deployment begins with the team's.
    #[validate(length(min = 1, max = 30, message = "must have 1 to 30 characters"), custom(function = printable))]
    #[schema(value_type = form::ShortLabel)]
    name: String,
    /// The id or the name of the team; the only one when absent.
    #[validate(length(min = 1, max = 80, message = "must be the id or the name of a team"))]
    #[schema(value_type = Option<form::Reference>)]
    team: Option<String>,
}

/// `POST /v1/my/applications`: with the plan and the scopes that the portal gives.
pub(super) async fn create(
    State(state): State<ControlState>,
    visitor: SignedIn,
    JsonBody(body): JsonBody<CreateMyApplication>,
) -> Result<Reply, Refusal> {
    let site = site::site(&state).await?;
    let team = meant(&visitor, body.team.as_deref(), Right::Applications).map_err(|refusal| unknown_team(refusal, body.team.is_some()))?;
    let written = made(&state, &site, &visitor, team, &body.name).await?.map_err(|error| store_refusal(&error))?;
    let id = written.item.id;
    Ok(Reply::created(&Changed::<Application>::from(written), format!("/v1/my/applications/{id}")).about(format!("application:{id}")))
}

/// In a body, what does not exist is a wrong member and not a missing resource.
fn unknown_team(refusal: Refusal, is_named: bool) -> Refusal {
    if is_named && refusal.kind() == ProblemKind::ResourceNotFound {
        return Refusal::field("/team", "unknown", "is not the id or the name of a team of yours");
    }
    refusal
}

/// Makes an application of a team, as the portal gives them. The inner error is the store's, for words that fit the caller.
pub(in crate::portal) async fn made(
    state: &ControlState,
    site: &Site,
    visitor: &SignedIn,
    team: &Membership,
    wish: &str,
) -> Result<Result<store::write::Written<ApplicationInfo>, StoreError>, Refusal> {
    if team.tenant != site.tenant {
        let text = "this team belongs to another tenant than the portal; its applications are made by the API's owner";
        return Err(Denial::new(ProblemKind::RoleInsufficient, text).into());
    }
    let name = application_name(&team.consumer_name, wish);
    let (plan, scopes) = (site.portal.plan.as_deref(), &site.portal.scopes);
    let new = NewApplication { name: &name, consumer: team.consumer, plan, scopes, at_most: Some(OF_TEAM_MAX) };
    let primary = state.primary().map_err(|error| store_refusal(&error))?;
    Ok(store::application::create(&primary, new, &visitor.actor()).await)
}

/// `DELETE /v1/my/applications/{id or name}`: its keys end.
pub(super) async fn remove(State(state): State<ControlState>, visitor: SignedIn, Path(id): Path<String>) -> Result<Reply, Refusal> {
    let application = found(&state, &visitor, &id, Right::Applications).await?;
    let primary = state.primary().map_err(|error| store_refusal(&error))?;
    let written = store::application::delete(&primary, application.id, &visitor.actor()).await.map_err(|error| store_refusal(&error))?;
    Ok(Reply::ok(&deleted(application.id.to_string(), written)).about(format!("application:{}", application.id)))
}

pub(super) fn list_doc() -> Doc {
    Doc::new("listMyApplications", "Lists the applications of a team, newest first")
        .query_text("team", "The id or the name of the team; required for whoever belongs to several.")
        .pages::<Application>("A page.")
        .leads_to(200, "getMyApplication", "id", "items/0/name")
        .refuses(ProblemKind::ResourceNotFound)
        .refuses(ProblemKind::RoleInsufficient)
}

pub(super) fn show_doc() -> Doc {
    Doc::new("getMyApplication", "Shows an application").path_text("id", "Its id or its name.").answers::<Application>(200, "The application.")
}

pub(super) fn create_doc() -> Doc {
    Doc::new("createMyApplication", "Makes an application, with the plan and the scopes that the portal gives")
        .body::<CreateMyApplication>()
        .answers::<Changed<Application>>(201, "It is made.")
        .field(201, "location", form::text("Where it stands.").into())
        .leads_to(201, "getMyApplication", "id", "id")
        .leads_to(201, "deleteMyApplication", "id", "id")
        .refuses(ProblemKind::ResourceConflict)
        .refuses(ProblemKind::ResourceNotFound)
}

pub(super) fn remove_doc() -> Doc {
    Doc::new("deleteMyApplication", "Removes an application")
        .about("Its keys end.")
        .path_text("id", "Its id or its name.")
        .answers::<Deletion>(200, "It is gone.")
        .refuses(ProblemKind::ResourceConflict)
}
