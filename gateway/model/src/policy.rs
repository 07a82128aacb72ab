//! What a route promises, as an operator writes it: how fresh its knowledge is, which replica answers, what is recorded first.

use std::fmt;

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{
        MapAccess, Visitor,
        value::{MapAccessDeserializer, StrDeserializer},
    },
};

use crate::duration::Span;

/// What may be served from which knowledge: a preset, or both parts.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum ConsistencyDoc {
    /// `finance`, `health` or `social`.
    Preset(PresetDoc),
    /// In full.
    Full(ConsistencyFullDoc),
}

/// By hand, because a derived one says of every slip only that no variant matched.
impl<'de> Deserialize<'de> for ConsistencyDoc {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;

        impl<'de> Visitor<'de> for Either {
            type Value = ConsistencyDoc;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`finance`, `health`, `social`, or a policy with `keys` and `reads`")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<ConsistencyDoc, E> {
                PresetDoc::deserialize(StrDeserializer::new(text)).map(ConsistencyDoc::Preset)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<ConsistencyDoc, A::Error> {
                ConsistencyFullDoc::deserialize(MapAccessDeserializer::new(map)).map(ConsistencyDoc::Full)
            }
        }

        deserializer.deserialize_any(Either)
    }
}

impl Default for ConsistencyDoc {
    fn default() -> Self {
        Self::Full(ConsistencyFullDoc::default())
    }
}

/// Three common choices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PresetDoc {
    /// Keys at most 2 s old or deny; strong reads.
    Finance,
    /// Keys at most 10 s old or deny; bounded reads or refuse.
    Health,
    /// Keys at most 300 s old, then allow; read your writes, or stale.
    Social,
}

/// Both parts of a consistency policy.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConsistencyFullDoc {
    /// How old the knowledge about keys may be.
    #[serde(default)]
    pub keys: KeysDoc,
    /// Which replica may answer a read.
    #[serde(default)]
    pub reads: ReadsDoc,
    /// Sends reads to the writer region too, for services whose GET writes.
    #[serde(default)]
    pub get_writes: bool,
}

/// How old the knowledge about keys may be.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KeysDoc {
    /// The bound.
    pub max_staleness: Span,
    /// What happens past it.
    pub on_stale: OnStaleDoc,
}

impl Default for KeysDoc {
    fn default() -> Self {
        Self { max_staleness: Span(std::time::Duration::from_mins(5)), on_stale: OnStaleDoc::Deny }
    }
}

/// What happens when keys cannot be confirmed within the bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnStaleDoc {
    /// 503 until they can.
    Deny,
    /// Known keys are served.
    Allow,
    /// Known keys may read.
    AllowReads,
}

/// Which replica may answer a read.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ReadsDoc {
    /// The promise.
    pub mode: ReadModeDoc,
    /// For `bounded`: how old an answer may be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<Span>,
    /// How long to wait for a replica that is behind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wait: Option<Span>,
    /// What happens when waiting did not help.
    #[serde(rename = "else", skip_serializing_if = "Option::is_none")]
    pub otherwise: Option<ElseDoc>,
    /// For `read_your_writes`: browsers keep the token in a cookie.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub cookie: bool,
}

impl Default for ReadsDoc {
    fn default() -> Self {
        Self { mode: ReadModeDoc::Eventual, max: None, wait: None, otherwise: None, cookie: false }
    }
}

/// What a read is promised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReadModeDoc {
    /// The writer region answers.
    Strong,
    /// A replica at most `max` behind answers.
    Bounded,
    /// A replica that has the caller's own writes answers.
    ReadYourWrites,
    /// Any replica answers.
    Eventual,
}

/// What happens when no replica may answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ElseDoc {
    /// The writer region answers.
    Primary,
    /// The read is refused.
    Refuse,
    /// A replica that is behind answers, and says so.
    Stale,
}

/// What must be on disk before a response is released.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuditDoc {
    /// Nothing: the record is queued.
    Buffered,
    /// The record of the outcome.
    #[default]
    Durable,
    /// A record of the intent before the service is called, and the record of the outcome.
    Strict,
    /// Comes later; refused until then.
    Replicated,
}
