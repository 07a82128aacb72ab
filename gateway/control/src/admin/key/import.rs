//! `/v1/keys/import`: keys that another system has issued, taken over by their hashes, with a report of what could not be.

pub(crate) mod entry;

use axum::extract::{Request, State};
use model::{change::Environment, key::KeyId, problem::ProblemKind};
use serde::{Deserialize, Serialize};
use store::key::import::{BATCH_MAX, ForeignKey, Import, Imported, Mode};
use utoipa::ToSchema;
use validator::Validate;

use self::entry::{Entry, Loss, Reading};
use super::{application, draw};
use crate::{
    admin::{AuthorityRevision, Reply, authority_revision, plain_name, store_refusal},
    body::{self, Object},
    guard::Permit,
    openapi::{form, operation::Doc},
    refusal::Refusal,
    state::ControlState,
};

/// The largest batch, in bytes: a thousand keys with some scopes each.
const BODY_BYTES_MAX: usize = 1 << 20;

/// Keys of another system.
#[derive(Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ImportKeys {
    /// The id or the name of the application that holds them.
    #[validate(length(min = 1, max = 80, message = "must be the id or the name of an application"))]
    #[schema(value_type = form::Reference)]
    application: String,
    /// A name for the system that has issued them. With it, the application and `source_id`, a key is found again.
    #[validate(custom(function = plain_name))]
    #[schema(value_type = form::Name)]
    from: String,
    /// For which traffic.
    #[serde(default)]
    #[schema(value_type = form::Traffic)]
    environment: Environment,
    /// Only say what would become of them.
    #[serde(default)]
    dry_run: bool,
    /// The keys.
    #[schema(min_items = 1, max_items = 1_000, value_type = Vec<Entry>)]
    keys: Vec<Object<Entry>>,
}

/// What became of the keys.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ImportReport {
    /// In the order of the request.
    items: Vec<ReportedKey>,
    /// How many were taken over.
    imported: usize,
    /// How many an earlier import has taken over.
    before: usize,
    /// How many were refused.
    refused: usize,
    /// Nothing was changed: the report says what would be.
    dry_run: bool,
    revision: AuthorityRevision,
}

/// What became of a key.
#[derive(Debug, Serialize, ToSchema)]
struct ReportedKey {
    /// As the request has it.
    source_id: String,
    #[schema(value_type = form::ImportOutcome)]
    outcome: Outcome,
    /// Its id here; null where it was refused, and in a dry run where it would be new.
    #[schema(value_type = Option<form::KeyId>)]
    id: Option<KeyId>,
    /// What was lost, or why it was refused.
    losses: Vec<ShownLoss>,
}

/// What became of a key, in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Outcome {
    /// It was taken over.
    Imported,
    /// An earlier import has taken it over, and nothing was changed.
    Before,
    /// It was not taken over.
    Refused,
}

/// A loss.
#[derive(Debug, Serialize, ToSchema)]
struct ShownLoss {
    #[schema(value_type = form::ImportLoss)]
    code: Loss,
    /// The same for people.
    message: &'static str,
}

impl From<Loss> for ShownLoss {
    fn from(code: Loss) -> Self {
        Self { code, message: code.message() }
    }
}

/// `POST /v1/keys/import`: one transaction. The same call again changes nothing.
pub(crate) async fn import(State(state): State<ControlState>, permit: Permit, request: Request) -> Result<Reply, Refusal> {
    body::expect_json(request.headers())?;
    let wish: ImportKeys = body::decode_object(&body::read(request, BODY_BYTES_MAX).await?)?;
    body::check(&wish)?;
    if !(1..=BATCH_MAX).contains(&wish.keys.len()) {
        return Err(Refusal::field("/keys", "length", "must be 1 to 1000 keys"));
    }
    let primary = state.primary().map_err(|error| store_refusal(&error))?;
    let application = application(&primary, Some(&wish.application)).await?;
    let now = state.now().wall;
    let readings = entry::read(&wish.keys, &application.scopes, now);
    let mut keys: Vec<(KeyId, ForeignKey)> = Vec::with_capacity(readings.len());
    for key in readings.iter().filter_map(|reading| reading.key.as_ref().ok()) {
        keys.push((draw(|state| KeyId::draw(&state.random32()), &state)?, key.clone()));
    }
    let mode = if wish.dry_run { Mode::DryRun } else { Mode::Commit };
    let batch = Import { application: application.id, system: &wish.from, environment: wish.environment, keys: &keys, mode };
    let written = store::key::import::import(&primary, batch, state.peppers(), &permit.actor()).await.map_err(|error| store_refusal(&error))?;
    let report = report(&wish, readings, &written.item, authority_revision(written.revisions));
    Ok(Reply::ok(&report).about(format!("application:{}", application.id)))
}

fn report(wish: &ImportKeys, readings: Vec<Reading>, outcomes: &[Imported], revision: AuthorityRevision) -> ImportReport {
    let mut outcomes = outcomes.iter().copied();
    let items: Vec<ReportedKey> =
        wish.keys.iter().zip(readings).map(|(Object(entry), reading)| reported(entry, reading, || outcomes.next(), wish.dry_run)).collect();
    let count = |outcome| items.iter().filter(|item| item.outcome == outcome).count();
    ImportReport {
        imported: count(Outcome::Imported),
        before: count(Outcome::Before),
        refused: count(Outcome::Refused),
        dry_run: wish.dry_run,
        revision,
        items,
    }
}

fn reported(entry: &Entry, reading: Reading, imported: impl FnOnce() -> Option<Imported>, is_dry: bool) -> ReportedKey {
    let Reading { key, mut losses } = reading;
    let (outcome, id) = match key {
        Err(why) => {
            losses = vec![why];
            (Outcome::Refused, None)
        }
        Ok(_) => match imported() {
            Some(Imported::Now(id)) => (Outcome::Imported, Some(id).filter(|_| !is_dry)),
            // What was lost then was told then; the key may have been changed since.
            Some(Imported::Before(id)) => {
                losses.clear();
                (Outcome::Before, Some(id))
            }
            Some(Imported::Differs(id)) => {
                losses = vec![Loss::HashDiffers];
                (Outcome::Before, Some(id))
            }
            Some(Imported::Crowded) => {
                losses = vec![Loss::PrefixCrowded];
                (Outcome::Refused, None)
            }
            Some(Imported::Taken) | None => {
                losses = vec![Loss::Duplicate];
                (Outcome::Refused, None)
            }
        },
    };
    ReportedKey { source_id: entry.source_id.clone(), outcome, id, losses: losses.into_iter().map(Into::into).collect() }
}

/// How [`import`] is described.
pub(crate) fn import_doc() -> Doc {
    Doc::new("importKeys", "Takes over keys that another system has issued")
        .about("By their hashes, SHA-256 or bcrypt, in one transaction. Routes with `imported_keys: accept` take them by the texts that the other system has issued. The same call again changes nothing.")
        .body::<ImportKeys>()
        .answers::<ImportReport>(200, "What became of each, and what was lost.")
        .refuses(ProblemKind::ResourceConflict)
}

#[cfg(test)]
mod tests;
