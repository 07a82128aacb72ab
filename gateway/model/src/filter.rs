//! What a route does to messages on their way, as an operator writes it: CORS, header fields, compression, stored responses.
//!
//! Everything here is off unless it is written.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    document::OneOrMany,
    duration::{Bytes, Span},
};

/// Which pages of other origins may use a route (Fetch standard, section 3.2).
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CorsDoc {
    /// Origins: `https://app.example`, `https://*.example` (one label), or `*`.
    pub origins: OneOrMany<String>,
    /// Methods that a page may use; those of the route when absent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub methods: Vec<String>,
    /// Request fields that a page may set, or `*`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub headers: Option<OneOrMany<String>>,
    /// Response fields that a page may read, beyond those that every page may.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub expose: Vec<String>,
    /// Lets pages send cookies and client certificates; never together with `*`.
    #[serde(default)]
    pub credentials: bool,
    /// How long a browser may keep the answer to a preflight.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_age: Option<Span>,
}

/// Changes of header fields in both directions.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeadersDoc {
    /// Towards the service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<FieldsDoc>,
    /// Towards the client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response: Option<FieldsDoc>,
}

/// Changes of header fields in one direction: first `remove`, then `set`, then `add`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FieldsDoc {
    /// Fields that go.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remove: Vec<String>,
    /// Fields that have exactly this value.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub set: BTreeMap<String, String>,
    /// Values that come beside those that are there.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub add: BTreeMap<String, OneOrMany<String>>,
}

/// Compression of responses (RFC 9110 section 8.4).
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CompressionDoc {
    /// Media types: `application/json`, `text/*`; common text formats when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub types: Option<Vec<String>>,
    /// Codings, the preferred first; `zstd`, `br`, `gzip` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub codings: Option<Vec<CodingDoc>>,
    /// Responses that are known to be smaller stay as they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<Bytes>,
}

/// A content coding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CodingDoc {
    /// RFC 8878.
    Zstd,
    /// RFC 7932.
    Br,
    /// RFC 1952.
    Gzip,
}

impl CodingDoc {
    /// The name in `Content-Encoding`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Zstd => "zstd",
            Self::Br => "br",
            Self::Gzip => "gzip",
        }
    }
}

/// A shared cache for responses (RFC 9111).
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CacheDoc {
    /// One stored response for all consumers, instead of one for each.
    #[serde(default)]
    pub shared: bool,
    /// The largest body that is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object_max: Option<Bytes>,
    /// How long a stale response may be given while it is asked for again, where the response does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stale_while_revalidate: Option<Span>,
    /// How long a stale response may be given when the service fails, where the response does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stale_if_error: Option<Span>,
}
