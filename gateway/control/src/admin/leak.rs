//! Leaked keys: reported by operators, and by secret scanners that sign their reports. A key is revoked only when the whole secret was
//! shown: whoever knows an id, which is public, can make a text with the right checksum.

use axum::{
    body::Bytes,
    extract::{Path, Request, State},
    response::{IntoResponse, Response},
};
use http::HeaderMap;
use model::{
    authority::Key,
    change::KeyState,
    key::{KeyId, Presented, fingerprint_plain},
    leak::Reporter,
    problem::{Denial, ProblemKind},
};
use serde::{Deserialize, Serialize};
use store::{
    actor::{Actor, ActorKind},
    error::StoreError,
    key::RevokedReason,
    pool::Primary,
};
use utoipa::{ToSchema, openapi::Required};
use validator::{Validate, ValidationError};

use crate::{
    admin::{Reply, store_refusal},
    body::{self, JsonBody},
    context::Context,
    guard::{self, Permit},
    openapi::{form, operation::Doc},
    refusal::Refusal,
    state::ControlState,
};

/// Keys in one report of an operator.
const TEXTS_MAX: usize = 200;
/// The largest report of a scanner, in bytes: some thousand findings with long URLs. How many they are does not matter: a real key among
/// made-up ones must end.
const REPORT_BYTES_MAX: usize = 1 << 20;
/// How long a report is worked on: scanners wait for 30 s.
const WORK_NANOS: u64 = 20_000_000_000;
/// What the act is called in the access log.
const ACTION: &str = "key.leak";

pub(crate) const KEY_ID: &str = "github-public-key-identifier";
pub(crate) const SIGNATURE: &str = "github-public-key-signature";

/// What an operator reports.
#[derive(Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Leaked {
    /// Whole keys, as they were found.
    #[validate(custom(function = few))]
    #[schema(min_items = 1, max_items = 200)]
    keys: Vec<String>,
}

fn few(keys: &[String]) -> Result<(), ValidationError> {
    if (1..=TEXTS_MAX).contains(&keys.len()) { Ok(()) } else { Err(ValidationError::new("length").with_message("must be 1 to 200 keys".into())) }
}

/// One entry of a scanner's report; members that are not needed are passed over.
#[derive(Deserialize, ToSchema)]
#[schema(as = LeakedToken)]
pub(crate) struct Entry {
    token: String,
    #[serde(default, rename = "type")]
    kind: String,
}

/// What became of reported keys.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FoundKeys {
    /// In the order of the report.
    items: Vec<Found>,
}

/// What became of a reported key.
#[derive(Debug, Serialize, ToSchema)]
struct Found {
    /// Null when it is none of ours.
    #[schema(value_type = Option<form::KeyId>)]
    id: Option<KeyId>,
    #[schema(value_type = form::LeakOutcome)]
    outcome: &'static str,
}

/// What a scanner is told of a finding.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = LeakLabel)]
pub(crate) struct Answer {
    /// SHA-256 of the token in hexadecimal digits.
    token_hash: String,
    /// As the report has it.
    token_type: String,
    #[schema(value_type = form::LeakVerdict)]
    label: &'static str,
}

/// How [`by_operator`] is described.
pub(crate) fn by_operator_doc() -> Doc {
    Doc::new("reportLeakedKeys", "Revokes leaked keys").body::<Leaked>().answers::<FoundKeys>(200, "What became of each.")
}

/// How [`by_reporter`] is described.
pub(crate) fn by_reporter_doc() -> Doc {
    Doc::new("reportLeaks", "Takes a secret scanner's report of leaked keys")
        .about("As GitHub's secret scanning sends it. Reporters stand in the node file; no other exists.")
        .path_text("reporter", "Who reports.")
        .sends_list::<Entry>(Required::True)
        .answers_list::<Answer>(200, "Which of the findings were keys of ours.")
}

/// What became of a reported text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Finding {
    Revoked(KeyId),
    /// It is a key of ours, and cannot be used any more.
    Dead(KeyId),
    /// It is none of ours.
    Foreign,
}

impl Finding {
    const fn word(self) -> &'static str {
        match self {
            Self::Revoked(_) => "revoked",
            Self::Dead(_) => "dead",
            Self::Foreign => "foreign",
        }
    }

    const fn id(self) -> Option<KeyId> {
        match self {
            Self::Revoked(id) | Self::Dead(id) => Some(id),
            Self::Foreign => None,
        }
    }
}

/// `POST /v1/keys/leaked`: in the order of the report, what became of each key.
pub(crate) async fn by_operator(State(state): State<ControlState>, permit: Permit, JsonBody(body): JsonBody<Leaked>) -> Result<Reply, Refusal> {
    let primary = state.primary().map_err(|error| store_refusal(&error))?;
    let mut items = Vec::with_capacity(body.keys.len());
    let mut revoked = Vec::new();
    for text in &body.keys {
        let finding = settle(&state, &primary, text, &permit.actor()).await?;
        if let Finding::Revoked(id) = finding {
            revoked.push(id.to_string());
        }
        items.push(Found { id: finding.id(), outcome: finding.word() });
    }
    Ok(Reply::ok(&FoundKeys { items }).about(format!("key:{}", revoked.join(","))))
}

/// `POST /v1/leaks/{reporter}`: no operator, but a signature. A reporter that is not configured is no path at all.
pub(crate) async fn by_reporter(State(state): State<ControlState>, Path(name): Path<String>, request: Request) -> Response {
    let Some(reporter) = state.reporter(&name) else {
        return Refusal::from(Denial::new(ProblemKind::RouteNotFound, "the control plane has no such path")).into_response();
    };
    let Ok(_slot) = state.reports().try_acquire() else {
        return Refusal::from(Denial::new(ProblemKind::Overloaded, "too many requests are in work").retry_after(1)).into_response();
    };
    let Some(context) = request.extensions().get::<Context>().cloned() else { return Refusal::internal().into_response() };
    let headers = request.headers().clone();
    let bytes = match body::read(request, REPORT_BYTES_MAX).await {
        Ok(bytes) => bytes,
        Err(refusal) => return refusal.into_response(),
    };
    if !is_signed(reporter, &headers, &bytes) {
        tracing::warn!(reporter = reporter.name(), "a report of leaked keys has no valid signature");
        return Refusal::from(Denial::new(ProblemKind::CredentialsInvalid, "the report is not signed by a key of this reporter")).into_response();
    }
    let actor = Actor { kind: ActorKind::Reporter, name: reporter.name().to_owned() };
    let path = format!("/v1/leaks/{}", reporter.name());
    let work = report(&state, &bytes, &actor);
    Box::pin(guard::recorded(&state, &context, (ACTION, path), actor.to_string(), work)).await
}

fn is_signed(reporter: &Reporter, headers: &HeaderMap, body: &Bytes) -> bool {
    let field = |name: &str| {
        let mut values = headers.get_all(name).iter();
        values.next().filter(|_| values.next().is_none())?.to_str().ok()
    };
    field(KEY_ID).zip(field(SIGNATURE)).is_some_and(|(key_id, signature)| reporter.has_signed(key_id, signature, body))
}

/// Revokes what is genuine, and tells the scanner which of its findings were. One that cannot be looked at stops no other; then the
/// whole report is to be sent again, which does no harm.
async fn report(state: &ControlState, bytes: &Bytes, actor: &Actor) -> Result<Reply, Refusal> {
    let entries: Vec<Entry> = body::decode(bytes)?;
    let primary = state.primary().map_err(|error| store_refusal(&error))?;
    let started = state.now().boot;
    let mut labels = Vec::with_capacity(entries.len());
    let mut revoked = Vec::new();
    let mut failed = 0_usize;
    for entry in &entries {
        if state.now().boot.nanos_since(started) > WORK_NANOS {
            failed += 1;
            continue;
        }
        let Ok(finding) = settle(state, &primary, &entry.token, actor).await else {
            failed += 1;
            continue;
        };
        if let Finding::Revoked(id) = finding {
            tracing::warn!(key.id = %id, reporter = %actor, "a leaked key was reported and is revoked");
            revoked.push(id.to_string());
        }
        let label = if finding == Finding::Foreign { "false_positive" } else { "true_positive" };
        let hash = data_encoding::HEXLOWER.encode(&fingerprint_plain(entry.token.as_bytes()));
        labels.push(Answer { token_hash: hash, token_type: entry.kind.clone(), label });
    }
    let object = format!("key:{}", revoked.join(","));
    if failed > 0 {
        tracing::error!(failed, revoked = revoked.len(), "not every finding of a report could be looked at");
        let text = "not every finding could be looked at; send the report again";
        return Ok(Reply::refused(Denial::new(ProblemKind::DatabaseUnavailable, text).retry_after(5)).about(object));
    }
    Ok(Reply::ok(&labels).about(object))
}

/// Looks at one text, and revokes the key whose secret it is.
async fn settle(state: &ControlState, primary: &Primary, text: &str, actor: &Actor) -> Result<Finding, Refusal> {
    let Some(presented) = Presented::parse(text).filter(|presented| presented.purpose.is_api_key()) else { return Ok(Finding::Foreign) };
    let key = match store::key::secrets(primary, &presented.id).await {
        Ok(row) => Some(Key::from(row)),
        Err(StoreError::NotFound { .. }) => None,
        Err(error) => return Err(store_refusal(&error)),
    };
    let now = state.now().wall;
    let genuine = state.peppers().which(&presented, key.as_ref().map(|key| &key.secret), key.as_ref().and_then(|key| key.previous(now)));
    let (Some(key), Some(_)) = (key, genuine) else { return Ok(Finding::Foreign) };
    if key.environment.purpose() != presented.purpose {
        return Ok(Finding::Foreign);
    }
    if key.state == KeyState::Revoked {
        return Ok(Finding::Dead(presented.id));
    }
    store::key::revoke(primary, &presented.id, RevokedReason::Leaked, actor).await.map_err(|error| store_refusal(&error))?;
    Ok(Finding::Revoked(presented.id))
}
