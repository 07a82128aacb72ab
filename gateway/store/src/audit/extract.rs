//! What search needs from an event's bytes. The bytes are what counts; these columns prove nothing.

use std::borrow::Cow;

use model::time::UtcMicros;
use serde::Deserialize;
use uuid::Uuid;

/// Longest text in a search column, bytes: an index entry may have 2,704, and a lying node must not stop the loader.
const TEXT_MAX: usize = 512;

/// The last instant that is taken for one: the end of the year 9999.
const TIME_MAX_US: i64 = 253_402_300_799_999_999;

/// The fields of an event that have a column.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Fields<'a> {
    time_us: Option<i64>,
    pub(super) event_id: Option<Uuid>,
    status: Option<i64>,
    #[serde(borrow)]
    phase: Option<Cow<'a, str>>,
    #[serde(borrow)]
    class: Option<Cow<'a, str>>,
    #[serde(borrow)]
    tenant: Option<Cow<'a, str>>,
    #[serde(borrow)]
    consumer: Option<Cow<'a, str>>,
    #[serde(borrow)]
    application: Option<Cow<'a, str>>,
    #[serde(borrow)]
    key_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    route: Option<Cow<'a, str>>,
    #[serde(borrow)]
    method: Option<Cow<'a, str>>,
    #[serde(borrow)]
    decision: Option<Cow<'a, str>>,
    #[serde(borrow)]
    outcome: Option<Cow<'a, str>>,
    #[serde(borrow)]
    reason: Option<Cow<'a, str>>,
    #[serde(borrow)]
    request_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    region: Option<Cow<'a, str>>,
    #[serde(borrow)]
    actor: Option<Cow<'a, str>>,
    #[serde(borrow)]
    action: Option<Cow<'a, str>>,
}

/// Text columns in two groups, in the order of the COPY statement: before and after `salt, event`, and after `status`.
#[derive(Debug)]
pub(super) struct Texts<'f> {
    pub(super) kind: [Option<&'f str>; 2],
    pub(super) who: [Option<&'f str>; 6],
    pub(super) what: [Option<&'f str>; 7],
}

impl<'a> Fields<'a> {
    /// Reads what can be read; bytes that are no such event give no fields at all.
    pub(super) fn read(event: &'a [u8]) -> Self {
        serde_json::from_slice(event).unwrap_or_default()
    }

    /// When it happened; `None` when it does not say so believably.
    pub(super) fn at(&self) -> Option<UtcMicros> {
        self.time_us.filter(|at| (0..=TIME_MAX_US).contains(at)).map(UtcMicros)
    }

    pub(super) fn status(&self) -> Option<i16> {
        self.status.and_then(|status| i16::try_from(status).ok())
    }

    pub(super) fn texts(&self) -> Texts<'_> {
        Texts {
            kind: [column(self.phase.as_ref()), column(self.class.as_ref())],
            who: [
                column(self.tenant.as_ref()),
                column(self.consumer.as_ref()),
                column(self.application.as_ref()),
                column(self.key_id.as_ref()),
                column(self.route.as_ref()),
                column(self.method.as_ref()),
            ],
            what: [
                column(self.decision.as_ref()),
                column(self.outcome.as_ref()),
                column(self.reason.as_ref()),
                column(self.request_id.as_ref()),
                column(self.region.as_ref()),
                column(self.actor.as_ref()),
                column(self.action.as_ref()),
            ],
        }
    }
}

/// A text that a column can hold: the database has no U+0000, and the rest of a long one is in the bytes.
fn column<'f>(text: Option<&'f Cow<'_, str>>) -> Option<&'f str> {
    let text: &str = text?;
    let text = text.split('\0').next().unwrap_or_default();
    text.get(..text.floor_char_boundary(TEXT_MAX))
}
