//! What a key is asked for with, changed with, rolled with; and how the texts become values.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName};
use ipnet::IpNet;
use model::{
    certificate::Thumbprint,
    change::Environment,
    key,
    problem::{Denial, ProblemKind},
    restriction::{ENTRIES_MAX, Restrictions},
};
use serde::{Deserialize, Serialize};
use store::{
    actor::Actor,
    key::{
        Call,
        life::{KeyChange, Patch, WhileRolling},
    },
    pool::Primary,
};
use utoipa::ToSchema;
use validator::{Validate, ValidationError};

use crate::{
    admin::{plain_name, printable, scope_list, store_refusal, unexpected},
    body::whole,
    openapi::form,
    refusal::Refusal,
};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// The longest key of a call, in characters.
pub(crate) const CALL_KEY_MAX: usize = 255;

/// What a key is asked for with.
#[derive(Debug, Serialize, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateKey {
    /// What its owner calls it.
    #[validate(length(min = 1, max = 80, message = "must have 1 to 80 characters"), custom(function = printable))]
    #[schema(value_type = form::Label)]
    pub(crate) name: String,
    /// The id or the name of the application; the default one when absent.
    #[validate(length(min = 1, max = 80, message = "must be the id or the name of an application"))]
    #[schema(value_type = Option<form::Reference>)]
    pub(crate) application: Option<String>,
    /// Its own scopes: the application's when absent, none when empty.
    #[validate(custom(function = scope_list))]
    #[schema(value_type = Option<form::Scopes>)]
    pub(crate) scopes: Option<Vec<String>>,
    /// The name of its own plan: the application's when absent.
    #[validate(custom(function = plain_name))]
    #[schema(value_type = Option<form::Name>)]
    pub(crate) plan: Option<String>,
    /// Names of the routes that it may be used on: all when absent, none when empty.
    #[validate(custom(function = route_list))]
    #[schema(value_type = Option<form::Routes>)]
    routes: Option<Vec<String>>,
    /// Methods that it may be used with: all when absent, none when empty.
    #[validate(custom(function = method_list))]
    #[schema(value_type = Option<form::Methods>)]
    methods: Option<Vec<String>>,
    /// Addresses and ranges (CIDR) that it may come from: all when absent, none when empty.
    #[validate(custom(function = address_list))]
    #[schema(value_type = Option<form::Networks>)]
    addresses: Option<Vec<String>>,
    /// Client certificates, one of which its connection must have shown, by their SHA-256 hashes: none is needed when absent, and none will do when empty.
    #[validate(custom(function = certificate_list))]
    #[schema(value_type = Option<form::Thumbprints>)]
    // Left out of the fingerprint of a call that has none, so that one from before the member was known is the same call.
    #[serde(skip_serializing_if = "Option::is_none")]
    certificates: Option<Vec<String>>,
    /// Seconds until it ends.
    #[validate(range(min = 60, max = 315_360_000, message = "must be 60 (a minute) to 315360000 (ten years) seconds"))]
    #[serde(default, deserialize_with = "whole")]
    #[schema(minimum = 60, maximum = 315_360_000)]
    pub(crate) expires_in: Option<u32>,
    /// For which traffic.
    #[serde(default)]
    #[schema(value_type = form::Traffic)]
    pub(crate) environment: Environment,
    /// It waits for approval before it can be used.
    #[serde(default)]
    pub(crate) pending: bool,
}

impl CreateKey {
    /// Where the key may be used.
    pub(crate) fn restrictions(&self) -> Restrictions {
        Restrictions {
            routes: boxed(self.routes.clone()),
            methods: boxed(self.methods.clone()),
            addresses: networks(self.addresses.as_deref()),
            certificates: self.certificates.as_ref().map(|list| thumbprints(list)),
        }
    }
}

/// What a person's program asks for a key with: a plan, and whether it waits, are the API's owner's to say.
#[derive(Debug, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateMyKey {
    /// What its owner calls it.
    #[validate(length(min = 1, max = 80, message = "must have 1 to 80 characters"), custom(function = printable))]
    #[schema(value_type = form::Label)]
    name: String,
    /// The id or the name of an application of a team of yours.
    #[validate(length(min = 1, max = 80, message = "must be the id or the name of an application"))]
    #[schema(value_type = form::Reference)]
    application: String,
    /// Scopes among those of the application: all of them when absent, none when empty.
    #[validate(custom(function = scope_list))]
    #[schema(value_type = Option<form::Scopes>)]
    scopes: Option<Vec<String>>,
    /// Names of the routes that it may be used on: all when absent, none when empty.
    #[validate(custom(function = route_list))]
    #[schema(value_type = Option<form::Routes>)]
    routes: Option<Vec<String>>,
    /// Methods that it may be used with: all when absent, none when empty.
    #[validate(custom(function = method_list))]
    #[schema(value_type = Option<form::Methods>)]
    methods: Option<Vec<String>>,
    /// Addresses and ranges (CIDR) that it may come from: all when absent, none when empty.
    #[validate(custom(function = address_list))]
    #[schema(value_type = Option<form::Networks>)]
    addresses: Option<Vec<String>>,
    /// Client certificates, as for operators.
    #[validate(custom(function = certificate_list))]
    #[schema(value_type = Option<form::Thumbprints>)]
    certificates: Option<Vec<String>>,
    /// Seconds until it ends; a year when absent.
    #[validate(range(min = 60, max = 63_072_000, message = "must be 60 (a minute) to 63072000 (two years) seconds"))]
    #[serde(default, deserialize_with = "whole")]
    #[schema(minimum = 60, maximum = 63_072_000)]
    expires_in: Option<u32>,
    /// For which traffic.
    #[serde(default)]
    #[schema(value_type = form::Traffic)]
    environment: Environment,
}

impl From<CreateMyKey> for CreateKey {
    fn from(wish: CreateMyKey) -> Self {
        let CreateMyKey { name, application, scopes, routes, methods, addresses, certificates, expires_in, environment } = wish;
        let (application, plan, pending) = (Some(application), None, false);
        Self { name, application, scopes, plan, routes, methods, addresses, certificates, expires_in, environment, pending }
    }
}

/// What of a key is changed (RFC 7396): what is absent stays, what is null goes back to what the application has.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ChangeKey {
    #[schema(value_type = Option<form::Label>)]
    pub(super) name: Option<String>,
    #[serde(default)]
    #[schema(value_type = Option<form::Scopes>)]
    pub(super) scopes: Patch<Vec<String>>,
    #[serde(default)]
    #[schema(value_type = Option<form::Name>)]
    pub(super) plan: Patch<String>,
    #[serde(default)]
    #[schema(value_type = Option<form::Routes>)]
    routes: Patch<Vec<String>>,
    #[serde(default)]
    #[schema(value_type = Option<form::Methods>)]
    methods: Patch<Vec<String>>,
    #[serde(default)]
    #[schema(value_type = Option<form::Networks>)]
    addresses: Patch<Vec<String>>,
    #[serde(default)]
    #[schema(value_type = Option<form::Thumbprints>)]
    certificates: Patch<Vec<String>>,
    #[serde(default, deserialize_with = "whole")]
    #[schema(minimum = 60, maximum = 315_360_000)]
    pub(super) expires_in: Option<u32>,
}

impl ChangeKey {
    /// Holds the members against the rules that stand at [`CreateKey`].
    pub(super) fn check(&self) -> Result<(), Refusal> {
        // A key of that shape would be asked for with these members.
        let shape = CreateKey {
            name: self.name.clone().unwrap_or_else(|| "unchanged".to_owned()),
            application: None,
            scopes: self.scopes.clone().apply(None),
            plan: self.plan.clone().apply(None),
            routes: self.routes.clone().apply(None),
            methods: self.methods.clone().apply(None),
            addresses: self.addresses.clone().apply(None),
            certificates: self.certificates.clone().apply(None),
            expires_in: self.expires_in,
            environment: Environment::Live,
            pending: false,
        };
        crate::body::check(&shape)
    }

    /// What becomes of that to which the key is bound.
    pub(super) fn restrictions(&self) -> KeyChange {
        let texts = |patch: &Patch<Vec<String>>| patch.clone().map(|list| list.into_iter().map(String::into_boxed_str).collect());
        let addresses = self.addresses.clone().map(|list| list.iter().filter_map(|text| network(text)).collect());
        KeyChange {
            routes: texts(&self.routes),
            methods: texts(&self.methods),
            addresses,
            certificates: self.certificates.clone().map(|list| thumbprints(&list)),
            ..KeyChange::default()
        }
    }
}

/// How a key is rolled.
#[derive(Debug, Default, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RollKey {
    /// Seconds for which the secret before is taken too; a day when absent, not at all when 0.
    #[validate(range(max = 2_592_000, message = "must be 0 to 2592000 (thirty days) seconds"))]
    #[serde(default, deserialize_with = "whole")]
    #[schema(maximum = 2_592_000)]
    pub(crate) overlap: Option<u32>,
    /// What becomes of an overlap that is not over: it is in the way when nothing is said.
    #[serde(default)]
    #[schema(value_type = form::Rolling)]
    pub(crate) while_rolling: WhileRolling,
}

/// Refuses restrictions to routes that do not exist: a misspelled name would make a key that never works.
pub(crate) async fn known_routes(primary: &Primary, routes: &[Box<str>]) -> Result<(), Refusal> {
    if routes.is_empty() {
        return Ok(());
    }
    let names: Vec<_> = routes.iter().map(|name| name.clone().into_string()).collect();
    let unknown = store::key::unknown_routes(primary, &names).await.map_err(|error| store_refusal(&error))?;
    if unknown.is_empty() {
        return Ok(());
    }
    Err(Refusal::field("/routes", "unknown", format!("names what is no route: {}", unknown.join(", "))))
}

/// The call that may be repeated, if it says so. The key of another operator's call is another key.
pub(crate) fn call(headers: &HeaderMap, actor: &Actor, body: &CreateKey) -> Result<Option<Call>, Refusal> {
    let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let text = value.to_str().ok().map(str::trim).filter(|text| (1..=CALL_KEY_MAX).contains(&text.len()));
    let (Some(text), None) = (text, values.next()) else {
        return Err(Denial::new(ProblemKind::RequestMalformed, "Idempotency-Key must be one field of 1 to 255 visible ASCII characters").into());
    };
    let asked = serde_json::to_vec(body).map_err(|error| unexpected(&error))?;
    Ok(Some(Call { token: key::fingerprint(&[actor.to_string().as_bytes(), text.as_bytes()]), fingerprint: key::fingerprint(&[&asked]) }))
}

fn boxed(list: Option<Vec<String>>) -> Option<Vec<Box<str>>> {
    list.map(|list| list.into_iter().map(String::into_boxed_str).collect())
}

/// Texts that [`address_list`] has accepted.
fn networks(list: Option<&[String]>) -> Option<Vec<IpNet>> {
    list.map(|list| list.iter().filter_map(|text| network(text)).collect())
}

/// Texts that [`certificate_list`] has accepted.
fn thumbprints(list: &[String]) -> Vec<Thumbprint> {
    list.iter().filter_map(|text| Thumbprint::parse(text)).collect()
}

/// A range, or one address. Bits behind the prefix are cut, so that what is shown is what is meant.
pub(crate) fn network(text: &str) -> Option<IpNet> {
    text.parse::<IpNet>().ok().map(|range| range.trunc()).or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
}

fn list(list: &[String], is_fine: impl Fn(&str) -> bool, message: &'static str) -> Result<(), ValidationError> {
    if list.len() > ENTRIES_MAX {
        return Err(ValidationError::new("length").with_message("must be at most 32".into()));
    }
    if list.iter().all(|entry| is_fine(entry)) { Ok(()) } else { Err(ValidationError::new("form").with_message(message.into())) }
}

fn route_list(routes: &[String]) -> Result<(), ValidationError> {
    list(routes, model::compile::is_name, "must hold names of routes")
}

fn method_list(methods: &[String]) -> Result<(), ValidationError> {
    let is_method =
        |text: &str| text.len() <= 24 && !text.bytes().any(|byte| byte.is_ascii_lowercase()) && http::Method::from_bytes(text.as_bytes()).is_ok();
    list(methods, is_method, "must hold request methods in capital letters, such as GET")
}

fn address_list(addresses: &[String]) -> Result<(), ValidationError> {
    list(addresses, |text| network(text).is_some(), "must hold addresses or ranges, such as 192.0.2.7 or 2001:db8::/32")
}

fn certificate_list(certificates: &[String]) -> Result<(), ValidationError> {
    list(
        certificates,
        |text| Thumbprint::parse(text).is_some(),
        "must hold SHA-256 hashes of certificates: 64 hexadecimal digits, with or without colons",
    )
}

#[cfg(test)]
mod tests;
