//! Purges of stored responses: what a tag is, and what one purge names.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The longest tag, in bytes.
pub const TAG_BYTES_MAX: usize = 128;
/// The most tags of one response: what can name it takes under 2 KiB of the cache.
pub const TAGS_MAX: usize = 64;
/// The most tags of one purge, so that its row stays under 4 KiB.
pub const PURGE_TAGS_MAX: usize = 16;

/// A tag: 1 to 128 visible ASCII characters without a comma, compared byte by byte.
///
/// One rule for both ends: what a service could not have said cannot be purged, and what is stored under a tag can.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Tag(Box<str>);

/// A text that is no tag. It does not repeat the text, which may be anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a tag has 1 to 128 visible ASCII characters and no comma")]
pub struct NoTag;

impl Tag {
    /// Reads a tag.
    ///
    /// # Errors
    /// [`NoTag`].
    pub fn parse(text: &str) -> Result<Self, NoTag> {
        let is_plain = text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b',');
        if text.is_empty() || text.len() > TAG_BYTES_MAX || !is_plain {
            return Err(NoTag);
        }
        Ok(Self(text.into()))
    }

    /// The tag.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Tag {
    type Error = NoTag;

    fn try_from(text: String) -> Result<Self, NoTag> {
        Self::parse(&text)
    }
}

impl From<Tag> for String {
    fn from(tag: Tag) -> Self {
        tag.0.into()
    }
}

/// One purge: every stored response that all of its members name. With several tags, each of them names.
///
/// One without any member names everything. The admin API does not make it; a node falls back to it when it cannot read one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Purge {
    /// Only of this tenant's routes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<Box<str>>,
    /// Only of this route.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<Box<str>>,
    /// Only with one of these tags; all when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<Tag>,
}

impl Purge {
    /// True when it names every stored response.
    pub fn is_everything(&self) -> bool {
        self.tenant.is_none() && self.route.is_none() && self.tags.is_empty()
    }
}

/// As records and the change log name it: `tenant=a route=b tag=c tag=d`.
impl fmt::Display for Purge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let places = [("tenant", &self.tenant), ("route", &self.route)];
        let places = places.into_iter().filter_map(|(member, name)| name.as_deref().map(|name| (member, name)));
        let mut gap = "";
        for (member, name) in places.chain(self.tags.iter().map(|tag| ("tag", tag.as_str()))) {
            write!(f, "{gap}{member}={name}")?;
            gap = " ";
        }
        if self.is_everything() { f.write_str("everything") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests;
