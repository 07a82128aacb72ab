//! A key as clients see it: nothing that authenticates, but for the one answer to whoever asked for a secret.

use std::fmt;

use ipnet::IpNet;
use model::{
    certificate::Thumbprint,
    change::{Environment, KeyState},
    id::{ApplicationId, ConsumerId},
    key::{KeyId, Purpose},
};
use serde::Serialize;
use store::{
    key::{
        KeyInfo, RevokedReason,
        decide::{Decision, Verdict},
    },
    usage,
};
use utoipa::ToSchema;

use super::receipt::Receipt;
use crate::{
    admin::{AuthorityRevision, instant},
    openapi::form,
};

/// An API key.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Key {
    #[schema(value_type = form::KeyId)]
    pub(super) id: KeyId,
    /// What its owner calls it.
    name: String,
    #[schema(value_type = form::ApplicationKey)]
    application: ApplicationId,
    application_name: String,
    #[schema(value_type = form::ConsumerKey)]
    consumer: ConsumerId,
    consumer_name: String,
    /// The name of the tenant.
    tenant: String,
    #[schema(value_type = form::Traffic)]
    environment: Environment,
    /// How its text begins; empty where another system has issued the text.
    prefix: &'static str,
    /// How its text ends: by that people recognize it. Empty where another system has issued the text.
    last_four: String,
    /// Where it comes from, if it was imported.
    imported: Option<ImportedKey>,
    /// Its own scopes; the application's when null.
    scopes: Option<Vec<String>>,
    /// The name of its own plan; the application's when null.
    plan: Option<String>,
    /// Names of the routes that it may be used on; all when null.
    #[schema(value_type = Option<Vec<String>>)]
    routes: Option<Vec<Box<str>>>,
    /// Methods that it may be used with; all when null.
    #[schema(value_type = Option<Vec<String>>)]
    methods: Option<Vec<Box<str>>>,
    /// Ranges that it may come from; all when null.
    #[schema(value_type = Option<Vec<String>>)]
    addresses: Option<Vec<IpNet>>,
    /// Client certificates, one of which its connection must have shown, by their SHA-256 hashes; none is needed when null.
    #[schema(value_type = Option<Vec<String>>)]
    certificates: Option<Vec<Thumbprint>>,
    #[schema(value_type = form::KeyStatus)]
    state: KeyState,
    #[schema(value_type = form::Instant)]
    expires_at: String,
    #[schema(value_type = form::Instant)]
    created_at: String,
    created_by: String,
    /// When it got its present secret, if that is not its first.
    #[schema(value_type = Option<form::Instant>)]
    rolled_at: Option<String>,
    /// How the text before the last roll ends.
    previous_last_four: Option<String>,
    /// Until when that text is taken.
    #[schema(value_type = Option<form::Instant>)]
    previous_until: Option<String>,
    #[schema(value_type = Option<form::Instant>)]
    revoked_at: Option<String>,
    revoked_by: Option<String>,
    #[schema(value_type = Option<form::Reason>)]
    revoked_reason: Option<RevokedReason>,
    /// What was decided about it, if it has waited for approval.
    decision: Option<KeyDecision>,
}

impl From<KeyInfo> for Key {
    fn from(key: KeyInfo) -> Self {
        let (previous_last_four, previous_until) = key.previous.map(|previous| (previous.last_four, instant(previous.until))).unzip();
        Self {
            id: key.id,
            name: key.name,
            application: key.application,
            application_name: key.application_name,
            consumer: key.consumer,
            consumer_name: key.consumer_name,
            tenant: key.tenant,
            environment: key.environment,
            prefix: if key.last_four.is_empty() { "" } else { Purpose::prefix(key.environment.purpose()) },
            last_four: key.last_four,
            imported: key.imported.map(|imported| ImportedKey {
                from: imported.system,
                source_id: imported.source,
                awaits_first_use: imported.awaits_first_use,
            }),
            scopes: key.scopes,
            plan: key.plan,
            routes: key.restrictions.routes,
            methods: key.restrictions.methods,
            addresses: key.restrictions.addresses,
            certificates: key.restrictions.certificates,
            state: key.state,
            expires_at: instant(key.expires_at),
            created_at: instant(key.created_at),
            created_by: key.created_by,
            rolled_at: key.rolled_at.map(instant),
            previous_last_four,
            previous_until,
            revoked_at: key.revoked_at.map(instant),
            revoked_by: key.revoked_by,
            revoked_reason: key.revoked_reason,
            decision: key.decision.map(|decided| {
                let Decision { verdict, reason, at, by } = *decided;
                KeyDecision { verdict, reason, at: instant(at), by }
            }),
        }
    }
}

/// What was decided about a key that waited for approval.
#[derive(Debug, Serialize, ToSchema)]
struct KeyDecision {
    #[schema(value_type = form::KeyVerdict)]
    verdict: Verdict,
    /// Why it was refused.
    reason: Option<String>,
    #[schema(value_type = form::Instant)]
    at: String,
    by: String,
}

/// Where a key comes from that was imported.
#[derive(Debug, Serialize, ToSchema)]
struct ImportedKey {
    /// The system, as the operator calls it.
    from: String,
    /// What the key is called there.
    source_id: String,
    /// Whether its text is verified at its first use, which has not come yet: it was hashed with bcrypt there, and its hash is kept until then.
    awaits_first_use: bool,
}

/// A key, and what it is used for.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ShownKey {
    #[serde(flatten)]
    pub(super) key: Key,
    pub(super) last_used: Option<LastUse>,
    /// Requests of the last 30 seconds with the text before the last roll.
    pub(super) previous_requests_30s: u64,
}

/// When a key was used last.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LastUse {
    /// To the minute.
    #[schema(value_type = form::Instant)]
    at: String,
    region: Option<String>,
    /// The name of the client's program.
    client: Option<String>,
}

impl From<usage::LastUse> for LastUse {
    fn from(usage::LastUse { at, region, client }: usage::LastUse) -> Self {
        Self { at: instant(at), region, client }
    }
}

/// A key that was just issued or rolled, with its secret.
#[derive(Serialize, ToSchema)]
pub(crate) struct IssuedKey {
    #[serde(flatten)]
    pub(super) key: Key,
    pub(super) revision: AuthorityRevision,
    /// The whole text; it is shown here and never again.
    pub(super) secret: String,
}

impl fmt::Debug for IssuedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("IssuedKey").field(&self.key).finish()
    }
}

/// A key that an earlier call has issued.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct IssuedBefore {
    #[serde(flatten)]
    pub(super) key: Key,
    /// Null: the earlier answer had it.
    #[schema(value_type = Option<String>)]
    pub(super) secret: (),
}

/// A key that is revoked.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RevokedKey {
    #[schema(value_type = form::KeyId)]
    pub(super) id: KeyId,
    #[schema(value_type = form::KeyStatus)]
    pub(super) state: KeyState,
    pub(super) revision: AuthorityRevision,
    #[schema(value_type = form::Instant)]
    pub(super) committed_at: String,
    /// It was so before, and nothing was changed.
    pub(super) already_revoked: bool,
    /// How far it has come; null unless that was waited for.
    pub(super) receipt: Option<Receipt>,
}
