//! `/v1/cache/purge`: stored responses are not given any more, on any node.

use axum::extract::State;
use model::purge::{PURGE_TAGS_MAX, Purge, Tag};
use serde::{Deserialize, Serialize};
use store::error::StoreError;
use utoipa::ToSchema;
use validator::{Validate, ValidationError};

use crate::{
    admin::{AuthorityRevision, Reply, authority_revision, instant, plain_name, store_refusal},
    body::JsonBody,
    guard::Permit,
    openapi::{form, operation::Doc},
    refusal::Refusal,
    state::ControlState,
};

/// What is to go. Members narrow each other; of several tags, each names.
#[derive(Debug, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PurgeCache {
    /// With one of these tags.
    #[serde(default)]
    #[validate(custom(function = tag_list))]
    #[schema(value_type = form::CacheTags)]
    tags: Vec<String>,
    /// Of this route.
    #[validate(custom(function = plain_name))]
    #[schema(value_type = Option<form::Name>)]
    route: Option<String>,
    /// Of this tenant's routes.
    #[validate(custom(function = plain_name))]
    #[schema(value_type = Option<form::Name>)]
    tenant: Option<String>,
}

/// For validator: tags that a service can have said.
fn tag_list(tags: &[String]) -> Result<(), ValidationError> {
    let refuse = |message: &'static str| Err(ValidationError::new("tags").with_message(message.into()));
    if tags.len() > PURGE_TAGS_MAX {
        return refuse("must be at most 16 tags");
    }
    if tags.iter().any(|tag| Tag::parse(tag).is_err()) {
        return refuse("must hold tags of 1 to 128 visible ASCII characters without commas");
    }
    Ok(())
}

impl From<PurgeCache> for Purge {
    fn from(body: PurgeCache) -> Self {
        // Each was read once already, by the validator.
        let mut tags: Vec<Tag> = body.tags.iter().filter_map(|tag| Tag::parse(tag).ok()).collect();
        tags.sort_unstable();
        tags.dedup();
        Self { tenant: body.tenant.map(Into::into), route: body.route.map(Into::into), tags }
    }
}

/// `POST /v1/cache/purge`: written to the change log; every node takes it like the revocation of a key.
pub(crate) async fn purge(State(state): State<ControlState>, permit: Permit, JsonBody(body): JsonBody<PurgeCache>) -> Result<Reply, Refusal> {
    let purge = Purge::from(body);
    if purge.is_everything() {
        return Err(Refusal::field("/tags", "required", "is required, unless `route` or `tenant` says what is to go"));
    }
    let primary = state.primary().map_err(|error| store_refusal(&error))?;
    let written =
        store::purge::create(&primary, &purge, &permit.actor()).await.map_err(|error| unknown(&error).unwrap_or_else(|| store_refusal(&error)))?;
    // The revision first: a record has room for 128 bytes, and the change log has the rest.
    let object = format!("cache:{}.{} {purge}", written.revisions.epoch, written.revisions.authority);
    let Purge { tags, route, tenant } = purge;
    let (revision, committed_at) = (authority_revision(written.revisions), instant(written.item));
    Ok(Reply::ok(&Purged { tags, route, tenant, revision, committed_at }).about(object))
}

/// What is not given any more.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Purged {
    #[schema(value_type = Vec<form::CacheTag>)]
    tags: Vec<Tag>,
    #[schema(value_type = Option<String>)]
    route: Option<Box<str>>,
    #[schema(value_type = Option<String>)]
    tenant: Option<Box<str>>,
    revision: AuthorityRevision,
    #[schema(value_type = form::Instant)]
    committed_at: String,
}

/// How [`purge`] is described.
pub(crate) fn purge_doc() -> Doc {
    Doc::new("purgeCache", "Purges stored responses")
        .about("Members narrow each other; at least one has to say what is to go. Every node takes it like the revocation of a key.")
        .body::<PurgeCache>()
        .answers::<Purged>(200, "Nodes that have reached the revision do not give them any more.")
}

/// A name that a purge cannot mean.
fn unknown(error: &StoreError) -> Option<Refusal> {
    let StoreError::NotFound { what, .. } = error else { return None };
    Some(Refusal::field(format!("/{what}"), "unknown", format!("is not the name of a {what}")))
}
