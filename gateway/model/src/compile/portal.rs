//! Checks the developer portal: it compiles to nothing that a node serves, and the control plane takes it as it is written.

use super::{Errors, route::is_scope};
use crate::{document::Document, portal::PortalDoc};

/// Longest title, in characters: it stands on one line of a phone.
const TITLE_CHARS_MAX: usize = 60;

pub(super) fn check(document: &Document, errors: &mut Errors) {
    let mut owner: Option<&str> = None;
    for (index, tenant) in document.tenants.iter().enumerate() {
        let Some(portal) = &tenant.portal else { continue };
        let at = format!("tenants[{index}].portal");
        match owner {
            Some(owner) => errors.add(&at, format!("tenant `{owner}` has the portal already, and there is one at most")),
            None => owner = Some(&tenant.name),
        }
        fields(document, portal, &at, errors);
    }
}

fn fields(document: &Document, portal: &PortalDoc, at: &str, errors: &mut Errors) {
    if let Some(plan) = &portal.plan
        && !document.plans.iter().any(|known| known.name == *plan)
    {
        errors.unknown(format!("{at}.plan"), "plan", plan, document.plans.iter().map(|known| known.name.as_str()));
    }
    for (position, scope) in portal.scopes.iter().enumerate() {
        let at = format!("{at}.scopes[{position}]");
        if !is_scope(scope) {
            errors.add(at, format!("`{scope}` is not a scope (RFC 6749 section 3.3)"));
        } else if portal.scopes.iter().take(position).any(|earlier| earlier == scope) {
            errors.add(at, format!("the scope `{scope}` stands there twice"));
        }
    }
    for (position, api) in portal.apis.iter().flatten().enumerate() {
        let at = format!("{at}.apis[{position}]");
        if !document.apis.iter().any(|known| known.name == *api) {
            errors.unknown(at, "API", api, document.apis.iter().map(|known| known.name.as_str()));
        } else if portal.apis.iter().flatten().take(position).any(|earlier| earlier == api) {
            errors.add(at, format!("the API `{api}` stands there twice"));
        }
    }
    if let Some(title) = &portal.title
        && !is_title(title)
    {
        errors.add(
            format!("{at}.title"),
            format!("a title has 1 to {TITLE_CHARS_MAX} characters, one of them visible, and no control characters; leave it out for none"),
        );
    }
}

fn is_title(text: &str) -> bool {
    !text.trim().is_empty() && text.chars().count() <= TITLE_CHARS_MAX && !text.chars().any(char::is_control)
}

#[cfg(test)]
mod tests;
