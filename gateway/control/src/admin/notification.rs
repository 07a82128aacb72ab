//! `/v1/notifications`: what people are told by mail and webhook, and whether it arrived. What a notification says is not shown.

use axum::extract::{Path, Request, State};
use http::Uri;
use model::{
    id::{AccountId, ConsumerId, NotificationId},
    problem::ProblemKind,
};
use serde::Serialize;
use store::notification::{self, NotificationInfo, NotificationState};
use utoipa::ToSchema;

use crate::{
    admin::{
        Reply, instant,
        key::life::{Nothing, optional_body},
        page_request, read, store_refusal,
    },
    guard::Permit,
    openapi::{form, operation::Doc},
    query::Query,
    refusal::Refusal,
    state::ControlState,
};

/// `GET /v1/notifications`: newest first.
pub(crate) async fn list(State(state): State<ControlState>, _: Permit, uri: Uri) -> Result<Reply, Refusal> {
    let mut query = Query::of(&uri);
    let page = page_request(&mut query);
    let wanted = query.read("state", "must be `queued`, `delivered` or `failed`", NotificationState::parse);
    query.finish()?;
    let found = read!(state, |reader| notification::list(reader, wanted, &page))?;
    Ok(Reply::page(&found.map(Notification::from)))
}

/// `POST /v1/notifications/{id}/retry`: it is tried for another day.
pub(crate) async fn retry(State(state): State<ControlState>, _: Permit, Path(id): Path<String>, request: Request) -> Result<Reply, Refusal> {
    let id: NotificationId = id.parse().map_err(|_| Refusal::not_found("notification"))?;
    optional_body::<Nothing>(request).await?;
    let primary = state.primary().map_err(|error| store_refusal(&error))?;
    let queued = notification::retry(&primary, id).await.map_err(|error| store_refusal(&error))?;
    Ok(Reply::ok(&Notification::from(queued)).about(format!("notification:{id}")))
}

/// Something that somebody is told.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Notification {
    /// The same over all attempts; receivers see it as `webhook-id`.
    #[schema(value_type = form::NotificationKey)]
    id: NotificationId,
    /// What is told.
    #[serde(rename = "type")]
    kind: String,
    /// By which way: `mail`, `webhook` of a team, `operators` before it is dealt out to each of them, `operators_webhook`.
    #[schema(value_type = form::NotificationChannel)]
    channel: String,
    /// Whose mail it is, if it is an account's.
    #[schema(value_type = Option<form::AccountKey>)]
    account: Option<AccountId>,
    /// The team that it is about.
    #[schema(value_type = Option<form::ConsumerKey>)]
    consumer: Option<ConsumerId>,
    #[schema(value_type = form::NotificationStatus)]
    state: NotificationState,
    #[schema(value_type = form::Instant)]
    created_at: String,
    /// When it is tried next, or was due last.
    #[schema(value_type = form::Instant)]
    due_at: String,
    attempts: u32,
    /// When it was delivered or given up.
    #[schema(value_type = Option<form::Instant>)]
    ended_at: Option<String>,
    /// Why the last attempt failed.
    fault: Option<String>,
}

impl From<NotificationInfo> for Notification {
    fn from(info: NotificationInfo) -> Self {
        let NotificationInfo { id, kind, channel, account, consumer, state, created_at, due_at, attempts, ended_at, fault } = info;
        let (created_at, due_at, ended_at) = (instant(created_at), instant(due_at), ended_at.map(instant));
        Self { id, kind, channel, account, consumer, state, created_at, due_at, attempts, ended_at, fault }
    }
}

/// How [`list`] is described.
pub(crate) fn list_doc() -> Doc {
    Doc::new("listNotifications", "Lists what people are told by mail and webhook, newest first")
        .about("What ended a week ago is forgotten.")
        .query::<form::NotificationStatus>("state", "Only in this state.")
        .pages::<Notification>("A page.")
        .leads_to(200, "retryNotification", "id", "items/0/id")
}

/// How [`retry`] is described.
pub(crate) fn retry_doc() -> Doc {
    Doc::new("retryNotification", "Sends a notification again that failed")
        .about("It is tried for another day, under the same id.")
        .path::<form::NotificationKey>("id", "Its id.")
        .empty_body()
        .refuses(ProblemKind::ResourceConflict)
        .answers::<Notification>(200, "It waits.")
}
