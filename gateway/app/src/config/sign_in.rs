//! `control.sign_in`: how operators sign in to the pages beside their passwords.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use url::Url;

use super::SecretRef;

/// Ways to sign in.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignInConfig {
    /// By an `OpenID` provider.
    pub oidc: OidcConfig,
}

/// An `OpenID` provider.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OidcConfig {
    /// What the button says.
    pub name: String,
    /// `iss` of its tokens; its configuration lies below.
    pub issuer: String,
    /// What the provider calls this deployment.
    pub client_id: String,
    /// What shows the provider that it is this deployment, by reference.
    pub client_secret: SecretRef,
    /// Where people find the pages of this node: `https://host[:port]`. The provider sends them back there.
    pub origin: Url,
    /// The roots that its certificate is judged by; the system's when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
    /// Whether it may be at an address that is not public.
    #[serde(default)]
    pub private_addresses: bool,
    /// Which of its people may what.
    pub roles: RolesConfig,
}

/// Which people may what.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RolesConfig {
    /// The claim of ID tokens that says it: a text, or a list of texts.
    pub claim: String,
    /// The first whose value a person has counts; who has none is not let in.
    pub values: Vec<RoleConfig>,
}

/// A value, and the role that it stands for.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoleConfig {
    /// As the claim has it.
    pub value: String,
    /// `viewer`, `developer`, `approver`, `operator`, `security`, `auditor`, or `admin`.
    pub role: String,
}

impl OidcConfig {
    /// What can be said against it without asking the provider.
    pub(super) fn mistakes(&self, say: &mut impl FnMut(&str, String)) {
        let path = |name: &str| format!("control.sign_in.oidc.{name}");
        let is_plain = |url: &Url| url.scheme() == "https" && url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
        if !Url::parse(&self.issuer).is_ok_and(|url| is_plain(&url) && url.query().is_none()) {
            say(&path("issuer"), "must be an https URL without a query, exactly as the provider's tokens have it".to_owned());
        }
        if !is_plain(&self.origin) || self.origin.path() != "/" || self.origin.query().is_some() {
            say(&path("origin"), "must be `https://host` or `https://host:port`, where people find the pages of this node".to_owned());
        }
        for (name, text) in [("name", &self.name), ("client_id", &self.client_id), ("roles.claim", &self.roles.claim)] {
            if text.is_empty() || text.len() > 255 || text.chars().any(char::is_control) {
                say(&path(name), "must be a text of 1 to 255 bytes on one line".to_owned());
            }
        }
        if self.roles.values.is_empty() {
            say(&path("roles.values"), "nobody could sign in: at least one value is needed".to_owned());
        }
        for (position, value) in self.roles.values.iter().enumerate() {
            if control::policy::roles(&value.role).is_empty() {
                let known = "viewer, developer, approver, operator, security, auditor or admin";
                say(&path(&format!("roles.values[{position}].role")), format!("`{}` is no role: use {known}", value.role));
            }
        }
    }
}
