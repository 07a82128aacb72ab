//! Why tokens do not get their callers in.

use model::jwt::{dpop::Fault, rejection::Reason};

/// Why a token did not get its caller in, for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// It does not hold.
    Token(Reason),
    /// It is bound to something that is not checked.
    Bound,
    /// It is bound to no certificate or key, where it must be.
    Unbound,
    /// It is bound to a certificate that its sender does not hold.
    OfAnother,
    /// The proof that came with it does not hold.
    Dpop(Fault),
    /// It is bound to a key, and came without a proof.
    DpopNeeded,
    /// It is bound to no key, and came with a proof.
    DpopUnbound,
    /// It is bound to another key than its proof was signed with.
    DpopOfAnother,
    /// The proof that came with it was used before.
    DpopReplayed,
    /// Too many proofs are remembered.
    DpopFull,
    /// Its issuer says that it is none, or none any more.
    Inactive,
    /// It is no text that an issuer could be asked about.
    Odd,
    /// An operator refuses it.
    Denied,
    /// It holds, but there is no such application.
    ApplicationUnknown,
    /// Its issuer's keys cannot be had.
    Unreachable,
}

impl Refusal {
    /// Every one.
    pub fn all() -> impl Iterator<Item = Self> {
        Reason::ALL.iter().copied().map(Self::Token).chain(Fault::ALL.iter().copied().map(Self::Dpop)).chain([
            Self::Bound,
            Self::Unbound,
            Self::OfAnother,
            Self::DpopNeeded,
            Self::DpopUnbound,
            Self::DpopOfAnother,
            Self::DpopReplayed,
            Self::DpopFull,
            Self::Inactive,
            Self::Odd,
            Self::Denied,
            Self::ApplicationUnknown,
            Self::Unreachable,
        ])
    }

    /// The label in metrics.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Token(reason) => reason.code(),
            Self::Bound => "token-bound",
            Self::Unbound => "token-not-bound",
            Self::OfAnother => "token-of-another",
            Self::Dpop(fault) => fault.code(),
            Self::DpopNeeded => "dpop-needed",
            Self::DpopUnbound => "dpop-unbound",
            Self::DpopOfAnother => "dpop-of-another",
            Self::DpopReplayed => "dpop-replayed",
            Self::DpopFull => "dpop-full",
            Self::Inactive => "token-inactive",
            Self::Odd => "token-odd",
            Self::Denied => "token-denied",
            Self::ApplicationUnknown => "application-unknown",
            Self::Unreachable => "issuer-unreachable",
        }
    }
}
