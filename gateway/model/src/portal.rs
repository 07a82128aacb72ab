//! The developer portal of a tenant, as an operator writes it.

use serde::{Deserialize, Serialize};

/// What the portal offers, and to whom.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PortalDoc {
    /// Who may sign up.
    #[serde(default)]
    pub sign_up: SignUpDoc,
    /// Whether keys that are asked for there wait for approval. Left out where they do not, so that a version that does not know it reads the
    /// document, too.
    #[serde(default, skip_serializing_if = "KeysDoc::is_open")]
    pub keys: KeysDoc,
    /// The plan of applications that are made there; none when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<String>,
    /// Scopes of applications that are made there.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// The API descriptions that it shows; all when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub apis: Option<Vec<String>>,
    /// What stands above its pages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
}

/// Who may sign up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SignUpDoc {
    /// Everybody, at once.
    Open,
    /// Everybody, once an operator approves.
    Approval,
    /// Nobody: people are invited.
    #[default]
    Closed,
}

/// What becomes of a key that a developer asks for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeysDoc {
    /// It works at once.
    #[default]
    Open,
    /// It waits until an operator approves it.
    Approval,
}

impl KeysDoc {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
    fn is_open(&self) -> bool {
        *self == Self::Open
    }
}
