//! Forms of texts and numbers: each is a schema with a name, and states what the code that reads the text enforces.

use std::borrow::Cow;

use model::{
    change::{Environment, KeyState},
    id::{AccountId, ApplicationId, ConsumerId, NotificationId, PlanId, TenantId},
    problem::ProblemKind,
    purge::{PURGE_TAGS_MAX, TAG_BYTES_MAX},
    residency::LABELS_MAX,
    restriction::ENTRIES_MAX,
};
use serde::Serialize;
use serde_json::{Value, json};
use store::{
    account::{AccountState, team},
    apply::ResourceKind,
    key::{
        RevokedReason,
        decide::{REASON_CHARS_MAX, Verdict},
        life::WhileRolling,
    },
    notification::{NotificationState, outbox::Channel},
    tenant::ManagedBy,
};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        AllOfBuilder, ArrayBuilder, KnownFormat, Object, ObjectBuilder, Ref, RefOr, Schema, SchemaFormat, Type,
        extensions::Extensions,
        schema::{AdditionalProperties, AnyOfBuilder, SchemaType},
    },
};

use crate::{
    admin::{
        SCOPE_LEN_MAX, SCOPES_MAX,
        key::import::{Outcome, entry::Loss},
        token::{ISSUER_BYTES_MAX, NAME_BYTES_MAX},
    },
    policy::Role,
};

/// What `char::is_control` finds, for a set of a pattern.
const CONTROL: &str = r"\u0000-\u001f\u007f-\u009f";

macro_rules! forms {
    ($($(#[doc = $doc:literal])* $name:ident = $schema:expr;)*) => {
        $(
            $(#[doc = $doc])*
            #[derive(Debug)]
            pub(crate) struct $name;

            impl PartialSchema for $name {
                fn schema() -> RefOr<Schema> {
                    described($schema, concat!($($doc),*).trim()).into()
                }
            }

            impl ToSchema for $name {
                fn name() -> Cow<'static, str> {
                    stringify!($name).into()
                }
            }
        )*
    };
}

forms! {
    /// A name that stands in labels, URLs and records.
    Name = pattern("^[a-z0-9][a-z0-9_-]{0,62}$");
    /// A text of one line with a visible character.
    Label = lengths(pattern(&printable()), 1, 80);
    /// A short text of one line with a visible character.
    ShortLabel = lengths(pattern(&printable()), 1, 30);
    /// What somebody may do in a team.
    TeamRole = one_of([team::TeamRole::Owner, team::TeamRole::Developer, team::TeamRole::Viewer]);
    /// An id or a name.
    Reference = lengths(ObjectBuilder::new().schema_type(Type::String), 1, 80);
    /// The public id of a key or of an operator token.
    KeyId = pattern("^[0-9A-Za-z]{12}$");
    /// The id of a tenant.
    TenantKey = id(TenantId::PREFIX);
    /// The id of a plan.
    PlanKey = id(PlanId::PREFIX);
    /// The id of a consumer.
    ConsumerKey = id(ConsumerId::PREFIX);
    /// The id of an application.
    ApplicationKey = id(ApplicationId::PREFIX);
    /// The id of an account.
    AccountKey = id(AccountId::PREFIX);
    /// The id of a notification.
    NotificationKey = id(NotificationId::PREFIX);
    /// Where a notification is on its way.
    NotificationStatus = one_of([NotificationState::Queued, NotificationState::Delivered, NotificationState::Failed]);
    /// By which way somebody is told.
    NotificationChannel = one_of(Channel::ALL.map(Channel::as_str));
    /// Whether an account can be used.
    AccountStatus = one_of([AccountState::Pending, AccountState::Active, AccountState::Disabled]);
    /// What became of a request for an account.
    AccountEnd = one_of(["refused"]);
    /// A mail address of the internet, in ASCII.
    MailAddress = lengths(pattern(r"^[!-?A-~]+@[!--/-?A-~][!-?A-~]*\.[!-?A-~]*[!--/-?A-~]$"), 5, 254);
    /// An https address without a user, a password and anything behind a `#`: at most 1,000 characters.
    HookAddress = lengths(pattern("^https://[^#]+$"), 9, 1_000).examples(["https://example.com/hooks"]);
    /// A UUID.
    Uuid = ObjectBuilder::new().schema_type(Type::String).format(Some(SchemaFormat::Custom("uuid".to_owned())));
    /// An instant in UTC, to the microsecond.
    Instant = ObjectBuilder::new().schema_type(Type::String).format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)));
    /// What a token names somebody or itself with: at most 255 bytes.
    TokenText = lengths(pattern(&uncontrolled()), 1, NAME_BYTES_MAX);
    /// The name of an issuer, or its `iss`: at most 1,024 bytes.
    IssuerText = lengths(pattern(&uncontrolled()), 1, ISSUER_BYTES_MAX);
    /// A duration: a number and a unit.
    Duration = pattern("^[0-9]+(us|ms|s|m|min|h|d)$").examples(["31d"]);
    /// A scope (RFC 6749 section 3.3).
    Scope = lengths(pattern(r"^[!#-\[\]-~]+$"), 1, SCOPE_LEN_MAX);
    /// A request method in capital letters.
    Method = lengths(pattern(r"^[!#$%&'*+.^_`|~0-9A-Z-]+$"), 1, 24);
    /// An address or a range of addresses (CIDR).
    Network = ObjectBuilder::new().schema_type(Type::String).examples(["192.0.2.7", "2001:db8::/32"]);
    /// The SHA-256 hash of a certificate, with or without colons.
    CertificateHash = pattern("^:*([0-9A-Fa-f]:*){64}$");
    /// What an answer waits for.
    WaitFor = pattern("^effective$");
    /// A number of seconds from 1 to 25.
    WaitSeconds = pattern("^([1-9]|1[0-9]|2[0-5])s?$").examples(["10"]);
    /// A tag of stored responses.
    CacheTag = lengths(pattern(r"^[!-+\--~]+$"), 1, TAG_BYTES_MAX);
    /// Whether a key may be used.
    KeyStatus = one_of([KeyState::Pending, KeyState::Active, KeyState::Disabled, KeyState::Revoked]);
    /// For which traffic a key is.
    Traffic = one_of([Environment::Live, Environment::Test]).default(Some(json!(Environment::Live)));
    /// What an operator may be; `admin` is operator and auditor together.
    OperatorRole = one_of(Role::ALL.iter().map(|role| role.as_str()).chain(["admin"]));
    /// What became of an operator token.
    OperatorState = one_of(["revoked"]);
    /// Why a key was revoked.
    Reason = one_of([RevokedReason::Asked, RevokedReason::Leaked, RevokedReason::Refused]);
    /// What was decided about a key that waited for approval.
    KeyVerdict = one_of([Verdict::Approved, Verdict::Refused]);
    /// Why something is so: a text of one line with a visible character.
    Why = lengths(pattern(&printable()), 1, REASON_CHARS_MAX);
    /// What a roll does to the overlap of the one before it.
    Rolling = one_of([WhileRolling::Refuse, WhileRolling::ReplacePresent, WhileRolling::EndPrevious])
        .default(Some(json!(WhileRolling::Refuse)));
    /// Who rules a resource: the gateway file, or the API.
    Ruler = one_of([ManagedBy::File, ManagedBy::Api]);
    /// A kind of resource of the gateway document.
    Kind = one_of(ResourceKind::ALL);
    /// The code of a refusal.
    ProblemCode = one_of(ProblemKind::ALL.iter().map(|kind| kind.code()));
    /// Who has to act on a refusal.
    Culprit = one_of(["client", "gateway", "upstream"]);
    /// What a server of the control database is.
    ServerRole = one_of(["primary", "standby", "unreachable"]);
    DomainServerState = one_of(["primary", "standby", "replaced", "unreachable"]);
    /// What became of a reported key: it was revoked now, could not be used any more, or is none of ours.
    LeakOutcome = one_of(["revoked", "dead", "foreign"]);
    /// What a scanner is told.
    LeakVerdict = one_of(["true_positive", "false_positive"]);
    /// What became of a key of another system.
    ImportOutcome = one_of([Outcome::Imported, Outcome::Before, Outcome::Refused]);
    /// What of a key of another system was lost, or why it was refused.
    ImportLoss = one_of(Loss::ALL);
    /// Requests in a period, like 20/s.
    RequestRate = pattern("^[0-9]+/[0-9]*(s|second|m|min|minute|h|hour|d|day)$");
    /// A number that counts something.
    Count = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0));
}

/// An instant, or how long ago.
#[derive(Debug)]
pub(crate) struct Moment;

impl PartialSchema for Moment {
    fn schema() -> RefOr<Schema> {
        let either = AnyOfBuilder::new().item(reference::<Instant>()).item(reference::<Duration>());
        either.description(Some("An instant, or how long ago.")).examples(["2026-01-31T12:00:00Z", "15m"]).into()
    }
}

impl ToSchema for Moment {
    fn name() -> Cow<'static, str> {
        "Moment".into()
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.extend([(Instant::name().into_owned(), Instant::schema()), (Duration::name().into_owned(), Duration::schema())]);
    }
}

/// A schema for a list that a client sends: of so many at most, each once where it says so.
macro_rules! lists {
    ($($(#[doc = $doc:literal])* $name:ident = $item:ident, $min:expr, $max:expr, $unique:literal;)*) => {
        $(
            $(#[doc = $doc])*
            #[derive(Debug)]
            pub(crate) struct $name;

            impl PartialSchema for $name {
                fn schema() -> RefOr<Schema> {
                    let list = ArrayBuilder::new().items(reference::<$item>()).description(Some(concat!($($doc),*).trim()));
                    list.min_items(($min > 0).then_some($min)).max_items(Some($max)).unique_items($unique).into()
                }
            }

            impl ToSchema for $name {
                fn name() -> Cow<'static, str> {
                    stringify!($name).into()
                }

                fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
                    schemas.push(($item::name().into_owned(), $item::schema()));
                }
            }
        )*
    };
}

lists! {
    /// Scopes, each once.
    Scopes = Scope, 0, SCOPES_MAX, true;
    /// Labels of regions, each once.
    Labels = Name, 1, LABELS_MAX, true;
    /// Names of routes.
    Routes = Name, 0, ENTRIES_MAX, false;
    /// Request methods.
    Methods = Method, 0, ENTRIES_MAX, false;
    /// Addresses and ranges.
    Networks = Network, 0, ENTRIES_MAX, false;
    /// Hashes of certificates.
    Thumbprints = CertificateHash, 0, ENTRIES_MAX, false;
    /// Tags of stored responses.
    CacheTags = CacheTag, 0, PURGE_TAGS_MAX, false;
}

/// A text of any form.
pub(crate) fn text(about: &str) -> Object {
    ObjectBuilder::new().schema_type(Type::String).description(Some(about)).build()
}

/// Where a page ended. What is in it is ours alone.
pub(crate) fn cursor() -> Object {
    ObjectBuilder::new().schema_type(Type::String).min_length(Some(1)).build()
}

/// A text that is one of these.
pub(crate) fn word<const N: usize>(words: [&'static str; N]) -> Object {
    one_of(words).build()
}

/// A number from `min` to `max`.
pub(crate) fn number(min: u32, max: u32) -> Object {
    ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(f64::from(min))).maximum(Some(f64::from(max))).build()
}

/// The key of a call that may be repeated: visible characters of ASCII, with spaces between them.
pub(crate) fn call_key(max: usize) -> Object {
    lengths(pattern("^[!-~]([ -~]*[!-~])?$"), 1, max).build()
}

/// A switch of a query.
pub(crate) fn switch() -> Object {
    word(["true", "false", "1", "0", ""])
}

/// An object whose members another place describes.
pub(crate) fn anything(about: &str) -> Object {
    ObjectBuilder::new().schema_type(Type::Object).description(Some(about)).additional_properties(Some(AdditionalProperties::FreeForm(true))).build()
}

/// An entry of the gateway document: `name`, and what docs/configuration.md lists.
pub(crate) fn entry(about: &str) -> Object {
    let mut entry = anything(about);
    entry.properties.insert("name".to_owned(), reference::<Name>());
    entry.required.push("name".to_owned());
    entry
}

/// A gateway document, as far as its sections go.
pub(crate) fn gateway_document(about: &str) -> Object {
    let sections = [
        "regions",
        "domains",
        "tenants",
        "plans",
        "issuers",
        "certificate_authorities",
        "signers",
        "apis",
        "consumers",
        "applications",
        "upstreams",
        "routes",
    ];
    let version = ObjectBuilder::new().schema_type(Type::Integer).enum_values(Some([1]));
    let start = nothing_but().description(Some(about)).property("version", version).required("version");
    let list = || ArrayBuilder::new().items(ObjectBuilder::new().schema_type(Type::Object));
    sections.into_iter().fold(start, |document, section| document.property(section, list())).build()
}

/// An object without members.
pub(crate) fn nothing() -> Object {
    nothing_but().build()
}

fn nothing_but() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::Object).additional_properties(Some(AdditionalProperties::FreeForm(false)))
}

/// Statuses from and to.
pub(crate) fn status_range() -> Object {
    pattern("^([1-5]xx|(>=|<=|>|<)?[1-5][0-9][0-9]|[1-5][0-9][0-9]-[1-5][0-9][0-9])$").examples(["403", "4xx", ">=400", "400-499"]).build()
}

/// A record of the access log: its place, and the members of the event.
pub(crate) fn record() -> Object {
    let mut record = anything("A record: its place in the log and, unless it is unreadable, the members of its event.");
    let unreadable = ObjectBuilder::new().schema_type(Type::Boolean).description(Some("Its bytes cannot be read; it still happened."));
    let members: [(&str, RefOr<Schema>); 4] =
        [("at", Instant::schema()), ("node", text("").into()), ("incarnation", Count::schema()), ("seq", Count::schema())];
    for (name, schema) in members {
        record.properties.insert(name.to_owned(), schema);
        record.required.push(name.to_owned());
    }
    record.properties.insert("unreadable".to_owned(), unreadable.into());
    record
}

/// Refers to a schema by its name.
pub(crate) fn reference<T: ToSchema>() -> RefOr<Schema> {
    Ref::from_schema_name(T::name()).into()
}

/// Says that every member of an object is there.
pub(crate) fn complete(schema: &mut RefOr<Schema>) {
    match schema {
        RefOr::T(Schema::Object(object)) => object.required = object.properties.keys().cloned().collect(),
        RefOr::T(Schema::AllOf(parts)) => parts.items.iter_mut().for_each(complete),
        RefOr::T(_) | RefOr::Ref(_) => {}
    }
}

/// A page of items.
pub(crate) fn page(items: RefOr<Schema>) -> Schema {
    let cursor = ObjectBuilder::new()
        .schema_type(SchemaType::from_iter([Type::String, Type::Null]))
        .description(Some("Asks for the items after these; null on the last page."));
    ObjectBuilder::new()
        .property("items", ArrayBuilder::new().items(items))
        .property("next_cursor", cursor)
        .required("items")
        .required("next_cursor")
        .into()
}

/// A problem document with one of some codes.
pub(crate) fn narrowed(base: RefOr<Schema>, member: &str, values: Vec<Value>) -> Schema {
    let narrow =
        ObjectBuilder::new().property(member, ObjectBuilder::new().enum_values(Some(values)).schema_type(Type::String)).schema_type(Type::Object);
    AllOfBuilder::new().item(base).item(narrow).into()
}

/// Keywords that utoipa's types have no member for.
pub(crate) fn keyword(name: &str, value: impl Into<Value>) -> Extensions {
    // One at a time: they are written in no certain order.
    [(name, value.into())].into_iter().collect()
}

fn described(schema: ObjectBuilder, about: &str) -> Schema {
    schema.description(Some(about)).into()
}

fn pattern(pattern: &str) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String).pattern(Some(pattern))
}

fn lengths(schema: ObjectBuilder, min: usize, max: usize) -> ObjectBuilder {
    schema.min_length(Some(min)).max_length(Some(max))
}

/// What serializes to one of some words.
fn one_of<T: Serialize>(values: impl IntoIterator<Item = T>) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some(values.into_iter().map(|value| json!(value))))
}

fn id(prefix: &str) -> ObjectBuilder {
    pattern(&format!("^{prefix}[0-9a-f]{{32}}$"))
}

/// No control characters.
fn uncontrolled() -> String {
    format!("^[^{CONTROL}]*$")
}

/// No control characters, and at least one character that is no white space (`char::is_control`, `char::is_whitespace`).
fn printable() -> String {
    const SPACE: &str = r"\u0020\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000";
    format!("^[^{CONTROL}]*[^{CONTROL}{SPACE}][^{CONTROL}]*$")
}
