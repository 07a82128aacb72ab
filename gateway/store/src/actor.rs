//! Who is behind a write: every function that changes something for a person asks.

use std::fmt;

/// What kind of actor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ActorKind {
    /// A person with an operator token.
    Operator,
    /// The command line, on the machine itself.
    Cli,
    /// The program, on its own account.
    System,
    /// A secret scanner that signs its reports.
    Reporter,
    /// A person who is signed in; the name is the account's id.
    Account,
}

impl ActorKind {
    /// The name in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Cli => "cli",
            Self::System => "system",
            Self::Reporter => "reporter",
            Self::Account => "account",
        }
    }
}

/// Who acts. The text form `kind:name` stands in the change log and in `created_by` columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// What kind.
    pub kind: ActorKind,
    /// Which one, for people; never a secret.
    pub name: String,
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind.as_str(), self.name)
    }
}
