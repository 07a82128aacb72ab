//! What travels from the control plane to the nodes: rows of the authority lane, as the change log carries them.
//!
//! Each is a whole row, so applying one twice changes nothing. A node that cannot read one quarantines its entity.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use uuid::Uuid;

use crate::{
    denial::DenialRow,
    id::{ApplicationId, ConsumerId},
    key::{KeyId, Purpose, foreign::bcrypt::Prefix},
    purge::Purge,
    restriction::Restrictions,
    time::UtcMicros,
};

/// Which sequence of revisions a change belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lane {
    /// Keys, consumers, applications: applied row by row, at once.
    Authority,
    /// Routes, upstreams, plans, tenants, APIs: compiled whole.
    Structural,
}

impl Lane {
    /// The name in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Authority => "authority",
            Self::Structural => "structural",
        }
    }
}

/// The number of the last change of each lane, and the epochs in which they were given.
///
/// A database has both lanes in one epoch. A node can keep the structure of the epoch before, when that of a new one does not compile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Revisions {
    /// Rises at each promotion of the control database.
    pub epoch: u64,
    /// Which epoch of that number. Nil in what an earlier version wrote: then the number has to do.
    #[serde(default)]
    pub epoch_id: Uuid,
    /// Head of the authority lane.
    pub authority: u64,
    /// The epoch of the structural lane. Zero in what an earlier version wrote: it is `epoch` there.
    #[serde(default)]
    pub structural_epoch: u64,
    /// Head of the structural lane.
    pub structural: u64,
}

impl Revisions {
    /// Whether both are of one epoch: their authority revisions can be compared, and changes of one go on from the other.
    pub fn are_of_one_epoch(&self, other: &Self) -> bool {
        self.epoch == other.epoch && !self.contradicts(other)
    }

    /// Two epochs have one number: neither goes on from the other, and nothing may be taken from one by who has the other (ADR 0030).
    pub fn contradicts(&self, other: &Self) -> bool {
        let is_known = !self.epoch_id.is_nil() && !other.epoch_id.is_nil();
        self.epoch == other.epoch && is_known && self.epoch_id != other.epoch_id
    }

    /// Whether a lane of these would go back to, or across to, what `next` has.
    pub fn would_go_back_to(&self, next: &Self) -> bool {
        let authority = (next.epoch, next.authority) < (self.epoch, self.authority);
        let structural = (next.structural_epoch, next.structural) < (self.structural_epoch, self.structural);
        authority || structural || self.contradicts(next)
    }

    /// What stands for these where they were written by an earlier version.
    #[must_use]
    pub const fn completed(mut self) -> Self {
        if self.structural_epoch == 0 {
            self.structural_epoch = self.epoch;
        }
        self
    }
}

/// One change of the authority lane.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum AuthorityChange {
    /// A key was made or changed.
    Key(Box<KeyRow>),
    /// A key is gone.
    KeyRemoved {
        /// Which.
        id: KeyId,
    },
    /// An application was made or changed.
    Application(ApplicationRow),
    /// An application is gone.
    ApplicationRemoved {
        /// Which.
        id: ApplicationId,
    },
    /// A consumer was made or changed.
    Consumer(ConsumerRow),
    /// A consumer is gone.
    ConsumerRemoved {
        /// Which.
        id: ConsumerId,
    },
    /// Tokens are refused.
    TokenDenied(DenialRow),
    /// Stored responses must not be given any more. It changes no caller, and travels with what does because it is as urgent.
    CachePurge(Purge),
}

/// Whether a key may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyState {
    /// Not yet: somebody has to approve it.
    Pending,
    /// It may.
    Active,
    /// Not until it is enabled again.
    Disabled,
    /// Never again.
    Revoked,
}

impl KeyState {
    /// The name in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Active => "active",
            Self::Disabled => "disabled",
            Self::Revoked => "revoked",
        }
    }

    /// Reads the name in the database.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Pending, Self::Active, Self::Disabled, Self::Revoked].into_iter().find(|state| state.as_str() == text)
    }
}

/// For which traffic a key is: it stands in the key's text, and here, so that neither can be taken for the other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Environment {
    /// The real one.
    #[default]
    Live,
    /// Trials.
    Test,
}

impl Environment {
    /// The name in the database and on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Test => "test",
        }
    }

    /// What a key's text says about it; operator tokens are for neither.
    pub const fn of(purpose: Purpose) -> Option<Self> {
        match purpose {
            Purpose::Live => Some(Self::Live),
            Purpose::Test => Some(Self::Test),
            Purpose::Operator | Purpose::Personal => None,
        }
    }

    /// What a key's text says.
    pub const fn purpose(self) -> Purpose {
        match self {
            Self::Live => Purpose::Live,
            Self::Test => Purpose::Test,
        }
    }
}

/// What the database keeps of one secret of a key. Nothing in it authenticates: the digest needs the peppers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretRow {
    /// HMAC of the secret, in hexadecimal.
    #[serde(with = "hex32")]
    pub digest: [u8; 32],
    /// The peppers that it is under, innermost first.
    pub peppers: Vec<u16>,
}

/// A secret that was replaced, and works for a while beside the new one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreviousRow {
    /// The secret.
    pub secret: SecretRow,
    /// When it stops being valid.
    pub until: UtcMicros,
    /// The how manyth secret it is; one less than the present one's when absent. It stands here once others between the two were thrown away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<u32>,
}

/// A bcrypt hash that another system keeps of a key's text. Nothing in it authenticates, or lets anybody guess: it is sealed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BcryptRow {
    /// What the text begins with.
    pub prefix: Prefix,
    /// The sealed hash, in hexadecimal.
    #[serde(with = "hex")]
    pub sealed: Vec<u8>,
    /// The pepper whose key it is sealed with.
    pub pepper: u16,
}

/// A key as nodes receive it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyRow {
    /// The public id.
    pub id: KeyId,
    /// The application that holds it.
    pub application: ApplicationId,
    /// For which traffic it is.
    pub environment: Environment,
    /// What proves it.
    pub secret: SecretRow,
    /// The how manyth secret that is. No two secrets of a key share a number.
    pub secret_number: u32,
    /// What finds it, if another system has issued it and its text holds no id (`model::key::foreign`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lookup: Option<SecretRow>,
    /// What verifies its text once, if another system has hashed it with bcrypt and nobody has shown it since (`model::key::foreign::bcrypt`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bcrypt: Option<BcryptRow>,
    /// What proved it before, while both do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<PreviousRow>,
    /// Its own scopes; the application's when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scopes: Option<Vec<String>>,
    /// The name of its own plan; the application's when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<String>,
    /// Where it may be used.
    #[serde(default, skip_serializing_if = "Restrictions::is_none")]
    pub restrictions: Restrictions,
    /// Whether it may be used.
    pub state: KeyState,
    /// When it stops being valid.
    pub expires_at: UtcMicros,
}

/// An application as nodes receive it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ApplicationRow {
    /// Its id.
    pub id: ApplicationId,
    /// Its name.
    pub name: String,
    /// The consumer it belongs to.
    pub consumer: ConsumerId,
    /// The name of its plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<String>,
    /// Scopes of keys that have none of their own.
    #[serde(default)]
    pub scopes: Vec<String>,
}

/// A consumer as nodes receive it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ConsumerRow {
    /// Its id.
    pub id: ConsumerId,
    /// Its name.
    pub name: String,
    /// The name of its tenant.
    pub tenant: String,
    /// Labels of regions, one of which a region must have in which its data lie; any region will do when absent, and none when empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub residency: Option<Vec<String>>,
}

mod hex {
    use super::{Deserialize, Deserializer, Serializer, de};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&data_encoding::HEXLOWER.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        data_encoding::HEXLOWER.decode(text.as_bytes()).map_err(de::Error::custom)
    }
}

mod hex32 {
    use super::{Deserialize, Deserializer, Serializer, de};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8; 32], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&data_encoding::HEXLOWER.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[u8; 32], D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        let bytes = data_encoding::HEXLOWER.decode(text.as_bytes()).map_err(de::Error::custom)?;
        bytes.try_into().map_err(|_| de::Error::custom("a digest has 32 bytes"))
    }
}
