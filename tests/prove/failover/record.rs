//! What clients have asked, and what they were answered: the history by which a promotion is judged.

use std::sync::Arc;

use serde::Serialize;

/// The nodes that clients ask.
pub(super) const NODES: usize = 2;

/// What becomes of a read that nobody can keep the promise of: the kind of a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Mode {
    /// It is refused.
    Refuse,
    /// The nearest answers.
    Stale,
    /// The primary answers.
    Primary,
}

impl Mode {
    pub(super) const ALL: [Self; 3] = [Self::Refuse, Self::Stale, Self::Primary];

    /// As a document has it.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Refuse => "refuse",
            Self::Stale => "stale",
            Self::Primary => "primary",
        }
    }
}

/// Through which node, and on which route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub(super) struct Way {
    pub(super) node: usize,
    pub(super) mode: Mode,
}

impl Way {
    /// Every node and route.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        (0..NODES).flat_map(|node| Mode::ALL.map(|mode| Self { node, mode }))
    }
}

/// What a client holds: the newest token that it has, and the write of its own that this stands for.
#[derive(Debug, Clone)]
pub(super) struct Stake {
    pub(super) name: Arc<str>,
    pub(super) id: i64,
    pub(super) token: Arc<str>,
}

/// What was asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Act {
    /// An item with this name is made.
    Write(Arc<str>),
    /// The item is read that the token stands for.
    Read,
}

/// What an answer says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Said {
    /// 409 `position-lost`.
    Refused,
    /// The service answered, and `Causeway-Staleness: lost` is said of it.
    Lost,
    /// It was served, with another warning.
    Warned,
    /// It was served, as if nothing were the matter.
    Served,
    /// It was not served, for now.
    Unavailable,
    /// Anything else.
    Odd,
}

/// One request and its answer.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Entry {
    pub(super) way: Way,
    pub(super) act: Act,
    /// The write that the token stands for; none without a token.
    pub(super) has: Option<Arc<str>>,
    pub(super) began_us: u64,
    pub(super) ended_us: u64,
    pub(super) status: u16,
    pub(super) code: String,
    pub(super) said: Said,
    /// The region that answered, by the answer.
    pub(super) region: String,
    /// The name of the item in the answer.
    pub(super) shows: Option<String>,
}

impl Entry {
    /// Whether the loss of what the token stands for was told.
    pub(super) fn is_told(&self) -> bool {
        matches!(self.said, Said::Refused | Said::Lost)
    }

    /// Whether what was to be written was acknowledged.
    pub(super) fn is_acknowledged(&self) -> bool {
        matches!(self.act, Act::Write(_)) && self.status == 201
    }

    /// Whether the answer shows the write that the token stands for.
    pub(super) fn shows_own(&self) -> bool {
        self.has.is_some() && self.shows.as_deref() == self.has.as_deref()
    }

    /// A sentence about it.
    pub(super) fn told(&self) -> String {
        let what = match &self.act {
            Act::Write(name) => format!("a write of {name}"),
            Act::Read => "a read".to_owned(),
        };
        let token = self.has.as_deref().map_or_else(|| "without a token".to_owned(), |has| format!("with the token of {has}"));
        let Self { way, status, code, said, region, began_us, ended_us, .. } = self;
        let shows = self.shows.as_deref().unwrap_or("nothing");
        format!(
            "{what} {token} through node {} on {}, {began_us} to {ended_us} us: {status} {code} {said:?} by {region:?}, shows {shows}",
            way.node,
            way.mode.word()
        )
    }
}
