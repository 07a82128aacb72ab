//! Origins of web pages (RFC 6454 section 6.2, HTML standard "serialization of an origin"), and lists of them.

/// Whose pages may use a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origins {
    /// Everybody's.
    Any,
    /// These.
    Listed(Box<[OriginPattern]>),
}

impl Origins {
    /// True when a page of this origin may; `origin` is the value of the `Origin` field.
    pub fn allow(&self, origin: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Listed(patterns) => patterns.iter().any(|pattern| pattern.matches(origin)),
        }
    }
}

/// One origin, or all that differ in the first label of their host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OriginPattern {
    /// `https://`, or with a wildcard everything before the label.
    before: Box<str>,
    /// Everything after the label; `None` without a wildcard.
    after: Option<Box<str>>,
}

/// Why a text is no origin. The text is for the operator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OriginError {
    /// Sandboxed documents and files share it.
    #[error("`null` is the origin of every sandboxed page and local file, so it tells nothing about who asks")]
    Null,
    /// It has another form.
    #[error(
        "an origin is a scheme and a host in lower case, with a port unless it is the scheme's own: `https://app.example`, `https://*.example`, `http://localhost:3000`"
    )]
    Form,
    /// The port would never be sent.
    #[error("browsers leave the scheme's own port out, so this would never match; write it without the port")]
    DefaultPort,
    /// The wildcard stands for more than a label, or for part of one.
    #[error(
        "a wildcard stands for the first label of a host name with at least two more: `https://*.example.com`; with one, it would be a whole top-level domain"
    )]
    Wildcard,
}

impl OriginPattern {
    /// Reads `https://app.example`, `https://*.example.com`, `http://localhost:3000`.
    ///
    /// # Errors
    /// [`OriginError`].
    pub fn parse(text: &str) -> Result<Self, OriginError> {
        if text == "null" {
            return Err(OriginError::Null);
        }
        let (scheme, authority) = text.split_once("://").ok_or(OriginError::Form)?;
        let scheme_ok = scheme.starts_with(|c: char| c.is_ascii_lowercase())
            && scheme.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'+' | b'-' | b'.'));
        let (host, port) = split_port(authority);
        let port_ok = port.is_none_or(|port| !port.starts_with('0') && port.parse::<u16>().is_ok());
        if !scheme_ok || !port_ok {
            return Err(OriginError::Form);
        }
        if matches!((scheme, port), ("https", Some("443")) | ("http", Some("80"))) {
            return Err(OriginError::DefaultPort);
        }
        match host.strip_prefix("*.") {
            Some(base) if base.contains('*') || !base.contains('.') || base.parse::<std::net::Ipv4Addr>().is_ok() => Err(OriginError::Wildcard),
            Some(base) if is_host(base) => {
                let after = authority.strip_prefix('*').ok_or(OriginError::Form)?;
                Ok(Self { before: format!("{scheme}://").into(), after: Some(after.into()) })
            }
            None if host.contains('*') => Err(OriginError::Wildcard),
            None if is_host(host) => Ok(Self { before: text.into(), after: None }),
            _ => Err(OriginError::Form),
        }
    }

    /// True for an origin as browsers write it.
    pub fn matches(&self, origin: &str) -> bool {
        let Some(after) = &self.after else { return *origin == *self.before };
        let label = origin.strip_prefix(&*self.before).and_then(|rest| rest.strip_suffix(&**after));
        label.is_some_and(is_label)
    }
}

fn split_port(authority: &str) -> (&str, Option<&str>) {
    let bracket = authority.rfind(']').unwrap_or(0);
    match authority.rfind(':').filter(|at| *at > bracket || bracket == 0) {
        Some(at) => authority.split_at_checked(at).map_or((authority, None), |(host, port)| (host, port.get(1..))),
        None => (authority, None),
    }
}

fn is_host(host: &str) -> bool {
    if let Some(inner) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        return inner.parse::<std::net::Ipv6Addr>().is_ok_and(|address| address.to_string() == inner);
    }
    !host.is_empty() && host.len() <= 253 && host.split('.').all(is_label)
}

/// A label as browsers write it: names that are not ASCII come as `xn--…`.
fn is_label(label: &str) -> bool {
    (1..=63).contains(&label.len()) && label.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_'))
}

#[cfg(test)]
mod tests;
