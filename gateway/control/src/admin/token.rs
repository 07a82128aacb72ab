//! `/v1/tokens`: tokens of issuers that are refused on every node, like revoked keys.

use std::time::Duration;

use axum::extract::State;
use http::Uri;
use model::{
    denial::{DenialRow, Denied},
    duration::Span,
    time::UtcMicros,
};
use serde::{Deserialize, Serialize};
use store::{denial::DenialInfo, error::StoreError};
use utoipa::ToSchema;
use uuid::Uuid;
use validator::{Validate, ValidationError};

use crate::{
    admin::{Changed, Reply, audit::moment, instant, page_request, read, store_refusal},
    body::JsonBody,
    guard::Permit,
    openapi::{form, operation::Doc},
    query::Query,
    refusal::Refusal,
    state::ControlState,
};

/// Longer than most tokens live; a denial that ends before its token does would let it in again.
const LASTS_DEFAULT: Duration = Duration::from_hours(24 * 31);
const LASTS_MAX: Duration = Duration::from_hours(24 * 400);
/// The longest name in a token, in bytes: the gateway takes no longer one.
pub(crate) const NAME_BYTES_MAX: usize = 255;
pub(crate) const ISSUER_BYTES_MAX: usize = 1_024;

/// Which tokens are refused.
#[derive(Debug, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DenyTokens {
    /// The issuer, by its name in the gateway document or by its `iss`.
    #[validate(custom(function = issuer_text))]
    #[schema(value_type = form::IssuerText)]
    issuer: String,
    /// One token, by its `jti`.
    #[validate(custom(function = name_text))]
    #[schema(value_type = Option<form::TokenText>)]
    token: Option<String>,
    /// Every token about somebody, by `sub`.
    #[validate(custom(function = name_text))]
    #[schema(value_type = Option<form::TokenText>)]
    subject: Option<String>,
    /// With `subject`: those issued until then; now when absent.
    #[schema(value_type = Option<form::Moment>)]
    issued_until: Option<String>,
    /// How long, as `31d`: at least until every token that it is about is over.
    #[schema(value_type = Option<form::Duration>)]
    lasts: Option<String>,
}

/// For validator: what a token can name somebody or itself with.
fn name_text(text: &str) -> Result<(), ValidationError> {
    let is_name = (1..=NAME_BYTES_MAX).contains(&text.len()) && !text.chars().any(char::is_control);
    is_name.then_some(()).ok_or_else(|| ValidationError::new("name").with_message("must be 1 to 255 bytes without control characters".into()))
}

/// For validator: an issuer's name, or its `iss`.
fn issuer_text(text: &str) -> Result<(), ValidationError> {
    let is_text = (1..=ISSUER_BYTES_MAX).contains(&text.len()) && !text.chars().any(char::is_control);
    is_text.then_some(()).ok_or_else(|| ValidationError::new("issuer").with_message("must be the name of an issuer, or its `iss`".into()))
}

impl DenyTokens {
    fn into_row(self, now: UtcMicros) -> Result<DenialRow, Refusal> {
        let lasts = match self.lasts.as_deref().map(Span::parse) {
            None => LASTS_DEFAULT,
            Some(Some(Span(lasts))) if lasts <= LASTS_MAX && !lasts.is_zero() => lasts,
            Some(_) => return Err(Refusal::field("/lasts", "duration", "must be a duration up to 400d, like 31d")),
        };
        let which = match (self.token, self.subject, self.issued_until) {
            (Some(id), None, None) => Denied::Token { id },
            (None, Some(subject), until) => {
                let until = until.map(|text| moment(&text, now).ok_or(())).transpose();
                let until = until
                    .map_err(|()| Refusal::field("/issued_until", "time", "must be a time like 2026-01-31T12:00:00Z, or how long ago, like 15m"))?;
                Denied::Subject { subject, issued_until: until.unwrap_or(now) }
            }
            (Some(_), None, Some(_)) => {
                return Err(Refusal::field("/issued_until", "unexpected", "belongs to `subject`: a token is refused as a whole"));
            }
            (Some(_), Some(_), _) => return Err(Refusal::field("/subject", "unexpected", "stands beside `token`; write one of the two")),
            (None, None, _) => return Err(Refusal::field("/token", "required", "is required, unless `subject` says whose tokens are refused")),
        };
        let expires_at = UtcMicros(now.0.saturating_add(i64::try_from(lasts.as_micros()).unwrap_or(i64::MAX)));
        Ok(DenialRow { issuer: self.issuer, which, expires_at })
    }
}

/// `POST /v1/tokens/deny`: written to the authority lane; every node takes it like the revocation of a key.
pub(crate) async fn deny(State(state): State<ControlState>, permit: Permit, JsonBody(body): JsonBody<DenyTokens>) -> Result<Reply, Refusal> {
    let row = body.into_row(state.now().wall)?;
    let primary = state.primary().map_err(|error| store_refusal(&error))?;
    let written = store::denial::create(&primary, &row, &permit.actor()).await.map_err(|error| {
        if matches!(error, StoreError::NotFound { what: "issuer", .. }) {
            return Refusal::field("/issuer", "unknown", "is neither the name nor the `iss` of an issuer");
        }
        store_refusal(&error)
    })?;
    // Whose tokens they are is about a person, and a record's object is not among the personal fields.
    let object = format!("token-denial:{}", written.item.id);
    Ok(Reply::ok(&Changed::<TokenDenial>::from(written)).about(object))
}

/// `GET /v1/tokens/denied`: newest first.
pub(crate) async fn denied(State(state): State<ControlState>, _: Permit, uri: Uri) -> Result<Reply, Refusal> {
    let mut query = Query::of(&uri);
    let page = page_request(&mut query);
    let issuer = query.text("issuer");
    query.finish()?;
    let denials = read!(state, |reader| store::denial::list(reader, issuer.as_deref(), &page))?;
    Ok(Reply::page(&denials.map(TokenDenial::from)))
}

/// Tokens that are refused.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TokenDenial {
    #[schema(value_type = form::Uuid)]
    id: Uuid,
    /// `iss`.
    issuer: String,
    /// `jti`, when it is one token.
    token: Option<String>,
    /// `sub`, when it is every token about somebody.
    subject: Option<String>,
    /// Tokens issued later are good again.
    #[schema(value_type = Option<form::Instant>)]
    issued_until: Option<String>,
    #[schema(value_type = form::Instant)]
    expires_at: String,
    #[schema(value_type = form::Instant)]
    created_at: String,
    created_by: String,
}

impl From<DenialInfo> for TokenDenial {
    fn from(denial: DenialInfo) -> Self {
        let DenialInfo { id, row: DenialRow { issuer, which, expires_at }, created_at, created_by } = denial;
        let (token, subject, issued_until) = match which {
            Denied::Token { id } => (Some(id), None, None),
            Denied::Subject { subject, issued_until } => (None, Some(subject), Some(instant(issued_until))),
        };
        Self { id, issuer, token, subject, issued_until, expires_at: instant(expires_at), created_at: instant(created_at), created_by }
    }
}

/// How [`deny`] is described.
pub(crate) fn deny_doc() -> Doc {
    Doc::new("denyTokens", "Refuses tokens of an issuer on every node")
        .about("Either one token or, by `subject`, every token about somebody. Doing it again refuses what is more of the two.")
        .body::<DenyTokens>()
        .answers::<Changed<TokenDenial>>(200, "Nodes that have reached the revision refuse them.")
}

/// How [`denied`] is described.
pub(crate) fn denied_doc() -> Doc {
    Doc::new("listDeniedTokens", "Lists which tokens are refused, newest first")
        .query_text("issuer", "Only of this one, by `iss`.")
        .pages::<TokenDenial>("A page.")
}
