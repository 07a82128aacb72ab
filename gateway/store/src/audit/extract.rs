//! What search needs from an event's bytes. The bytes are what counts; these columns prove nothing.

#[cfg(test)]
mod tests;

use std::borrow::Cow;

use model::time::UtcMicros;
use serde::Deserialize;
use uuid::Uuid;

use super::scan::{Value, scan};

/// Longest text in a search column, bytes: an index entry may have 2,704, and a lying node must not stop the loader.
const TEXT_MAX: usize = 512;

/// The last instant that is taken for one: the end of the year 9999.
const TIME_MAX_US: i64 = 253_402_300_799_999_999;

/// The fields of an event that have a column.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Fields<'a> {
    time_us: Option<i64>,
    event_id: Option<Uuid>,
    status: Option<i64>,
    duration_us: Option<i64>,
    request_bytes: Option<i64>,
    response_bytes: Option<i64>,
    #[serde(borrow)]
    auth_method: Option<Cow<'a, str>>,
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

/// The text columns, in the order of the COPY statement: before `salt, event`, after it, and after `status`. [`text_column`] finds them.
const TEXTS: [&str; 15] = [
    "phase",
    "class",
    "tenant",
    "consumer",
    "application",
    "key_id",
    "route",
    "method",
    "decision",
    "outcome",
    "reason",
    "request_id",
    "region",
    "actor",
    "action",
];
const KIND: usize = 2;
const WHO: usize = 8;
const REGION: usize = 12;

/// What is counted of an event, and has no column.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Facts<'e> {
    pub(super) auth_method: Option<&'e str>,
    pub(super) duration_us: Option<i64>,
    pub(super) request_bytes: Option<i64>,
    pub(super) response_bytes: Option<i64>,
}

/// What goes into the columns of one event.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Columns<'e> {
    /// When it happened; `None` when it does not say so believably.
    pub(super) at: Option<UtcMicros>,
    pub(super) event_id: Option<Uuid>,
    pub(super) status: Option<i16>,
    pub(super) facts: Facts<'e>,
    texts: [Option<&'e str>; TEXTS.len()],
}

impl<'e> Columns<'e> {
    /// `phase` and `class`.
    pub(super) fn kind(&self) -> &[Option<&'e str>] {
        self.texts.get(..KIND).unwrap_or_default()
    }

    /// What was decided.
    pub(super) fn decision(&self) -> Option<&'e str> {
        self.texts.get(WHO).copied().flatten()
    }

    /// Which region served.
    pub(super) fn region(&self) -> Option<&'e str> {
        self.texts.get(REGION).copied().flatten()
    }

    /// From `tenant` to `method`.
    pub(super) fn who(&self) -> &[Option<&'e str>] {
        self.texts.get(KIND..WHO).unwrap_or_default()
    }

    /// From `decision` on.
    pub(super) fn what(&self) -> &[Option<&'e str>] {
        self.texts.get(WHO..).unwrap_or_default()
    }

    /// Takes a member that was scanned; `None` when its value is not of the kind that it should be.
    pub(super) fn take(&mut self, key: &str, value: Value<'e>) -> Option<()> {
        let place = match (key, value) {
            ("time_us", Value::Integer(at)) => {
                self.at = instant(at);
                return Some(());
            }
            ("status", Value::Integer(status)) => {
                self.status = i16::try_from(status).ok();
                return Some(());
            }
            ("event_id", Value::Text(id)) => {
                self.event_id = Some(Uuid::try_parse(id).ok()?);
                return Some(());
            }
            ("auth_method", Value::Text(method)) => {
                self.facts.auth_method = Some(cut(method));
                return Some(());
            }
            ("duration_us", Value::Integer(duration)) => {
                self.facts.duration_us = believable(duration);
                return Some(());
            }
            ("request_bytes", Value::Integer(bytes)) => {
                self.facts.request_bytes = believable(bytes);
                return Some(());
            }
            ("response_bytes", Value::Integer(bytes)) => {
                self.facts.response_bytes = believable(bytes);
                return Some(());
            }
            ("time_us" | "status" | "event_id" | "auth_method" | "duration_us" | "request_bytes" | "response_bytes", _) => return None,
            _ => text_column(key).and_then(|index| self.texts.get_mut(index)),
        };
        match (place, value) {
            (None, _) => Some(()),
            (Some(place), Value::Text(text)) => {
                *place = Some(cut(text));
                Some(())
            }
            (Some(_), Value::Integer(_) | Value::Object) => None,
        }
    }
}

/// The place of a text column in [`TEXTS`]. Byte strings, because the compiler turns those into a tree of lengths and bytes.
const fn text_column(key: &str) -> Option<usize> {
    Some(match key.as_bytes() {
        b"phase" => 0,
        b"class" => 1,
        b"tenant" => 2,
        b"consumer" => 3,
        b"application" => 4,
        b"key_id" => 5,
        b"route" => 6,
        b"method" => 7,
        b"decision" => 8,
        b"outcome" => 9,
        b"reason" => 10,
        b"request_id" => 11,
        b"region" => 12,
        b"actor" => 13,
        b"action" => 14,
        _ => return None,
    })
}

/// An event's columns: scanned, or parsed in full.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "nearly all are scanned; a box for each would cost more than the few that are not")]
pub(super) enum Extract<'e> {
    Scanned(Columns<'e>),
    Parsed(Box<Fields<'e>>),
}

impl<'e> Extract<'e> {
    /// Bytes that are no such event give no columns at all.
    pub(super) fn of(event: &'e [u8]) -> Self {
        scan(event).map_or_else(|| Self::Parsed(Box::new(Fields::read(event))), Self::Scanned)
    }

    /// When it happened; `None` when it does not say so believably.
    pub(super) fn at(&self) -> Option<UtcMicros> {
        match self {
            Self::Scanned(columns) => columns.at,
            Self::Parsed(fields) => fields.time_us.and_then(instant),
        }
    }

    pub(super) fn columns(&self) -> Columns<'_> {
        match self {
            Self::Scanned(columns) => *columns,
            Self::Parsed(fields) => fields.columns(),
        }
    }
}

impl<'a> Fields<'a> {
    /// Reads what can be read; bytes that are no such event give no fields at all.
    fn read(event: &'a [u8]) -> Self {
        serde_json::from_slice(event).unwrap_or_default()
    }

    fn columns(&self) -> Columns<'_> {
        let texts = [
            &self.phase,
            &self.class,
            &self.tenant,
            &self.consumer,
            &self.application,
            &self.key_id,
            &self.route,
            &self.method,
            &self.decision,
            &self.outcome,
            &self.reason,
            &self.request_id,
            &self.region,
            &self.actor,
            &self.action,
        ];
        Columns {
            at: self.time_us.and_then(instant),
            event_id: self.event_id,
            status: self.status.and_then(|status| i16::try_from(status).ok()),
            facts: Facts {
                auth_method: self.auth_method.as_deref().map(cut),
                duration_us: self.duration_us.and_then(believable),
                request_bytes: self.request_bytes.and_then(believable),
                response_bytes: self.response_bytes.and_then(believable),
            },
            texts: texts.map(|text| text.as_deref().map(cut)),
        }
    }
}

/// A number that can be summed: a node that lies must not stop the loader. 2^40 microseconds are twelve days, as many bytes a TiB.
fn believable(value: i64) -> Option<i64> {
    (0..=1 << 40).contains(&value).then_some(value)
}

fn instant(at: i64) -> Option<UtcMicros> {
    Some(at).filter(|at| (0..=TIME_MAX_US).contains(at)).map(UtcMicros)
}

/// What a column can hold of a text: the database has no U+0000, and the rest of a long one is in the bytes.
fn cut(text: &str) -> &str {
    // Nearly all are short and have no NUL, which the database does not take in a text.
    let end = memchr::memchr(0, text.as_bytes()).unwrap_or(text.len());
    text.get(..text.floor_char_boundary(end.min(TEXT_MAX))).unwrap_or_default()
}
