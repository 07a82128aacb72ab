//! The resources of the admin API, and what their handlers share: how an answer is made, how the store's errors are told.

pub(crate) mod account;
pub(crate) mod application;
pub(crate) mod audit;
pub(crate) mod cache;
pub(crate) mod consumer;
pub(crate) mod document;
pub(crate) mod key;
pub(crate) mod leak;
pub(crate) mod node;
pub(crate) mod notification;
pub(crate) mod operator;
pub(crate) mod problem;
pub(crate) mod structure;
pub(crate) mod token;
pub(crate) mod usage;

use std::borrow::Cow;

use axum::response::{IntoResponse, Response};
use http::{HeaderName, HeaderValue, StatusCode, header};
use model::{
    change::Revisions,
    problem::{Denial, ProblemKind},
    time::UtcMicros,
};
use serde::Serialize;
use serde_json::Value;
use store::{
    error::StoreError,
    page::{Page, PageRequest},
    write::Written,
};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{AllOfBuilder, ObjectBuilder, RefOr, Schema, Type},
};
use validator::ValidationError;

use crate::{openapi::form, query::Query, refusal::Refusal, trail::Object};

const IDEMPOTENCY_REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// An answer with a JSON body.
#[derive(Debug)]
pub(crate) struct Reply {
    status: StatusCode,
    body: Value,
    object: Option<String>,
    location: Option<String>,
    is_replayed: bool,
    refusal: Option<Refusal>,
}

impl Reply {
    /// 200 with a body.
    pub(crate) fn ok(body: &impl Serialize) -> Self {
        Self { status: StatusCode::OK, body: shown(body), object: None, location: None, is_replayed: false, refusal: None }
    }

    /// 201 with a body, and where the new thing stands.
    pub(crate) fn created(body: &impl Serialize, location: String) -> Self {
        Self { status: StatusCode::CREATED, body: shown(body), object: None, location: Some(location), is_replayed: false, refusal: None }
    }

    /// A refusal of an act that was done in part: the record has to say in which.
    pub(crate) fn refused(denial: Denial) -> Self {
        Self { refusal: Some(denial.into()), ..Self::ok(&()) }
    }

    /// A page of a list.
    pub(crate) fn page<T: Serialize>(page: &Page<T>) -> Self {
        Self::ok(page)
    }

    /// 202: it is done, and what was waited for has not come in the time.
    pub(crate) const fn accepted(mut self) -> Self {
        self.status = StatusCode::ACCEPTED;
        self
    }

    /// Says that an earlier call did this.
    pub(crate) const fn replayed(mut self) -> Self {
        self.is_replayed = true;
        self
    }

    /// Says what the act was about, for the record.
    pub(crate) fn about(mut self, object: String) -> Self {
        self.object = Some(object);
        self
    }
}

impl IntoResponse for Reply {
    fn into_response(self) -> Response {
        let mut response = match self.refusal {
            Some(refusal) => refusal.into_response(),
            None => (self.status, axum::Json(self.body)).into_response(),
        };
        if let Some(object) = self.object {
            response.extensions_mut().insert(Object(object));
        }
        if let Some(location) = self.location.and_then(|path| HeaderValue::try_from(path).ok()) {
            response.headers_mut().insert(header::LOCATION, location);
        }
        if self.is_replayed {
            response.headers_mut().insert(IDEMPOTENCY_REPLAYED, HeaderValue::from_static("true"));
        }
        response
    }
}

/// Logs an error that should not happen, and answers 500 without its words.
pub(crate) fn unexpected(error: &(dyn std::error::Error + 'static)) -> Refusal {
    tracing::error!(error = chain(error), "the control plane failed");
    Refusal::internal()
}

/// What an error of the store means to the client. Its words go to the log only.
pub(crate) fn store_refusal(error: &StoreError) -> Refusal {
    match error {
        StoreError::Unavailable { .. } => {
            tracing::warn!(error = chain(error), "the control database is not available");
            Refusal::database()
        }
        StoreError::Superseded { .. } => {
            tracing::error!(error = chain(error), "the control database is not written to");
            let text = "the server that takes writes was replaced, or restored to an earlier time, and is not written to; nodes go on serving";
            Denial::new(ProblemKind::DatabaseUnavailable, text).retry_after(2).into()
        }
        StoreError::CommitUnknown { .. } => {
            tracing::error!(error = chain(error), "the outcome of a commit is unknown");
            let text = "the connection broke during the commit: whether the change was made is not known, so look before you try again";
            Denial::new(ProblemKind::DatabaseUnavailable, text).retry_after(2).into()
        }
        StoreError::CommitUnconfirmed => {
            tracing::error!(error = chain(error), "a commit is not confirmed");
            let text = "the change is made on the primary, and no standby has confirmed it: a failover could undo it, so look before you try again";
            Denial::new(ProblemKind::DatabaseUnavailable, text).retry_after(2).into()
        }
        StoreError::Conflict { constraint, .. } => {
            tracing::info!(error = chain(error), "a write conflicts with what is stored");
            Denial::new(ProblemKind::ResourceConflict, conflict(constraint)).into()
        }
        StoreError::PepperMissing { version } => {
            tracing::warn!(error = chain(error), "an import is refused");
            let text = format!(
                "imported keys are stored under pepper {version}, which this node has not loaded, so it cannot tell whether a text is theirs: add it to `secrets.peppers` of the node file, restart the node, and import again"
            );
            Denial::new(ProblemKind::ResourceConflict, text).into()
        }
        StoreError::NotFound { what, .. } => Refusal::not_found(what),
        StoreError::Invalid { .. } => {
            tracing::info!(error = chain(error), "the store refused a value");
            Denial::new(
                ProblemKind::RequestInvalid,
                "a value cannot be stored or looked for: a cursor that is not ours, a text that is too long, or a character that no text may hold",
            )
            .into()
        }
        StoreError::Corrupt { .. } | StoreError::Internal { .. } => unexpected(error),
    }
}

/// Public words for each constraint that a client can run into.
fn conflict(constraint: &str) -> &'static str {
    match constraint {
        "key_state" => "the key is in a state that does not allow this: `GET /v1/keys/{id}` says which",
        "key_own_team" => "this is a key of your own team, or one that you have asked for; somebody else has to decide",
        "key_refused" => "somebody has refused this key, for good: `GET /v1/keys/{id}` says who and why",
        "key_approved" => "somebody has approved this key: `GET /v1/keys/{id}` says who; revoke it if it is not to be used",
        "key_rolling" => "the secret before still works: end its overlap first, or say in `while_rolling` whether it or the present one goes",
        "create_call" => "this Idempotency-Key came with another body before: take a new one for a new key",
        "notification_state" => "only a notification that failed is sent again: `GET /v1/notifications` says how they are",
        "account_state" => "the account is in a state that does not allow this: `GET /v1/accounts/{id}` says which",
        "account_role" => "the account has got another role in between: look at it, and begin again",
        "account_provided" => "the account signs in by a provider and has no password",
        "account_identity_pk" => "the provider's person has an account already",
        "second_factor_none" => "the account has no second factor",
        "second_factor_set" => "the account has a second factor already",
        "managed_by" => "it belongs to the gateway file, or to the API, and only that side changes it",
        name if name.ends_with("_unique") => "a resource with this name exists already",
        name if name.ends_with("_fk") => "another resource still refers to it, or the one it refers to is gone",
        _ => "it conflicts with what is stored",
    }
}

/// An error and its causes, for the log.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut out = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        out = out + ": " + &cause.to_string();
        source = cause.source();
    }
    out
}

/// Reads from the primary, so that an operator sees what they just wrote; while it is away, from another server.
macro_rules! read {
    ($state:expr, |$reader:ident| $call:expr) => {{
        let from_primary = match $state.primary() {
            Ok(primary) => {
                let $reader = &primary;
                $call.await
            }
            Err(error) => Err(error),
        };
        match from_primary {
            Err(store::error::StoreError::Unavailable { .. }) => match $state.replica() {
                Ok(replica) => {
                    let $reader = &replica;
                    $call.await
                }
                Err(error) => Err(error),
            },
            answer => answer,
        }
        .map_err(|error| $crate::admin::store_refusal(&error))
    }};
}
pub(crate) use read;

/// Takes `limit` and `cursor`. What a cursor is made of is checked by whoever reads the list.
pub(crate) fn page_request(query: &mut Query) -> PageRequest {
    page_request_by(query, |cursor| !cursor.is_empty())
}

/// The same, where it is known at once which cursors can be ours.
pub(crate) fn page_request_by(query: &mut Query, is_ours: impl FnOnce(&str) -> bool) -> PageRequest {
    let limit = query.limit();
    let cursor = query.read("cursor", "must be `next_cursor` of the page before", |text| is_ours(text).then(|| text.to_owned()));
    PageRequest { limit, cursor }
}

/// The revision of a write on the authority lane: nodes that have reached it know the change.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AuthorityRevision {
    epoch: u64,
    authority: u64,
}

/// The heads of both lanes.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LaneRevisions {
    epoch: u64,
    authority: u64,
    /// The epoch of `structural`: that of a node which kept its structure over a promotion is the one before.
    structural_epoch: u64,
    structural: u64,
}

impl From<Revisions> for LaneRevisions {
    fn from(Revisions { epoch, epoch_id: _, authority, structural_epoch, structural }: Revisions) -> Self {
        Self { epoch, authority, structural_epoch, structural }
    }
}

/// The revision of a write on the authority lane.
pub(crate) const fn authority_revision(revisions: Revisions) -> AuthorityRevision {
    AuthorityRevision { epoch: revisions.epoch, authority: revisions.authority }
}

/// A resource after a change.
#[derive(Debug, Serialize)]
pub(crate) struct Changed<T> {
    #[serde(flatten)]
    view: T,
    revision: AuthorityRevision,
}

impl<I, T: From<I>> From<Written<I>> for Changed<T> {
    fn from(written: Written<I>) -> Self {
        Self { view: written.item.into(), revision: authority_revision(written.revisions) }
    }
}

impl<T: ToSchema> PartialSchema for Changed<T> {
    fn schema() -> RefOr<Schema> {
        let revision = ObjectBuilder::new().schema_type(Type::Object).property("revision", form::reference::<AuthorityRevision>());
        AllOfBuilder::new().item(form::reference::<T>()).item(revision).into()
    }
}

/// Derived it would have one name for all its types.
impl<T: ToSchema> ToSchema for Changed<T> {
    fn name() -> Cow<'static, str> {
        format!("Changed{}", T::name()).into()
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push((T::name().into_owned(), T::schema()));
        schemas.push((AuthorityRevision::name().into_owned(), AuthorityRevision::schema()));
        T::schemas(schemas);
    }
}

/// A list that is always whole, in the form of a page.
#[derive(Debug, Serialize)]
pub(crate) struct Listed<T> {
    items: Vec<T>,
    next_cursor: (),
}

impl<T> Listed<T> {
    /// All of them.
    pub(crate) fn all(items: impl Iterator<Item = T>) -> Self {
        Self { items: items.collect(), next_cursor: () }
    }
}

/// A view as JSON. Views hold texts, numbers and lists alone: writing them as JSON cannot fail.
fn shown(view: &impl Serialize) -> Value {
    serde_json::to_value(view).unwrap_or_default()
}

/// An instant as clients read it: RFC 3339, UTC.
pub(crate) fn instant(at: UtcMicros) -> String {
    at.to_string()
}

/// For validator: a text that a person can read on one line. That there is one is another rule.
pub(crate) fn printable(text: &str) -> Result<(), ValidationError> {
    let is_blank = !text.is_empty() && text.trim().is_empty();
    if is_blank || text.chars().any(char::is_control) {
        return Err(ValidationError::new("printable").with_message("must hold a visible character and no control characters".into()));
    }
    Ok(())
}

/// For validator: a name that may stand in labels, URLs and records.
pub(crate) fn plain_name(text: &str) -> Result<(), ValidationError> {
    if model::compile::is_name(text) {
        return Ok(());
    }
    let message = "must be 1 to 63 of a-z, 0-9, `-` and `_`, starting with a letter or digit";
    Err(ValidationError::new("name").with_message(message.into()))
}

/// The most scopes of one holder, and the longest of them in characters: a key's row stays under 10 KiB.
pub(crate) const SCOPES_MAX: usize = 64;
pub(crate) const SCOPE_LEN_MAX: usize = 128;

/// For validator: scopes as RFC 6749 section 3.3 has them, each once.
pub(crate) fn scope_list(scopes: &[String]) -> Result<(), ValidationError> {
    let refuse = |message: &'static str| Err(ValidationError::new("scopes").with_message(message.into()));
    if scopes.len() > SCOPES_MAX {
        return refuse("must be at most 64 scopes");
    }
    let is_token = |byte: u8| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\';
    for (index, scope) in scopes.iter().enumerate() {
        if scope.is_empty() || scope.len() > SCOPE_LEN_MAX || !scope.bytes().all(is_token) {
            return refuse("must hold scopes of 1 to 128 visible ASCII characters without quotes and backslashes");
        }
        if scopes.iter().take(index).any(|earlier| earlier == scope) {
            return refuse("must hold each scope once");
        }
    }
    Ok(())
}
