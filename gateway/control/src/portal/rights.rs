//! What a member of a team may do: one table, pure.

use model::{
    id::AccountId,
    problem::{Denial, ProblemKind},
};
use store::account::team::{Membership, TeamRole};

use super::session::SignedIn;
use crate::refusal::Refusal;

/// What can be done in a team.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Right {
    /// Sees applications, keys, usage and requests.
    Read,
    /// Issues, rolls, disables and revokes keys.
    Keys,
    /// Makes and removes applications.
    Applications,
    /// Invites, removes, and says who may what.
    Team,
}

impl Right {
    /// Every right, in the order of the table.
    pub(crate) const ALL: [Self; 4] = [Self::Read, Self::Keys, Self::Applications, Self::Team];

    /// What it is, for the page with the table.
    pub(crate) const fn sentence(self) -> &'static str {
        match self {
            Self::Read => "Sees applications, keys, usage and requests.",
            Self::Keys => "Issues, rolls, disables, enables and revokes keys.",
            Self::Applications => "Makes and removes applications.",
            Self::Team => "Invites and removes members, says who may what, and sets the webhook.",
        }
    }

    const fn words(self) -> &'static str {
        match self {
            Self::Read => "see this",
            Self::Keys => "change keys",
            Self::Applications => "make or remove applications",
            Self::Team => "change the team",
        }
    }
}

/// The table.
pub(crate) const fn allows(role: TeamRole, right: Right) -> bool {
    match right {
        Right::Read => true,
        Right::Keys | Right::Applications => matches!(role, TeamRole::Owner | TeamRole::Developer),
        Right::Team => matches!(role, TeamRole::Owner),
    }
}

/// What it takes to take somebody out of a team: to leave is everybody's right.
pub(super) fn to_remove(visitor: &SignedIn, account: AccountId) -> Right {
    if account == visitor.account.id { Right::Read } else { Right::Team }
}

impl SignedIn {
    /// The membership by which this person may do something in a team. To whoever is no member the team does not exist.
    pub(super) fn may(&self, consumer: model::id::ConsumerId, right: Right, what: &'static str) -> Result<&Membership, Refusal> {
        let membership = self.teams.iter().find(|team| team.consumer == consumer).ok_or_else(|| Refusal::not_found(what))?;
        if allows(membership.role, right) {
            return Ok(membership);
        }
        let text = format!("your role in this team ({}) does not allow you to {}; ask an owner", membership.role.as_str(), right.words());
        Err(Denial::new(ProblemKind::RoleInsufficient, text).into())
    }
}
