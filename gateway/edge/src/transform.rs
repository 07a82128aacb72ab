//! Changes of messages that a route asks for: header fields in both directions, the path and the host that a service sees.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName, HeaderValue, header, uri::PathAndQuery};
use model::{
    problem::{Denial, ProblemKind},
    structure::{
        Route,
        filter::{FieldPart, FieldRules, FieldText, UpstreamHost, Variable},
    },
};

use crate::{authenticate::Principal, head::Head};

/// What a field's value may speak of.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'f> {
    /// The route.
    pub route: &'f Route,
    /// Who calls.
    pub principal: Option<&'f Principal>,
    /// The id in `X-Request-Id`.
    pub request_id: &'f str,
    /// This node's region.
    pub region: &'f str,
    /// Where the request came from.
    pub client_address: IpAddr,
    /// The host name that was asked for.
    pub host: &'f str,
}

/// Rules with the values of one message.
#[derive(Debug, Default)]
pub struct Changes {
    remove: Vec<HeaderName>,
    set: Vec<(HeaderName, HeaderValue)>,
    add: Vec<(HeaderName, HeaderValue)>,
}

impl Changes {
    /// Fills the variables in. A value that cannot be made is left out, and its field goes: what the other side sent must not
    /// stand where the rule's value was meant to.
    pub fn new(rules: &FieldRules, facts: &Facts<'_>) -> Self {
        let mut changes = Self { remove: rules.remove.to_vec(), set: Vec::with_capacity(rules.set.len()), add: Vec::with_capacity(rules.add.len()) };
        for (name, text) in &rules.set {
            match value(text, facts) {
                Some(value) => changes.set.push((name.clone(), value)),
                None => changes.remove.push(name.clone()),
            }
        }
        changes.add.extend(rules.add.iter().filter_map(|(name, text)| Some((name.clone(), value(text, facts)?))));
        changes
    }

    /// Makes the changes.
    pub fn apply(self, headers: &mut HeaderMap) {
        for name in self.remove {
            headers.remove(name);
        }
        for (name, value) in self.set {
            headers.insert(name, value);
        }
        for (name, value) in self.add {
            headers.append(name, value);
        }
    }
}

fn value(text: &FieldText, facts: &Facts<'_>) -> Option<HeaderValue> {
    let parts = match text {
        FieldText::Fixed(value) => return Some(value.clone()),
        FieldText::Parts(parts) => parts,
    };
    let mut out = String::with_capacity(64);
    for part in parts {
        match part {
            FieldPart::Text(text) => out.push_str(text),
            FieldPart::Variable(variable) => push(&mut out, *variable, facts)?,
        }
    }
    // Field values are ASCII to most services; a name that is not would be read differently by each.
    HeaderValue::from_str(&out).ok().filter(|_| out.is_ascii())
}

fn push(out: &mut String, variable: Variable, facts: &Facts<'_>) -> Option<()> {
    match variable {
        Variable::RequestId => out.push_str(facts.request_id),
        Variable::Consumer => out.push_str(&facts.principal?.consumer.name),
        Variable::Application => out.push_str(&facts.principal?.application.name),
        Variable::KeyId => out.push_str(facts.principal?.key()?.id.as_str()),
        Variable::Subject => out.push_str(facts.principal?.subject()?),
        Variable::Issuer => out.push_str(facts.principal?.issuer()?),
        Variable::Tenant => out.push_str(&facts.route.tenant),
        Variable::Route => out.push_str(&facts.route.name),
        Variable::Region => out.push_str(facts.region),
        Variable::ClientAddress => out.push_str(&facts.client_address.to_string()),
        Variable::Host => out.push_str(facts.host),
    }
    Some(())
}

/// The path and query that the service gets, before the target's own base path.
///
/// # Errors
/// `internal`, when the rewritten path is no path: compiling a route rules that out.
pub fn path_and_query(route: &Route, head: &Head) -> Result<PathAndQuery, Denial> {
    let path = head.path();
    let internal = |_| Denial::new(ProblemKind::Internal, "the rewritten path is not valid");
    let Some(rewrite) = &route.rewrite else {
        // The usual request: what came is what goes, unless it was made normal.
        if path == head.parts.uri.path()
            && let Some(whole) = head.parts.uri.path_and_query()
        {
            return Ok(whole.clone());
        }
        return join("", path, head.query()).try_into().map_err(internal);
    };
    join("", &rewrite.apply(path), head.query()).try_into().map_err(internal)
}

/// A path with a prefix and a query.
pub fn join(prefix: &str, path: &str, query: Option<&str>) -> String {
    let (mark, query) = query.map_or(("", ""), |query| ("?", query));
    format!("{prefix}{path}{mark}{query}")
}

/// The `Host` field for the service; `None` when each target's own name stands there.
///
/// Preserved means as the client wrote it, with its port: services make absolute URLs of it.
pub fn upstream_host(route: &Route, head: &Head) -> Option<HeaderValue> {
    match &route.upstream_host {
        UpstreamHost::Target => None,
        UpstreamHost::Name(name) => Some(name.clone()),
        UpstreamHost::Preserve => client_authority(head),
    }
}

/// Host and port as the client wrote them.
pub fn client_authority(head: &Head) -> Option<HeaderValue> {
    let authority = head.parts.uri.authority().and_then(|authority| HeaderValue::from_str(authority.as_str()).ok());
    authority.or_else(|| head.parts.headers.get(header::HOST).cloned())
}
