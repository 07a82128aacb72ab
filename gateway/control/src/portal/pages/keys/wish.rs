//! What a new key is asked for with.

use ipnet::IpNet;
use model::{
    certificate::Thumbprint,
    id::{AccountId, ApplicationId},
    key,
};
use store::{application::ApplicationInfo, key::Call};

use crate::portal::fields::{Fields, Wrong};

/// Lifetimes that the form offers, in days.
const LIFETIMES: [(&str, i64); 4] = [("30 days", 30), ("90 days", 90), ("one year", 365), ("two years", 730)];

/// Longer than what a page draws.
const FORM_MAX: usize = 64;

/// What the form of a new key holds.
#[derive(Debug)]
pub(in crate::portal::pages) struct KeyWish {
    pub(in crate::portal::pages) name: String,
    pub(in crate::portal::pages) is_test: bool,
    pub(in crate::portal::pages) days: i64,
    pub(in crate::portal::pages) addresses: String,
    pub(in crate::portal::pages) certificates: String,
    /// Drawn for the page that the form stood on: sent again as it is, the form makes no second key.
    form: String,
    /// The scopes that are ticked; all when the form is new.
    pub(in crate::portal::pages) scopes: Option<Vec<String>>,
}

impl Default for KeyWish {
    fn default() -> Self {
        Self {
            name: String::new(),
            is_test: false,
            days: 365,
            addresses: String::new(),
            certificates: String::new(),
            form: String::new(),
            scopes: None,
        }
    }
}

impl KeyWish {
    pub(in crate::portal::pages) const fn lifetimes() -> [(&'static str, i64); 4] {
        LIFETIMES
    }

    pub(in crate::portal::pages) fn has(&self, scope: &str) -> bool {
        self.scopes.as_ref().is_none_or(|scopes| scopes.iter().any(|ticked| ticked == scope))
    }

    pub(super) fn read(fields: &mut Fields, application: &ApplicationInfo) -> Self {
        let name = fields.line("name", 80);
        let environment = fields.text("environment");
        if !matches!(environment.as_str(), "live" | "test") {
            fields.refuse("environment", "must be live or test");
        }
        let days = fields.text("days").parse().ok().filter(|days| LIFETIMES.iter().any(|(_, known)| known == days));
        if days.is_none() {
            fields.refuse("days", "must be one of the list");
        }
        let form = fields.text("form");
        if form.len() > FORM_MAX {
            fields.refuse("form", "is none of ours");
        }
        let scopes = fields.list("scope");
        if scopes.iter().any(|scope| !application.scopes.contains(scope)) {
            fields.refuse("scope", "must be scopes of the application");
        }
        Self {
            name,
            is_test: environment == "test",
            days: days.unwrap_or(365),
            addresses: fields.text("addresses").trim().to_owned(),
            certificates: fields.text("certificates").trim().to_owned(),
            form,
            scopes: Some(scopes),
        }
    }

    /// What tells that the same form is sent again: a page that is loaded anew, a button that is pressed twice. A form that was changed after a
    /// step back is another one.
    pub(super) fn call(&self, application: ApplicationId, account: AccountId) -> Option<Call> {
        if self.form.is_empty() {
            return None;
        }
        let (days, environment, application) = (self.days.to_be_bytes(), [u8::from(self.is_test)], application.uuid());
        let fields = [self.name.as_str(), &self.addresses, &self.certificates].map(str::as_bytes);
        let scopes = self.scopes.iter().flatten().map(String::as_bytes);
        let asked: Vec<&[u8]> = fields.into_iter().chain([&days[..], &environment, application.as_bytes()]).chain(scopes).collect();
        let fingerprint = key::fingerprint(&asked);
        let token = key::fingerprint(&[b"form", account.uuid().as_bytes(), self.form.as_bytes(), &fingerprint]);
        Some(Call { token, fingerprint })
    }

    /// Ranges from which the key may come; all when nothing is written.
    pub(super) fn networks(&self) -> Result<Option<Vec<IpNet>>, Wrong> {
        let wrong = || Wrong::one("addresses", "must be at most 32 addresses or ranges, like 192.0.2.7 or 2001:db8::/32");
        list(&self.addresses, crate::admin::key::wish::network).map_err(|()| wrong())
    }

    /// Certificates that the key needs; none when nothing is written.
    pub(super) fn thumbprints(&self) -> Result<Option<Vec<Thumbprint>>, Wrong> {
        let wrong = || Wrong::one("certificates", "must be at most 32 SHA-256 hashes of certificates: 64 hexadecimal digits each");
        list(&self.certificates, Thumbprint::parse).map_err(|()| wrong())
    }
}

/// What a line names, if it names anything.
fn list<T>(line: &str, read: impl Fn(&str) -> Option<T>) -> Result<Option<Vec<T>>, ()> {
    if line.is_empty() {
        return Ok(None);
    }
    let texts = line.split([',', ' ', '\n', '\r', ';']).filter(|text| !text.is_empty());
    let items: Option<Vec<T>> = texts.map(read).collect();
    items.filter(|items| items.len() <= model::restriction::ENTRIES_MAX).map(Some).ok_or(())
}
