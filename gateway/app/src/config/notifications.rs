//! `notifications`: how people are told by mail and by webhook.

use std::path::{Path, PathBuf};

use lettre::message::Mailbox;
use model::webhook;
use serde::{Deserialize, Serialize};

use super::SecretRef;

/// How people are told. All nodes of a deployment say the same.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NotificationsConfig {
    /// Where the portal is, for links in mails; they name the page alone when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub portal_url: Option<String>,
    /// Who takes mails; none are sent when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub smtp: Option<SmtpConfig>,
    /// Mail addresses of those who run the deployment.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub operators: Vec<String>,
    /// A webhook of those who run the deployment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operators_webhook: Option<OperatorsWebhookConfig>,
    /// Roots that receivers of webhooks are checked by, PEM; the system's when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
    /// Whether webhooks may go to addresses that are not public.
    pub allow_private_addresses: bool,
}

/// Who takes mails.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SmtpConfig {
    /// Its name, which its certificate must have.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// When TLS begins; it is never left out.
    pub tls: SmtpTls,
    /// Whose password it is; nobody logs in when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The password by reference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<SecretRef>,
    /// Who the mails are from.
    pub from: String,
    /// Roots that it is checked by, PEM; the system's when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
}

/// When TLS begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SmtpTls {
    /// With the connection (RFC 8314), mostly at port 465.
    Required,
    /// After `STARTTLS` (RFC 3207), mostly at port 587; a server that does not offer it gets nothing.
    Starttls,
}

/// A webhook of those who run the deployment.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OperatorsWebhookConfig {
    /// Where it goes.
    pub url: String,
    /// Its secret by reference: `whsec_` and 24 to 64 bytes in base64.
    pub secret: SecretRef,
}

impl NotificationsConfig {
    pub(super) fn resolve_paths(&mut self, base: &Path) {
        for path in self.ca.iter_mut().chain(self.smtp.iter_mut().flat_map(|smtp| &mut smtp.ca)) {
            *path = base.join(&*path);
        }
    }

    pub(super) fn secrets_mut(&mut self) -> impl Iterator<Item = &mut SecretRef> {
        let passwords = self.smtp.iter_mut().flat_map(|smtp| &mut smtp.password);
        passwords.chain(self.operators_webhook.iter_mut().map(|webhook| &mut webhook.secret))
    }

    /// What can be said against it without reading a file.
    pub(super) fn mistakes(&self, say: &mut impl FnMut(&str, String)) {
        if let Some(text) = &self.portal_url
            && let Err(message) = origin(text)
        {
            say("notifications.portal_url", message);
        }
        if let Some(smtp) = &self.smtp {
            smtp.mistakes(say);
        }
        for (position, address) in self.operators.iter().enumerate() {
            if address.parse::<lettre::Address>().is_err() || address.len() > 254 {
                say(&format!("notifications.operators[{position}]"), format!("`{address}` is not a mail address"));
            }
        }
        if !self.operators.is_empty() && self.smtp.is_none() {
            say("notifications.operators", "operators get no mail without `smtp`".to_owned());
        }
        if let Some(webhook) = &self.operators_webhook
            && let Err(fault) = webhook::url(&webhook.url)
        {
            // The address may be a secret itself.
            say("notifications.operators_webhook.url", format!("the address {fault}"));
        }
    }
}

impl SmtpConfig {
    fn mistakes(&self, say: &mut impl FnMut(&str, String)) {
        if url::Host::parse(&self.host).is_err() {
            say("notifications.smtp.host", format!("`{}` is not a host name", self.host));
        }
        if self.port == 0 {
            say("notifications.smtp.port", "no server has port 0".to_owned());
        }
        if self.from.parse::<Mailbox>().is_err() {
            say("notifications.smtp.from", format!("`{}` is not `address@host` or `Name <address@host>`", self.from));
        }
        if self.user.is_some() != self.password.is_some() {
            say("notifications.smtp.user", "`user` and `password` stand together or not at all".to_owned());
        }
    }
}

/// Reads where a portal is.
pub(crate) fn origin(text: &str) -> Result<url::Url, String> {
    let wrong = || format!("`{text}` is not like https://developers.example.com, without a path");
    let url = webhook::url(text).map_err(|_| wrong())?;
    if url.path() == "/" && url.query().is_none() { Ok(url) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests;
