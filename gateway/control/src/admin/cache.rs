//! `/v1/cache/purge`: stored responses are not given any more, on any node.

use axum::extract::State;
use model::purge::{PURGE_TAGS_MAX, Purge, Tag};
use serde::Deserialize;
use serde_json::json;
use store::error::StoreError;
use validator::{Validate, ValidationError};

use crate::{
    admin::{Reply, authority_revision, instant, plain_name, store_refusal},
    body::JsonBody,
    guard::Permit,
    refusal::Refusal,
    state::ControlState,
};

/// What is to go. Members narrow each other; of several tags, each names.
#[derive(Debug, Deserialize, Validate)]
#[serde(deny_unknown_fields)]
pub(crate) struct PurgeCache {
    /// With one of these tags.
    #[serde(default)]
    #[validate(custom(function = tag_list))]
    tags: Vec<String>,
    /// Of this route.
    #[validate(custom(function = plain_name))]
    route: Option<String>,
    /// Of this tenant's routes.
    #[validate(custom(function = plain_name))]
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
    let body = json!({
        "tags": purge.tags,
        "route": purge.route,
        "tenant": purge.tenant,
        "revision": authority_revision(written.revisions),
        "committed_at": instant(written.item),
    });
    // The revision first: a record has room for 128 bytes, and the change log has the rest.
    let object = format!("cache:{}.{} {purge}", written.revisions.epoch, written.revisions.authority);
    Ok(Reply::ok(body).about(object))
}

/// A name that a purge cannot mean.
fn unknown(error: &StoreError) -> Option<Refusal> {
    let StoreError::NotFound { what, .. } = error else { return None };
    Some(Refusal::field(format!("/{what}"), "unknown", format!("is not the name of a {what}")))
}
