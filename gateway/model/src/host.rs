//! Host names as requests carry them and as documents name them.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A host name without port, in lower case, as it is looked up: `api.example.com`, `127.0.0.1`, `::1`.
///
/// The same normal form is used for documents and requests (RFC 9110 section 4.2.3, RFC 3986 section 3.2.2).
pub fn normalize(authority: &str) -> Option<Host<'_>> {
    let name = if let Some(rest) = authority.strip_prefix('[') {
        let (name, port) = rest.split_once(']')?;
        if !(port.is_empty() || port.strip_prefix(':').is_some_and(is_port)) {
            return None;
        }
        name
    } else {
        match authority.split_once(':') {
            Some((name, port)) if is_port(port) => name,
            Some(_) => return None,
            None => authority,
        }
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    let valid =
        !name.is_empty() && name.len() <= 253 && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b':' | b'_'));
    if !valid {
        return None;
    }
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Some(Host(std::borrow::Cow::Owned(name.to_ascii_lowercase())))
    } else {
        Some(Host(std::borrow::Cow::Borrowed(name)))
    }
}

fn is_port(text: &str) -> bool {
    text.len() <= 5 && text.parse::<u16>().is_ok() || text.is_empty()
}

/// A normalized host name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host<'a>(std::borrow::Cow<'a, str>);

impl Host<'_> {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A host pattern of a document: a name, or `*.` and a name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostPattern {
    wildcard: bool,
    name: Box<str>,
}

impl HostPattern {
    /// Reads the text form.
    pub fn parse(text: &str) -> Option<Self> {
        let (wildcard, name) = match text.strip_prefix("*.") {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let bracketed = if name.contains(':') { format!("[{name}]") } else { name.to_owned() };
        normalize(&bracketed).map(|host| Self { wildcard, name: host.as_str().into() })
    }

    /// True for `*.example.com`, which covers every name below `example.com`, but not itself.
    pub const fn is_wildcard(&self) -> bool {
        self.wildcard
    }

    /// The name without the wildcard.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", if self.wildcard { "*." } else { "" }, self.name)
    }
}

impl Serialize for HostPattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for HostPattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| de::Error::custom(format!("`{text}` is not a host name; write a name without port, or `*.` and a name")))
    }
}
